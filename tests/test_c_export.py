"""The exported C file compiles without a warning as C99 and computes what the network does."""

import ctypes
import platform
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from processor import computing

from rnncore import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    MeanPool,
    Network,
    save,
)
from rnncore.interop.c import LANES, export, identifier
from rnncore.layers import LeakyElman, SkipElman

COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
needs_compiler = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="no C compiler")
COMPILERS = [compiler for compiler in dict.fromkeys((COMPILER, "gcc", "clang")) if shutil.which(compiler)]
WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def filled(*layers, dtype="float32"):
    net = Network(*layers, dtype=dtype)
    net.params.flat[:] = np.random.default_rng(0).normal(0, 0.3, net.params.flat.size)
    return net.eval()


def compile_with(command, *more):
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def build(folder, *files, options=("-O2",)):
    """Compile with all warnings as errors; returns the loaded library."""
    library = folder / f"{files[0].stem}{len(list(folder.iterdir()))}.so"
    compile_with([COMPILER, *WARNINGS, *options, "-fPIC", "-shared", "-o", library, *files, "-lm"])
    with computing():  # a library linked with -ffast-math has the thread that loads it flush denormals
        return ctypes.CDLL(str(library))


class Model:
    """An exported network, compiled; calls see to it that nothing is written beyond the state and y."""

    def __init__(self, net, folder, name="model", options=("-O2",), **settings):
        self.file = folder / f"{name}.c"
        self.report = export(net, self.file, **settings)
        self.text = self.file.read_text()
        self.name = identifier(name)
        self.library = build(folder, self.file, options=options)
        self.dtype = net.dtype
        self.outputs = int(re.search(rf"{self.name.upper()}_OUTPUTS (\d+)", self.text)[1])
        self.state = np.full(self.report.state + 64, 0xFF, np.uint8)
        self.block = None
        if "weights" in settings:
            self.memory = np.fromfile(settings["weights"], np.uint8)
            self.block = self.load(self.memory)
        self.reset()

    def load(self, memory):
        function = self.library[f"{self.name}_load"]
        function.restype = ctypes.c_void_p
        return function(memory.ctypes, ctypes.c_size_t(memory.size))

    def reset(self):
        self.library[f"{self.name}_reset"](self.state.ctypes)

    def _call(self, function, steps, *arguments):
        block = [] if self.block is None else [ctypes.c_void_p(self.block)]
        y = np.full((steps + 1, self.outputs), np.nan, self.dtype)
        returned = self.library[f"{self.name}_{function}"](self.state.ctypes, *block, *arguments, y.ctypes)
        assert (self.state[self.report.state :] == 0xFF).all(), "written beyond the state"
        assert np.isnan(y[-1]).all(), "written beyond y"
        return returned, y[:-1]

    def step(self, x):
        """One step of an id or of a row."""
        given = ctypes.c_long(x) if np.ndim(x) == 0 else np.ascontiguousarray(x).ctypes
        return self._call("step", 1, given)

    def steps(self, x):
        return np.concatenate([self.step(row)[1] for row in x])

    def run(self, x):
        x = x.astype(ctypes.c_long) if x.ndim == 1 else np.ascontiguousarray(x)
        return self._call("run", len(x), ctypes.c_size_t(len(x)), x.ctypes)[1]


def sequence(net, steps=30, features=3):
    rng = np.random.default_rng(1)
    if isinstance(net.layers[0], Embedding):
        return rng.integers(0, 11, steps)
    return rng.normal(0, 1, (steps, features)).astype(net.dtype)


def check_against_the_stream(model, net, x, softmax=False):
    tolerance = TOLERANCE[net.dtype.name]
    expected = net.stream(softmax=softmax).run(x)
    found = model.steps(x)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance / 3)
    model.reset()
    assert np.array_equal(model.run(x), found), "run is not as many steps"


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
    "last": lambda dtype: filled(LSTM(3, 5), LastStep(), Dense(5, 2), dtype=dtype),
    "between": lambda dtype: filled(Dense(3, 9), Dense(9, 5), LSTM(5, 4), dtype=dtype),
    "activations": lambda dtype: filled(
        Dense(3, 9, "gelu"),
        Dense(9, 8, "elu", 0.7),
        Dense(8, 8, "prelu"),
        Dense(8, 12, "softsign"),
        Dense(12, 9, "hard_sigmoid"),
        Activation("leaky_relu"),
        Activation("prelu", 9),
        Activation("silu"),
        Dense(9, 10, "softmax"),
        LSTM(10, 3),
        Activation("gelu_tanh"),
        dtype=dtype,
    ),
    "few_outputs": lambda dtype: filled(
        Embedding(11, 3),
        Activation("softplus"),
        Dense(3, 3, "sigmoid"),
        Dense(3, 4, "tanh"),
        Dense(4, 3, "prelu"),
        Dense(3, 2, "relu"),
        Dense(2, 4, "log_softmax"),
        dtype=dtype,
    ),
    "ids": lambda dtype: filled(Embedding(11, 3), LSTM(3, 8), GRU(8, 5), Dense(5, 11), dtype=dtype),
    "table": lambda dtype: filled(Embedding(11, 3), dtype=dtype),
    "table_dense": lambda dtype: filled(Embedding(11, 3), Dense(3, 4), dtype=dtype),
}


