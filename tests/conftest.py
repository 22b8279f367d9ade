"""What all tests share: which rnncore is tested, backends and levels as parameters, how hypothesis runs."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
BUILT = [*ROOT.glob("rnncore/kernels/dispatch.*.so"), *ROOT.glob("rnncore/kernels/dispatch.*.pyd")]

# The installed package is tested, or the source tree where it has been built in place. `python -m pytest` and
# `python -c` put the working directory on the path, where the source tree would hide the installed package.
if not BUILT or "RNNCORE_TESTED" in os.environ:
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != ROOT]

import rnncore  # noqa: E402
from rnncore import kernels, layers, reference  # noqa: E402
from rnncore.kernels import dispatch  # noqa: E402
from rnncore.layers.recurrent import Recurrent  # noqa: E402

# A loaded machine must not fail a test: no deadline. In CI the examples are the same every time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


# Where tests/ was copied away from the source tree, what reads that tree is left out.
NEED_SOURCE = {
    "CHANGELOG.md": ["test_documents.py", "test_new_cell.py"],
    "bench": ["test_campaign.py", "test_long_memory.py", "test_race.py"],
    "examples": ["test_embedding.py"],
    "rnncore": ["test_architecture.py", "test_documents.py", "test_nogil.py", "test_stubs.py"],
}
collect_ignore = [
    name for needed, names in NEED_SOURCE.items() if not (ROOT / needed).exists() for name in names
]


def pytest_configure(config):
    # No part of pyproject.toml: a filter that names a class is an error where the class is not installed.
    if config.pluginmanager.hasplugin("benchmark"):
        config.addinivalue_line("filterwarnings", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")


def pytest_report_header():
    tested = f"rnncore: {Path(rnncore.__file__).parent}, {dispatch.level()}"
    return [tested, *(f"left out, without the source tree: {name}" for name in collect_ignore)]


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
        for layer in (Recurrent, *vars(layers).values()):
            if "backend" in getattr(layer, "__dict__", {}):
                patch.setattr(layer, "backend", module)
        if name:
            dispatch.set_level(name)
        yield module
    dispatch.set_level(before)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)
