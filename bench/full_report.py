"""What a full report costs, and what a monitor costs a training run: ``python bench/full_report.py``.

The report is ``diagnose`` and the page with all pictures, LSTM H=256, T=500, B=8, float32, in seconds of wall
clock and of processor time. The monitor's cost is in processor time of one thread, so that a busy machine
counts less: each look with the updates on either side of it, beside the median of the 47 others around it.
Shown are the median of all looks and the quartiles.
"""

import os
import tempfile
import time
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

import rnncore
from rnncore import LSTM, Adam, ClipNorm, CrossEntropy, Dense, Network, Trainer
from rnncore.data import Batch
from rnncore.diagnostics import GradientMonitor, diagnose
from rnncore.diagnostics.page import write_page

INPUTS, CLASSES = 64, 10
SHAPES = [(100, 32, 128), (100, 32, 256), (50, 64, 128)]  # T, B, H
EVERY, LOOKS = 50, 40


class Clocked(GradientMonitor):
    """Notes when each update, with what the monitor does behind it, has ended."""

    def __init__(self):
        super().__init__(every=EVERY, warn=False)
        self.ends = []

    def on_step(self, trainer):
        super().on_step(trainer)
        self.ends.append(time.process_time())


def timed(name, function):
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name:<28}{wall:>8.2f} s wall{processor:>8.2f} s processor")
    return result


def problem(steps, rows, units):
    rng = np.random.default_rng(0)
    net = Network(LSTM(INPUTS, units), Dense(units, CLASSES), seed=1)
    x = rng.standard_normal((steps, rows, INPUTS)).astype(np.float32)
    return net, Batch(x, rng.integers(0, CLASSES, (steps, rows)))


def report():
    net, batch = problem(500, 8, 256)
    loss = CrossEntropy()
    found = timed("diagnose", lambda: diagnose(net, batch, loss))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.html")
        timed("page", lambda: write_page(path, found, net, batch.x, batch.target, loss))


def monitors():
    for steps, rows, units in SHAPES:
        net, batch = problem(steps, rows, units)
        monitor = Clocked()
        trainer = Trainer(
            net, CrossEntropy(), Adam(1e-3), clip=ClipNorm(1.0), monitor=monitor, progress="off"
        )
        trainer.fit([batch], steps=EVERY * (LOOKS + 1))
        took = np.diff(monitor.ends)[EVERY // 2 - 1 :]  # from update 26 on: the early look is over
        windows = took[: EVERY * LOOKS].reshape(LOOKS, EVERY)
        near = np.arange(EVERY // 2 - 2, EVERY // 2 + 1)  # the look is behind the one in the middle
        update = np.median(np.delete(windows, near, axis=1), axis=1)
        looks = windows[:, near].sum(axis=1) - len(near) * update
        low, middle, high = np.percentile(looks / (EVERY * update), [25, 50, 75])
        print(
            f"monitor, T{steps} B{rows} H{units}: {middle:.2%} ({low:.2%} to {high:.2%}); a look "
            f"{np.median(looks) * 1e3:.1f} ms, an update {np.median(update) * 1e3:.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    report()
    rnncore.set_num_threads(1)
    with threadpool_limits(1):
        monitors()
