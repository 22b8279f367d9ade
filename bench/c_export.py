"""The exported C file beside our own stream: million steps a second, and how far the results are apart.

    python bench/c_export.py
    python bench/c_export.py --cells lstm --units 12 32 --compilers clang --options "-O2" --dtype float64

One input, one output, blocks of 2,048 steps; stream and files take turns in one process and the medians of
their times are compared. A compiler that is not installed is left out.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import rnncore
from rnncore.interop import c

CELLS = {
    "elman": rnncore.Elman,
    "lstm": rnncore.LSTM,
    "gru": rnncore.GRU,
    "peepholes": lambda *sizes: rnncore.LSTM(*sizes, peepholes=True),
    "coupled": lambda *sizes: rnncore.LSTM(*sizes, coupled=True),
    "reset_before": lambda *sizes: rnncore.GRU(*sizes, reset_after=False),
    "skip": rnncore.layers.SkipElman,
}
OPTIONS = ("-O3 -march=native", "-O2 -march=native", "-O2")
BLOCK = 2048


def compiled(net, command, folder):
    """A call that runs the exported file over a block."""
    number = len(list(folder.iterdir()))
    source, library = folder / f"net{number}.c", folder / f"net{number}.so"
    report = c.export(net, source, name="net")
    subprocess.run([*command, "-std=c99", "-fPIC", "-shared", "-o", library, source, "-lm"], check=True)
    run, state = ctypes.CDLL(str(library)).net_run, np.zeros(report.state, np.uint8)

    def call(x, y):
        arrays = (ctypes.c_void_p(array.ctypes.data) for array in (x, y))
        run(ctypes.c_void_p(state.ctypes.data), ctypes.c_size_t(len(x)), *arrays)

    return call


def race(net, commands, rounds, folder):
    """For the stream and then for each command: median seconds for a block, largest relative difference."""
    stream = net.stream()
    x = np.random.default_rng(0).normal(0, 1, (BLOCK, 1)).astype(net.dtype)
    y = np.empty_like(x)
    sides = [lambda x, y: stream.run(x, out=y), *(compiled(net, command, folder) for command in commands)]
    found = []
    for side in sides:
        side(x, y)
        found.append(y.copy())
    times = [[] for _ in sides]
    for _ in range(rounds):
        for side, taken in zip(sides, times, strict=True):
            start = time.perf_counter()
            side(x, y)
            taken.append(time.perf_counter() - start)
    largest = np.abs(found[0]).max()
    apart = [np.abs(result - found[0]).max() / largest for result in found]
    return list(zip(map(statistics.median, times), apart, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=["lstm", "gru"])
    parser.add_argument("--units", nargs="+", type=int, default=[8, 12, 16, 20, 32, 40, 64])
    parser.add_argument("--compilers", nargs="+", default=["gcc", "clang"])
    parser.add_argument("--options", nargs="+", default=OPTIONS, help="each entry a compiler's options")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=51)
    asked = parser.parse_args()
    compilers = [compiler for compiler in asked.compilers if shutil.which(compiler)]
    commands = [[compiler, *options.split()] for compiler in compilers for options in asked.options]
    sides = ["stream", *(" ".join(command) for command in commands)]
    print("| cell | units | " + " | ".join(sides) + " | difference |")
    print("|---|" + "---|" * (len(sides) + 2))
    for cell in asked.cells:
        for units in asked.units:
            layers = CELLS[cell](1, units), rnncore.Dense(units, 1)
            net = rnncore.Network(*layers, dtype=asked.dtype, seed=0).eval()
            with tempfile.TemporaryDirectory() as folder:
                (base, _), *files = race(net, commands, asked.rounds, Path(folder))
            columns = [f"{BLOCK / base / 1e6:.2f}"]
            columns += [f"{BLOCK / t / 1e6:.2f} ({base / t:.2f})" for t, _ in files]
            apart = max(difference for _, difference in files)
            print(f"| {cell} | {units} | " + " | ".join(columns) + f" | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
