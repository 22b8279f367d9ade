"""What a full report costs: diagnose and the page with all pictures, LSTM H=256, T=500, B=8, float32.

    python bench/full_report.py

Prints seconds of wall clock and of processor time for both parts, and what a monitor's look costs beside the
updates of training between two looks.
"""

import os
import tempfile
import time
import warnings

import numpy as np

from rnncore import LSTM, Adam, ClipNorm, CrossEntropy, Dense, Network, Trainer
from rnncore.data import Batch
from rnncore.diagnostics import GradientMonitor, diagnose
from rnncore.diagnostics.page import write_page

INPUTS, UNITS, CLASSES = 64, 256, 10


def timed(name, function):
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name:<28}{wall:>8.2f} s wall{processor:>8.2f} s processor")
    return result, processor


def problem(steps, rows):
    rng = np.random.default_rng(0)
    net = Network(LSTM(INPUTS, UNITS), Dense(UNITS, CLASSES), seed=1)
    x = rng.standard_normal((steps, rows, INPUTS)).astype(np.float32)
    return net, Batch(x, rng.integers(0, CLASSES, (steps, rows)))


def report():
    net, batch = problem(500, 8)
    loss = CrossEntropy()
    found, _ = timed("diagnose", lambda: diagnose(net, batch, loss))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.html")
        timed("page", lambda: write_page(path, found, net, batch.x, batch.target, loss))


def monitor():
    net, batch = problem(100, 32)
    monitor = GradientMonitor(every=50)
    trainer = Trainer(net, CrossEntropy(), Adam(1e-3), clip=ClipNorm(1.0), monitor=monitor, progress="off")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit([batch], steps=3)
        trainer.monitor = None
        _, training = timed("50 updates", lambda: trainer.fit([batch], steps=50))
        _, look = timed("a look of the monitor", lambda: monitor._look(trainer))
    print(f"the monitor's share: {look / training:.2%}")


if __name__ == "__main__":
    report()
    monitor()
