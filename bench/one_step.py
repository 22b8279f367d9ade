"""One layer's training step, in a loop for a profiler: ``python bench/one_step.py lstm 100 32 64 128``.

Arguments: cell, T, B, I, H, seconds (3 unless given). One thread; forward and backward of the layer alone.
"""

import sys
import time

import numpy as np
from workloads import CELLS

from rnncore import Network, set_num_threads


def main(cell: str, steps: int, rows: int, inputs: int, units: int, seconds: float = 3.0) -> None:
    set_num_threads(1)
    layer = Network(CELLS[cell](inputs, units), seed=0).layers[0]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps, rows, inputs), dtype=np.float32)
    dy = rng.standard_normal((steps, rows, units), dtype=np.float32)
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        layer.backward(dy, layer.forward(x)[2])
        count += 1
    print(f"{count} steps, {1e3 * seconds / count:.3f} ms each")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:6]), *map(float, sys.argv[6:7]))
