"""A process that holds one library at one number of threads: ``python worker.py LIBRARY THREADS CORES``.

It reads one JSON object a line and answers each with one, and waits without using the processor in between.
CORES are the numbers of the cores it may run on, as many as it has threads, with commas between; "any" where
the system cannot say.

    {"do": "start"}                                  {"versions": {...}}
    {"do": "prepare", "case": {...}, "oracle": FILE, "write": false}    {"differences": {...}}
    {"do": "estimate"}                               {"seconds": a call}
    {"do": "time", "calls": n}                       {"seconds": a call}
    {"do": "product", "size": n}                     {"gflops": rate of a square sgemm}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def hold(threads: int, cores: str) -> None:
    """Keep this process, with all threads that its library will start, to these cores and that many threads.

    All libraries are held to the same cores, so that all meet the same caches and neighbours. JAX has no
    other way to be told a number of threads: it takes one for each core it sees, and on one core the flag
    keeps it from handing work to a pool at all.
    """
    if cores != "any":
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)  # NumPy's BLAS chooses its kernels itself, whatever the shell says
    os.environ["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def settle(limit: float = 0.5) -> None:
    """Wait until this process uses no processor time: pools of threads spin for a while before they sleep.

    So they may spin as their library likes while it is measured, and do not disturb the next one.
    """
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(3e-3)
        if time.process_time() - before < 3e-4:
            return


class Worker:
    """Answers requests with one library's module."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = library, threads
        self.module: Any = None
        self.call: Any = None

    def start(self) -> dict[str, Any]:
        from race.grid import MODULES

        # A library that is not in the table is a module of its own: tests bring such ones.
        ours = self.library in MODULES
        self.module = importlib.import_module(f"race.{MODULES[self.library]}" if ours else self.library)
        versions = self.module.start(self.threads)
        # Garbage is collected between cases only, and what the imports brought is never looked at again.
        gc.disable()
        gc.freeze()
        return {"versions": versions}

    def prepare(self, case: dict[str, Any], oracle: str, write: bool) -> dict[str, Any]:
        """Draw the numbers, run once, write what came out or compare it with what is there."""
        import numpy as np

        from race.grid import Case
        from race.problem import differences, draw

        asked = Case(**case)
        self.call = None  # the arrays of the last case go before those of the next come
        gc.collect()
        problem = draw(asked)
        if asked.kind == "trained":
            weights = Path(oracle).with_name("weights.npz")
            if write:
                np.savez(weights, **self.module.trained(problem))
            with np.load(weights) as found:
                problem.weights = dict(found)
        layer = self.module.Layer(self.library, problem)
        arrays = layer.arrays(asked.mode)
        self.call = getattr(layer, asked.mode)
        if write:
            np.savez(oracle, **arrays)
            return {"differences": {}}
        with np.load(oracle) as wanted:
            return {"differences": differences(arrays, dict(wanted))}

    def timed(self, calls: int) -> float:
        before = time.perf_counter()
        for _ in range(calls):
            self.call()
        return (time.perf_counter() - before) / calls

    def estimate(self) -> dict[str, Any]:
        """Seconds a call, from one call where it is long and from several where it is short."""
        seconds = self.timed(1)
        if seconds < 0.02:
            seconds = self.timed(max(1, round(0.02 / seconds)))
        return {"seconds": seconds}

    def time(self, calls: int) -> dict[str, Any]:
        """Mean seconds of so many calls in a row; of several, one more goes first to fill the caches."""
        if calls > 3:
            self.call()
        return {"seconds": self.timed(calls)}

    def product(self, size: int) -> dict[str, Any]:
        """The best of three; the first call finds threads and memory."""
        self.call = self.module.product(size)
        self.call()
        return {"gflops": 2e-9 * size**3 / min(self.timed(1) for _ in range(3))}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return getattr(self, request.pop("do"))(**request)
        except Exception as error:  # whatever a library raises is its answer, not the end of the race
            return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        finally:
            settle()


def main() -> None:
    library, threads, cores = sys.argv[1:]
    hold(int(threads), cores)
    # What libraries print goes to standard error; the answers keep the stream to themselves.
    with os.fdopen(os.dup(1), "w") as answers, contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        os.dup2(2, 1)
        worker = Worker(library, int(threads))
        for line in sys.stdin:
            print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent  # the package is wanted on the path, not its files one by one
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if Path(entry).resolve() != here)]
    main()
