"""Another package builds against the declarations, has the layers' bits, and is told if it does not fit."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from processor import HAPPENED, UPWARD, computing, float_state

import rnncore
from rnncore.layers import LeakyElman, SkipElman

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "embedding_in_cython"
COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
for module in ("Cython", "setuptools"):
    pytest.importorskip(module)
pytestmark = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no C compiler")


def python(folder, *arguments, **environment):
    """Run Python in a folder, with the rnncore under test and that folder to import from."""
    paths = os.pathsep.join([str(Path(rnncore.__file__).parents[1]), str(folder)])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", **environment},
    )  # fmt: skip


def build(folder, **environment):
    done = python(folder, "setup.py", "build_ext", "--inplace", "--force", **environment)
    assert done.returncode == 0, done.stderr


def load(folder, name):
    """An extension from where it was built."""
    (path,) = folder.glob(name.replace(".", "/") + ".*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example") / "package"
    unwanted = shutil.ignore_patterns("*.c", "*.so", "build", "__pycache__", "*.egg-info")
    shutil.copytree(EXAMPLE, folder, ignore=unwanted)
    build(folder)
    return folder


@pytest.fixture(scope="module")
def forecast(example):
    """The example's class, loaded from where it was built."""
    return load(example, "surprise._forecast").Forecast


@pytest.fixture
def net():
    net = rnncore.Network(rnncore.LSTM(1, 19), rnncore.Dense(19, 1), seed=3)
    net.params.flat[:] += np.random.default_rng(3).normal(0, 0.2, net.params.flat.size).astype("f")
    return net


def weights(net):
    return [net.params[name] for name in ("0.weight_ih", "0.weight_hh", "0.bias", "1.weight", "1.bias")]


def test_steps_give_the_bits_of_the_network(net, forecast, rng):
    series = rng.normal(0, 1, 50).astype("f")
    out = np.empty_like(series)
    forecast(*weights(net)).surprise(series, out)
    y, _, _ = net.forward(series[:, None, None], record=False)
    expected = np.abs(series - np.concatenate([[np.float32(0)], y[:-1, 0, 0]]))
    assert out.tobytes() == expected.astype("f").tobytes()


def test_a_whole_batch_gives_the_bits_of_the_layer(net, forecast, rng):
    series = rng.normal(0, 1, (300, 3, 1)).astype("f")
    hidden, cells = np.full((2, 301, 3, 19), np.nan, "f")
    hidden[0] = cells[0] = 0.5
    forecast(*weights(net)).whole(series, hidden, cells)
    start = np.full((3, 19), 0.5, "f")
    y, (h, c), _ = net.layers[0].forward(series, (start, start), record=False)
    assert hidden[1:].tobytes() == y.tobytes()
    assert (hidden[-1].tobytes(), cells[-1].tobytes()) == (h.tobytes(), c.tobytes())


SETUP = """\
import rnncore
from Cython.Build import cythonize
from setuptools import Extension, setup

made = Extension("variants", ["variants.pyx"], include_dirs=[rnncore.get_include()])
setup(ext_modules=cythonize([made], compiler_directives={"language_level": 3}))
"""


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """embedded_variants.pyx as a module of another package."""
    folder = tmp_path_factory.mktemp("variants")
    shutil.copy(Path(__file__).with_name("embedded_variants.pyx"), folder / "variants.pyx")
    (folder / "setup.py").write_text(SETUP)
    build(folder)
    return load(folder, "variants")


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("leaky", LeakyElman(3, 17, time_constants=(2, 9), zoneout=0.2)),
        ("skip", SkipElman(3, 17, delays=(1, 2, 5))),
        ("lstm", rnncore.LSTM(3, 17, peepholes=True, coupled=True, zoneout=0.1)),
        ("gru", rnncore.GRU(3, 17, reset_after=False, zoneout=0.3)),
    ],
)
def test_variants_give_the_bits_of_their_layers(kind, layer, variants, rng):
    net = rnncore.Network(layer, dtype="float64").eval()
    net.params.flat[:] = rng.normal(0, 0.3, net.params.flat.size)
    past, states = layer.depth, layer.depth * len(layer.state_names)
    x, state, y = rng.normal(0, 1, (9, 4, 3)), rng.normal(0, 1, (states, 4, 17)), np.empty((9, 4, 17))
    hidden, cells = np.full((past + 9, 4, 17), np.nan), np.full((10, 4, 17), np.nan)
    hidden[:past], cells[0] = state[:past], state[-1]
    given = {"lstm": tuple(state), "skip": state}.get(kind, state[0])
    wanted, final, _ = layer.forward(x, given, record=False)
    arrays = {**layer.params}
    arrays |= {"leak": layer.leaks()} if kind == "leaky" else {}
    arrays |= {"delays": np.array(layer.delays, np.intp)} if kind == "skip" else {}
    with computing(UPWARD, HAPPENED):
        before = float_state()
        variants.run(kind, arrays, layer.zoneout and layer.zoneout[0], x, hidden, cells, state, y)
        after = float_state()
    assert after == before
    assert hidden[past:].tobytes() == y.tobytes() == wanted.tobytes()
    assert state.tobytes() == np.concatenate(final if kind == "lstm" else [final], axis=None).tobytes()
    if kind == "lstm":
        assert cells[-1].tobytes() == final[1].tobytes()


def test_the_package_imports_as_its_users_do(example):
    script = (
        "import rnncore, surprise; net = rnncore.Network(rnncore.LSTM(1, 4), rnncore.Dense(4, 1));"
        "print(type(surprise.forecast(net)).__name__)"
    )
    done = python(example, "-c", script)
    assert done.stdout.strip() == "Forecast", done.stderr


def test_another_version_is_an_import_error(example, tmp_path):
    other = tmp_path / "package"
    shutil.copytree(example, other, ignore=shutil.ignore_patterns("*.so", "build"))
    headers = tmp_path / "headers"
    headers.mkdir()
    text = (Path(rnncore.get_include()) / "rnncore_api.h").read_text()
    changed = re.sub(r"(RNNCORE_API_VERSION) \d+", r"\1 999", text)
    assert changed != text
    (headers / "rnncore_api.h").write_text(changed)
    build(other, CFLAGS=f"-I{headers}")
    done = python(other, "-c", "import surprise")
    assert done.returncode == 1
    assert re.search(
        r"ImportError: .*built against version 999 .*has version \d+: build it again", done.stderr
    )


def test_a_function_that_is_gone_is_an_import_error(example):
    """As when an older rnncore lacks what the module was built against."""
    script = (
        "import rnncore.kernels.steps as steps\n"
        "for name in [name for name in steps.__pyx_capi__ if 'lstm_step' in name]:\n"
        "    del steps.__pyx_capi__[name]\n"
        "import surprise\n"
    )
    done = python(example, "-c", script)
    assert done.returncode == 1
    assert re.search(r"ImportError: .*rnncore.kernels.steps.*lstm_step", done.stderr), done.stderr


def test_headers_and_declarations_are_where_get_include_says():
    folder = Path(rnncore.get_include())
    for name in ("rnncore_api.h", "step.h", "table.h", "__init__.pxd", "steps.pxd", "stream.pxd"):
        assert (folder / name).is_file(), name
