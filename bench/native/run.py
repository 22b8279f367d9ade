"""One LSTM step through the Cython API, and what two cores bring to several networks: no Python in the loop.

    python bench/native/run.py

Wants Cython and a C compiler. Medians: of 101 runs of 5 ms for one step, of 15 of 0.2 s for the rest, which
take turns where they are compared. Four threads here, and two processes with a network each, show what the
machine gives to threads when no Python runs.
"""

import importlib.util
import multiprocessing
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

import rnncore

SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import rnncore
setup(ext_modules=cythonize([Extension("step_loop", ["step_loop.pyx"], include_dirs=[rnncore.get_include()],
    extra_compile_args=["-O3", "-g0"])]))
"""


def build(folder):
    """The compiled loop, as a module."""
    Path(folder, "step_loop.pyx").write_text(Path(__file__).with_name("step_loop.pyx").read_text())
    Path(folder, "setup.py").write_text(SETUP)
    paths = [str(Path(rnncore.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    spec = importlib.util.spec_from_file_location("step_loop", next(Path(folder).glob("step_loop.*.so")))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.steps_a_second


def measured(loop, units, gate=None, results=None, duration=0.2):
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.5 / units**0.5, (4 * units, units)).astype("f") for _ in range(2)]
    if gate is not None:
        gate.wait()
    rate = loop(*weights, np.zeros(4 * units, "f"), duration)
    if results is not None:
        results.put(rate)
    return rate


def together(loop, units, count, kind, context):
    """Steps a second of so many threads or processes, summed."""
    gate = (context or threading).Barrier(count)
    results = context.SimpleQueue() if context else queue.SimpleQueue()
    workers = [kind(target=measured, args=(loop, units, gate, results)) for _ in range(count)]
    for worker in workers:
        worker.start()
    rates = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def main():
    with tempfile.TemporaryDirectory() as folder:
        loop = build(folder)
        for units in (32, 128):
            step = statistics.median(1e9 / measured(loop, units, duration=0.005) for _ in range(101))
            print(f"LSTM step, B = 1, I = H = {units}: {step:.0f} ns")
        fork = multiprocessing.get_context("fork")
        for units in (32, 128, 512):
            ones, processes, threads = [], [], []
            for _ in range(15):
                ones.append(measured(loop, units))
                processes.append(together(loop, units, 2, fork.Process, fork) / ones[-1])
                threads.append(together(loop, units, 4, threading.Thread, None) / ones[-1])
            one, two, four = map(statistics.median, (ones, processes, threads))
            print(
                f"H {units:<4} {one:12,.0f} steps a second; two processes times {two:.2f}, "
                f"four threads times {four:.2f}"
            )


if __name__ == "__main__":
    main()
