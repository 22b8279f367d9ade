"""Where BLAS is faster than the tiles: GFLOP/s of a dense backward pass on one thread.

    OPENBLAS_NUM_THREADS=1 python -m bench.crossover

dx = dy W and dW += dy' x; a level whose weight gradients BLAS computes shows the mixture. OpenBLAS picks its
kernels by the processor's name, not by what it can do; OPENBLAS_CORETYPE=SkylakeX asks for those with
AVX-512. What follows from the figures stands in rnncore/kernels/level.h.
"""

import statistics
import time

import numpy as np
from scipy.linalg.blas import sgemm
from threadpoolctl import threadpool_limits

import rnncore
from rnncore import kernels
from rnncore.kernels import dispatch
from rnncore.kernels.memory import empty

SHAPES = ((256, 64, 512), (3200, 128, 512), (3200, 256, 1024), (640, 1024, 4096), (3200, 512, 64))
ROUNDS = 15


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def draw(rows, inputs, outputs, rng):
    """x, weight and dy, float32."""
    shapes = ((rows, inputs), (outputs, inputs), (rows, outputs))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def backward(rows, inputs, outputs, rng):
    """A Dense layer's backward pass on the kernels, which is dx and dW, as a function without arguments."""
    x, weight, dy = draw(rows, inputs, outputs, rng)
    dx, dweight, dbias = np.empty_like(x), np.zeros_like(weight), np.zeros(outputs, np.float32)
    scratch = empty((kernels.dense_scratch_size(inputs, outputs, "float32"),), np.float32)
    return lambda: kernels.dense_backward(dy, x, weight, dx, dweight, dbias, scratch)


def blas(rows, inputs, outputs, rng):
    """The same two products by BLAS, in the column order it likes."""
    x, weight, dy = draw(rows, inputs, outputs, rng)
    dx, dweight = np.empty_like(x), np.zeros_like(weight)

    def run():
        sgemm(1, weight.T, dy.T, c=dx.T, overwrite_c=1)  # dx' = W' dy'
        sgemm(1, x.T, dy.T, trans_b=1, beta=1, c=dweight.T, overwrite_c=1)  # dW' += x' dy

    return run


def main():
    """Time BLAS and every level in turn, and print the medians."""
    rnncore.set_num_threads(1)
    levels = dispatch.levels()
    print("| rows x inputs x outputs | " + " | ".join(levels) + " | BLAS |")
    print("|---" * (len(levels) + 2) + "|")
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        flops = 4 * np.prod(shape)
        times = {name: [] for name in (*levels, "BLAS")}
        runs = {}
        for level in levels:
            dispatch.set_level(level)
            runs[level] = backward(*shape, rng)
        runs["BLAS"] = blas(*shape, rng)
        for _ in range(ROUNDS):
            for name, run in runs.items():
                dispatch.set_level(name if name != "BLAS" else levels[0])
                times[name].append(seconds(run))
        rates = [f"{flops / statistics.median(times[name]) * 1e-9:.0f}" for name in times]
        print(f"| {' x '.join(map(str, shape))} | " + " | ".join(rates) + " |")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