@needs_compiler
@pytest.mark.parametrize("softmax", [False, True], ids=["plain", "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_compiled_file_agrees_with_the_stream_and_run_with_step(kind, dtype, softmax, tmp_path):
    net = NETWORKS[kind](dtype)
    model = Model(net, tmp_path, kind, softmax=softmax)
    check_against_the_stream(model, net, sequence(net), softmax)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 3, 5, 17, 24])
def test_any_size_and_any_number_of_lanes(units, dtype, tmp_path):
    for place, (name, layer) in enumerate(VARIANTS.items()):
        net = filled(layer(units, units), Dense(units, units), dtype=dtype)
        model = Model(net, tmp_path, name, options=["-O1"], lanes=LANES[(place + units) % len(LANES)])
        check_against_the_stream(model, net, sequence(net, 8, units))


@needs_compiler
@pytest.mark.parametrize("options", [["-O3"], ["-O3", "-march=native"], ["-O3", "-ffast-math"]])
def test_other_ways_to_compile_agree_too(options, tmp_path):
    net = NETWORKS["stack"]("float32")
    check_against_the_stream(Model(net, tmp_path, options=options), net, sequence(net))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_compiler_warns(compiler, dtype, tmp_path):
    for network in NETWORKS.values():
        for settings in ({"softmax": True}, {"weights": tmp_path / "block", "lanes": 1}):
            export(network(dtype), tmp_path / "model.c", **settings)
            compile_with([compiler, *WARNINGS, "-O2", "-c", tmp_path / "model.c", "-o", tmp_path / "model.o"])


def gcc_vectorises_at_o2():
    version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True, check=False).stdout
    return int(version.split(".")[0] or 0) >= 12


@pytest.mark.skipif("gcc" not in COMPILERS or not gcc_vectorises_at_o2(), reason="no GCC from version 12 on")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gcc_vectorises_every_loop_without_further_options(dtype, tmp_path):
    for name, layer in VARIANTS.items():
        net = filled(layer(3, 20), layer(20, 5), Dense(5, 9), dtype=dtype)
        export(net, tmp_path / "model.c", softmax=True)
        command = ["gcc", "-std=c99", "-O2", "-fopt-info-vec-optimized", "-c", tmp_path / "model.c"]
        told = compile_with(command, "-o", tmp_path / "model.o")
        found = re.findall(r"model\.c:(\d+):\d+: optimized: loop vectorized", told)
        vectorised = {int(line) for line in found}
        lines = (tmp_path / "model.c").read_text().splitlines()
        loops = {place for place, line in enumerate(lines, 1) if "MODEL_LOOP for" in line}
        assert loops, name
        assert loops <= vectorised, (name, sorted(loops - vectorised))


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_tanh_and_exp_are_as_exact_as_the_file_says(dtype, tmp_path):
    net = filled(LSTM(1, 1), dtype=dtype)
    model = tmp_path / "model.c"
    export(net, model, softmax=True)
    real = "float" if dtype == "float32" else "double"
    functions = ("sigmoid", "tanh", "exp")
    entries = (
        f"void all_{f}(int n, const {real} *x, {real} *y);\n"
        f"void all_{f}(int n, const {real} *x, {real} *y)\n"
        f"{{\n    for (int i = 0; i < n; i++)\n        y[i] = model_{f}(x[i]);\n}}\n"
        for f in functions
    )
    all_of = tmp_path / "functions.c"
    all_of.write_text('#include "model.c"\n' + "".join(entries))
    library = build(tmp_path, all_of)
    bound = float(re.search(r"relative errors below (\S+);", model.read_text())[1])
    ends = {"sigmoid": 34.5, "tanh": 50, "exp": 79}
    wide = np.longdouble if dtype == "float64" else np.float64
    for function, expected in zip(functions, (lambda x: 1 / (1 + np.exp(-x)), np.tanh, np.exp), strict=True):
        magnitudes = np.concatenate([np.geomspace(1e-20, ends[function], 20000), np.linspace(0, 4, 20000)])
        x = np.concatenate([-magnitudes, [] if function == "exp" else magnitudes]).astype(dtype)
        y = np.empty_like(x)
        library[f"all_{function}"](x.size, x.ctypes, y.ctypes)
        true = expected(x.astype(wide))
        error = np.abs(y - true) / np.where(true == 0, 1, np.abs(true))
        assert error.max() <= bound, function
        x = np.array([np.nan, np.inf, -np.inf], dtype)
        library[f"all_{function}"](3, x.ctypes, y.ctypes)
        assert np.isnan(y[0])
        assert np.isfinite(y[1:3]).all()


