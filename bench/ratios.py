"""How many times as fast as the NumPy reference the kernels are: ``python -m bench.ratios [--quick]``.

Kernels and reference run in turn in one process, each on one thread, so that a busy machine hits both. The
table gives median times and their ratios: forward, backward, and the whole training step, which is forward,
squared error, backward, norm clipping and Adam.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # a script, a module and the benchmarks find it alike

from race.machine import processor
from threadpoolctl import threadpool_info
from workloads import CELLS, GRID, MIDDLE, SMALL, Shape, cell_step, one_thread

from rnncore.kernels import dispatch

PHASES = ("forward", "backward", "train")
# What the training step owes, in times the reference's speed.
TARGETS = {SMALL: 12.0, MIDDLE: 3.0}
TURN = 0.01  # seconds


def calls_in(seconds: float, function: Callable[[], None]) -> int:
    """How many calls take about that long; at least one."""
    function()
    start = time.perf_counter()
    function()
    return max(1, round(seconds / (time.perf_counter() - start)))


def race(
    functions: list[Callable[[], None]],
    budget: float,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds a call of each function, in turn for so many rounds or until the budget is spent.

    With ``time.process_time`` as the clock, what other processes do on a busy machine is left out; that suits
    contestants of one thread.

    A measurement lasts TURN or more, and begins after as many calls that do not count: the caches are then a
    function's own, as in training, not those that the other has left. The first call after another function
    takes half as long again, and those of a millisecond come to rest with the eighth.
    """
    calls = [calls_in(TURN, function) for function in functions]
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + budget
    while len(times[0]) < 3 or (len(times[0]) < rounds and time.perf_counter() < end):
        for function, count, measured in zip(functions, calls, times, strict=True):
            for _ in range(count):
                function()
            start = clock()
            for _ in range(count):
                function()
            measured.append((clock() - start) / count)
    return [statistics.median(measured) for measured in times]


def line(cell: str, shape: Shape, dtype: str, budget: float, rounds: int) -> str:
    """One row of the table."""
    compiled = cell_step(cell, shape, "kernels", dtype)
    plain = cell_step(cell, shape, "reference", dtype)
    columns = []
    for phase in PHASES:
        fast, slow = race([getattr(compiled, phase), getattr(plain, phase)], budget, rounds)
        columns.append(f"{1e3 * slow:10.3f}{1e3 * fast:10.4f}{slow / fast:7.1f}")
    target = f"   (at least {TARGETS[shape]:.0f})" if shape in TARGETS else ""
    return f"{cell:6}{shape!s:22}" + "".join(columns) + target


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the two shapes with a target, fewer rounds")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    options = parser.parse_args(arguments)
    shapes = [SMALL, MIDDLE] if options.quick else GRID
    budget, rounds = (0.5, 15) if options.quick else (2.0, 51)
    blas = {library.get("architecture", "unknown") for library in threadpool_info()}
    machine = f"{processor()}; kernels at level {dispatch.level()}; NumPy {np.__version__}"
    machine += f", BLAS kernels for {', '.join(sorted(blas))}"
    print(f"{time.strftime('%Y-%m-%d')}; {machine}; {options.dtype}; one thread")
    print("median milliseconds of reference and kernels, and their ratio")
    print(" " * 28 + "".join(f"{phase:^27}" for phase in PHASES))
    print(" " * 28 + f"{'reference':>10}{'kernels':>10}{'ratio':>7}" * len(PHASES))
    with one_thread():
        for shape in shapes:
            for cell in CELLS:
                print(line(cell, shape, options.dtype, budget, rounds), flush=True)


if __name__ == "__main__":
    main()
