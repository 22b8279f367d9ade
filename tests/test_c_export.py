"""The exported C file compiles without a warning as C99 and computes what the network does."""

import ctypes
import re
import shlex
import shutil
import subprocess
import sysconfig
from functools import partial

import numpy as np
import pytest

from rnncore import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, LastStep, Network, save
from rnncore.interop.c import export, identifier, source
from rnncore.layers import LeakyElman, SkipElman

COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no C compiler")
TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def filled(*layers, dtype="float32"):
    net = Network(*layers, dtype=dtype)
    net.params.flat[:] = np.random.default_rng(0).normal(0, 0.3, net.params.flat.size)
    return net.eval()


def build(folder, *files):
    """Compile with all warnings as errors; returns the loaded library."""
    library = folder / "model.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-fPIC", "-shared"]
    done = subprocess.run(
        [COMPILER, *flags, "-o", library, *files, "-lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


def run(library, name, text, net, x):
    """Steps of the compiled network over x (T, F) or ids (T,), twice, with a reset between."""
    step, reset = getattr(library, f"{name}_step"), getattr(library, f"{name}_reset")
    outputs = int(re.search(rf"{name.upper()}_OUTPUTS (\d+)", text)[1])
    numbers = sum(map(int, re.findall(r"^    \w+ \w+\[(\d+)\];", text, re.MULTILINE)))
    numbers += sum(2 * int(n) for n in re.findall(r"between\[2\]\[(\d+)\]", text))
    state = np.full(numbers + 64, np.nan, net.dtype)
    y, found = np.empty(outputs, net.dtype), []
    for _ in range(2):
        reset(state.ctypes)
        found.append([])
        for row in x:
            given = ctypes.c_long(row) if x.ndim == 1 else np.ascontiguousarray(row).ctypes
            assert step(state.ctypes, given, y.ctypes) == 0 or x.ndim != 1
            found[-1].append(y.copy())
    assert np.isnan(state[numbers:]).all(), "written beyond the state"
    assert np.array_equal(*found)
    return np.array(found[0])


VARIANTS = {
    "lstm": LSTM,
    "peepholes": partial(LSTM, peepholes=True),
    "coupled": partial(LSTM, coupled=True, zoneout=(0.1, 0.3)),
    "coupled_peepholes": partial(LSTM, coupled=True, peepholes=True),
    "activations": partial(LSTM, gate_activation="tanh", activation="sigmoid"),
    "gru": GRU,
    "gru_activations": partial(GRU, gate_activation="tanh", activation="sigmoid", zoneout=0.2),
    "before": partial(GRU, reset_after=False),
    "before_zoneout": partial(GRU, reset_after=False, zoneout=0.4),
    "elman_zoneout": partial(Elman, zoneout=0.1),
    "leaky": partial(LeakyElman, time_constants=(2, 9), excitatory=0.6),
    "leaky_learned": partial(LeakyElman, leak=0.2, learn_leak=True, zoneout=0.5),
    "skip": partial(SkipElman, delays=(1, 2, 5)),
    "dilated": partial(SkipElman, delays=(3,), activation="sigmoid"),
    "delay_1": partial(SkipElman, delays=(1,)),
}
NETWORKS = {
    **{
        name: lambda dtype, g=name: filled(Elman(3, 7, g), dtype=dtype)
        for name in ("tanh", "sigmoid", "relu")
    },
    "identity": lambda dtype: filled(Elman(3, 2, "identity"), dtype=dtype),
    **{name: lambda dtype, g=layer: filled(g(3, 5), dtype=dtype) for name, layer in VARIANTS.items()},
    "variants": lambda dtype: filled(
        LSTM(3, 5, peepholes=True), LSTM(5, 4), LSTM(4, 4), SkipElman(4, 3, delays=(2, 3)), dtype=dtype
    ),
    "dense": lambda dtype: filled(Dense(3, 4), dtype=dtype),
    "stack": lambda dtype: filled(
        LSTM(3, 5),
        Dropout(0.5),
        GRU(5, 9),
        Elman(9, 4),
        Elman(4, 6, "relu"),
        Dense(6, 8),
        Dense(8, 2),
        dtype=dtype,
    ),
    "between": lambda dtype: filled(Dense(3, 9), Dense(9, 5), LSTM(5, 4), dtype=dtype),
    "ids": lambda dtype: filled(Embedding(11, 3), LSTM(3, 8), GRU(8, 5), Dense(5, 11), dtype=dtype),
    "table": lambda dtype: filled(Embedding(11, 3), dtype=dtype),
    "table_dense": lambda dtype: filled(Embedding(11, 3), Dense(3, 4), dtype=dtype),
}


@needs_compiler
@pytest.mark.parametrize("softmax", [False, True], ids=["plain", "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_compiled_file_agrees_with_the_stream(kind, dtype, softmax, tmp_path):
    net, rng = NETWORKS[kind](dtype), np.random.default_rng(1)
    ids = isinstance(net.layers[0], Embedding)
    x = rng.integers(0, 11, 30) if ids else rng.normal(0, 1, (30, 3)).astype(dtype)
    file = tmp_path / f"{kind}.c"
    export(net, file, softmax=softmax)
    name = identifier(kind)
    found = run(build(tmp_path, file), name, file.read_text(), net, x)
    expected = net.stream(softmax=softmax).run(x)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / 3)


@needs_compiler
def test_an_id_outside_is_refused_by_the_step(tmp_path):
    net = filled(Embedding(11, 3), GRU(3, 4))
    export(net, tmp_path / "model.c")
    library = build(tmp_path, tmp_path / "model.c")
    state, y = np.zeros(99, "f"), np.full(4, 5, "f")
    for x in (-1, 11, 2**40):
        assert library.model_step(state.ctypes, ctypes.c_long(x), y.ctypes) == -1
    assert not state.any()
    assert (y == 5).all()


@needs_compiler
def test_another_file_declares_it_and_two_models_live_together(tmp_path):
    export(filled(LSTM(2, 3)), tmp_path / "a.c")
    export(filled(LSTM(2, 4)), tmp_path / "b.c")
    main = tmp_path / "main.c"
    main.write_text(
        "#define A_DECLARATIONS\n#define B_DECLARATIONS\n"
        '#include "a.c"\n#include "b.c"\n'
        "int both(const float *x, float *y);\n"
        "int both(const float *x, float *y)\n{\n    a_state a;\n    b_state b;\n"
        "    a_reset(&a);\n    b_reset(&b);\n"
        "    a_step(&a, x, y);\n    b_step(&b, x, y + A_OUTPUTS);\n    return A_OUTPUTS + B_OUTPUTS;\n}\n"
    )
    library = build(tmp_path, main, tmp_path / "a.c", tmp_path / "b.c")
    x, y = np.ones(2, "f"), np.zeros(7, "f")
    assert library.both(x.ctypes, y.ctypes) == 7
    assert y.all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_written_to_the_bit(dtype):
    net = filled(Dense(4, 6), dtype=dtype)
    tiny, large = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    net.params.flat[:4] = tiny, large, -0.0, 1 / 3
    text = "".join(source(net, "m.c"))
    constants = [float.fromhex(found) for found in re.findall(r"-?0x[0-9a-f.]+p[+-]\d+", text)]
    assert np.array(constants, dtype).tobytes() == net.params.flat.tobytes()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model", "model"),
        ("2 gates.v1", "model_2_gates_v1"),
        ("é", "model"),
        ("", "model"),
        ("__x", "x"),
        ("a-b", "a_b"),
    ],
)
def test_any_text_makes_an_identifier(text, wanted):
    assert identifier(text) == wanted


def test_what_cannot_be_exported_is_named_and_nothing_written(tmp_path):
    file = tmp_path / "model.c"
    with pytest.raises(ValueError, match="layer 1, LastStep"):
        export(Network(LSTM(2, 3), LastStep()), file)
    with pytest.raises(ValueError, match="layer 0, Bidirectional"):
        export(Network(Bidirectional(GRU(2, 3))), file)
    with pytest.raises(ValueError, match="name is 'a b'"):
        export(filled(LSTM(2, 3)), file, name="a b")
    net = filled(LSTM(2, 3))
    net.params["0.bias"][1] = np.inf
    with pytest.raises(ValueError, match=r"0\.bias has entries that are not finite"):
        export(net, file)
    assert not file.exists()


def test_the_command_writes_the_file(tmp_path, capsys):
    main = pytest.importorskip("rnncore.cli.commands").main
    model, file = tmp_path / "model.safetensors", tmp_path / "net.c"
    save(filled(LSTM(2, 3), Dense(3, 2)), model)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(model), "--c", str(file), "--name", "pump", "--softmax"])
    assert ended.value.code == 0
    assert "pump_step" in file.read_text()
    assert "parameters" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["export", str(model), "--c", str(tmp_path / "no" / "net.c")])
    assert ended.value.code == 2