@needs_compiler
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the flags of x86")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [["-O2"], ["-O2", "-march=native"]], ids=["plain", "native"])
def test_no_denormal_number_arises_when_sound_turns_to_silence(options, dtype, tmp_path):
    flags = tmp_path / "flags.c"
    flags.write_text(
        "#include <xmmintrin.h>\nvoid clear(void);\nunsigned raised(void);\n"
        "void clear(void)\n{\n    _mm_setcsr(_mm_getcsr() & ~0x3fu);\n}\n"
        "unsigned raised(void)\n{\n    return _mm_getcsr() & 0x12u; /* denormal operand, underflow */\n}\n"
    )
    library = build(tmp_path, flags)
    library.clear()
    for name, layer in VARIANTS.items():
        net = Network(layer(1, 8), Dense(8, 1), dtype=dtype, seed=0).eval()
        for key, values in net.params.items():
            values *= "bias" not in key  # so that the state dies away
        model = Model(net, tmp_path, name, options=options)
        silence = np.zeros((3000, 1), dtype)
        quiet = np.full((20, 1), np.finfo(dtype).smallest_normal / 4, dtype)
        model.run(np.ones((50, 1), dtype))
        library.clear()
        model.run(silence)
        assert library.raised() == 0, name
        library.clear()
        model.run(quiet)  # these are met once, where they become 0
        assert library.raised() & 0x10 == 0, name


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["stack", "variants", "ids", "dense"])
def test_weights_from_memory_give_the_bits_of_constants(kind, dtype, tmp_path):
    net = NETWORKS[kind](dtype)
    x = sequence(net)
    constant = Model(net, tmp_path, "constant")
    loaded = Model(net, tmp_path, "loaded", weights=tmp_path / "weights.bin")
    assert loaded.report.weights == (tmp_path / "weights.bin").stat().st_size
    assert np.array_equal(loaded.run(x), constant.run(x))


