"""kill -9 at any moment of a run with checkpoints: the next one goes on, and ends with the same bits."""

from __future__ import annotations

import os
import signal
import time
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore import GRU, Adam, ClipNorm, Dense, Dropout, Network, SquaredError, Trainer
from rnncore.data import Batch

STEPS = 40


def trainer(path: Path | None) -> Trainer:
    net = Network(GRU(3, 8), Dropout(0.2), Dense(8, 1), seed=1)
    return Trainer(
        net, SquaredError(), Adam(1e-2), clip=ClipNorm(1.0), bptt=4, checkpoint=path, progress="off",
        checkpoint_every=None if path is None else 1,
    )  # fmt: skip


def batches() -> list[Batch]:
    rng = np.random.default_rng(3)
    return [
        Batch(
            rng.standard_normal((10, 4, 3)).astype("f4"), rng.standard_normal((10, 4, 1)).astype("f4"), None
        )
        for _ in range(3)
    ]


@cache
def expected() -> bytes:
    """The parameters of a run that nobody disturbs."""
    made = trainer(None)
    made.fit(batches(), steps=STEPS)
    return made.net.params.flat.tobytes()


def train(path: Path) -> None:
    made = trainer(path)
    made.fit(batches(), steps=STEPS, resume=path.exists())
    rnncore.save(made.net, path.with_suffix(".model"))


def run(rng: Generator, folder: Path) -> None:
    """Kill the run again and again, at moments of chance, until it comes to its end."""
    wanted = expected()
    path = folder / "run.checkpoint"
    for kill in range(6):
        child = os.fork()
        if not child:
            try:
                train(path)
                os._exit(0)
            finally:
                os._exit(1)
        if kill < 5:
            time.sleep(float(rng.uniform(0, 0.15)))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise Broken(f"the run ended with status {os.WEXITSTATUS(status)} after {kill} kills")
    net = rnncore.load(path.with_suffix(".model"))
    if net.params.flat.tobytes() != wanted:
        raise Broken("a run that was killed and resumed ends with other parameters")
    if left := [name for name in os.listdir(folder) if name.endswith(".tmp")]:
        raise Broken(f"temporary files are left: {left}")


SUBJECT = Subject("kills", "kill -9 in runs, and resumed", run, limits=Limits(20))
