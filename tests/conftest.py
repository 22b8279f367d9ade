"""What all tests share: the backends and instruction-set levels as parameters, and how hypothesis runs."""

import os

import numpy as np
import pytest
from hypothesis import settings

from rnncore import kernels, reference
from rnncore.kernels import dispatch
from rnncore.layers import Embedding
from rnncore.layers.recurrent import Recurrent

# A loaded machine must not fail a test: no deadline. In CI the examples are the same every time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(params=dispatch.levels(), scope="module")
def level(request):
    """Each instruction-set level that this processor has, in force while the test runs."""
    before = dispatch.level()
    dispatch.set_level(request.param)
    yield request.param
    dispatch.set_level(before)


@pytest.fixture(params=["reference", *(f"kernels-{name}" for name in dispatch.levels())], scope="module")
def backend(request):
    """What the layers compute with: NumPy, and the kernels at each level. Returns the module."""
    kind, _, name = request.param.partition("-")
    module = {"reference": reference, "kernels": kernels}[kind]
    before = dispatch.level()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recurrent, "backend", module)
        patch.setattr(Embedding, "backend", module)
        if name:
            dispatch.set_level(name)
        yield module
    dispatch.set_level(before)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)