@needs_compiler
def test_a_block_is_checked_before_it_is_used(tmp_path):
    block = tmp_path / "weights.bin"
    net = filled(LSTM(3, 5), Dense(5, 2))
    model = Model(net, tmp_path, weights=block)
    good = model.memory
    assert model.load(good) == good.ctypes.data
    assert model.load(good[:-1]) is None
    assert model.load(np.append(good, np.uint8(0))) is None
    shifted = np.append(np.zeros(1, np.uint8), good)
    assert model.load(shifted[1:]) is None
    for place in [*range(32), 64, good.size // 2, good.size - 1]:
        damaged = good.copy()
        damaged[place] ^= 1
        assert model.load(damaged) is None, place
    doubles = filled(LSTM(3, 5), Dense(5, 2), dtype="float64")
    for other in (doubles, filled(LSTM(3, 5, zoneout=0.1), Dense(5, 2))):
        export(other, tmp_path / "other.c", weights=block)
        assert model.load(np.fromfile(block, np.uint8)) is None
    net.params.flat[:] *= 0.5  # trained further: the file stays, the block is another
    export(net, tmp_path / "later.c", name="model", weights=block)
    assert (tmp_path / "later.c").read_text().replace("later.c", "model.c") == model.text
    model.memory = np.fromfile(block, np.uint8)
    model.block = model.load(model.memory)
    check_against_the_stream(model, net, sequence(net))


@needs_compiler
def test_an_id_outside_is_refused_by_step_and_run(tmp_path):
    model = Model(filled(Embedding(11, 3), GRU(3, 4)), tmp_path)
    for x in (-1, 11, 2**40):
        returned, y = model.step(x)
        assert returned == -1
        assert np.isnan(y).all()
    ids = np.array([0, 3, 11], ctypes.c_long)
    returned, y = model._call("run", 3, ctypes.c_size_t(3), ids.ctypes)
    assert returned == -1
    assert np.isnan(y).all()
    assert not model.state[: model.report.state].any()


@needs_compiler
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_report_has_the_sizes_that_the_compiler_gives(kind, tmp_path):
    net = NETWORKS[kind]("float32")
    report = export(net, tmp_path / "model.c", weights=tmp_path / "block")
    size = tmp_path / "size.c"
    size.write_text(
        '#include "model.c"\nsize_t state_size(void);\nsize_t state_size(void)\n{\n'
        "    return sizeof(model_state);\n}\n"
    )
    library = build(tmp_path, size)
    assert library.state_size() == report.state
    assert report.weights == (tmp_path / "block").stat().st_size
    numbers = sum(values.size for values in net.params.values())
    assert report.weights >= 4 * numbers
    assert f"{report.state:,} of state" in str(report)


@pytest.mark.skipif("gcc" not in COMPILERS or shutil.which("size") is None, reason="no GCC or no size")
def test_the_code_is_about_as_large_as_estimated(tmp_path):
    for name, layer in VARIANTS.items():
        net = filled(layer(3, 20), layer(20, 5), Dense(5, 9))
        report = export(net, tmp_path / "model.c")
        compile_with(["gcc", "-std=c99", "-O2", "-c", tmp_path / "model.c", "-o"], tmp_path / "model.o")
        told = subprocess.check_output(["size", tmp_path / "model.o"], text=True)
        code = int(told.splitlines()[1].split()[0]) - report.weights
        assert code / 2.5 < report.code < 2.5 * code, name


def test_operations_are_counted():
    linear = Dense(8, 8)
    with_input = export_report(filled(linear))
    assert with_input.multiply_adds == 64
    lstm = export_report(filled(LSTM(8, 16)))
    tanh = lstm.multiply_adds - 4 * 16 * (8 + 16) - 16
    assert tanh == 16 * 5 * 10  # four gates and the cell: reduction 3, series 6, result 1 multiply-adds each


def export_report(net):
    with tempfile.TemporaryDirectory() as folder:
        return export(net, Path(folder, "model.c"))


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


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_declarations_are_for_cpp_too(tmp_path):
    export(filled(LSTM(2, 3)), tmp_path / "model.c", weights=tmp_path / "block")
    main = tmp_path / "main.cpp"
    main.write_text(
        '#define MODEL_DECLARATIONS\n#include "model.c"\n'
        "int main()\n{\n    model_state state;\n    float x[MODEL_INPUTS] = {}, y[MODEL_OUTPUTS] = {};\n"
        "    model_reset(&state);\n    if (model_load(x, sizeof x))\n"
        "        model_step(&state, model_load(x, sizeof x), x, y);\n    return 0;\n}\n"
    )
    compile_with([COMPILER, "-std=c99", "-c", tmp_path / "model.c", "-o", tmp_path / "model.o"])
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", main]
    compile_with(command, tmp_path / "model.o", "-o", tmp_path / "main")
    subprocess.run([tmp_path / "main"], check=True)


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_written_to_the_bit(dtype, lanes, tmp_path):
    net = filled(Dense(4, 6), dtype=dtype)
    normal, large = np.finfo(dtype).smallest_normal, np.finfo(dtype).max
    net.params.flat[:4] = normal, large, -0.0, 1 / 3
    net.params.flat[4] = normal / 2  # counts as 0, as in rnncore's kernels
    export(net, tmp_path / "m.c", lanes=lanes)
    text = (tmp_path / "m.c").read_text()
    constants = text[text.index("m_weights = {") :]
    found = [float.fromhex(number) for number in re.findall(r"-?0x[0-9a-f.]+p[+-]\d+", constants)]
    expected = net.params.flat.copy()
    expected[4] = 0
    zero = {(0.0).hex()}  # what rows are padded with
    assert {number.hex() for number in found} | zero == {float(number).hex() for number in expected} | zero


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
    with pytest.raises(ValueError, match="layer 1, MeanPool"):
        export(Network(LSTM(2, 3), MeanPool()), file)
    with pytest.raises(ValueError, match="layer 0, Bidirectional"):
        export(Network(Bidirectional(GRU(2, 3))), file)
    with pytest.raises(ValueError, match="name is 'a b'"):
        export(filled(LSTM(2, 3)), file, name="a b")
    for lanes in (0, 3, 32, True):
        with pytest.raises(ValueError, match=f"lanes is {lanes}; expected one of 1, 2, 4, 8, 16"):
            export(filled(LSTM(2, 3)), file, lanes=lanes)
    with pytest.raises(ValueError, match="the C file itself"):
        export(filled(LSTM(2, 3)), file, weights=tmp_path / "." / "model.c")
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
