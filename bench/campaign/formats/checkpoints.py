"""Checkpoints of training runs: ``Trainer.fit(..., resume=True)``, which then makes two more updates."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign.formats import tensors
from campaign.formats.reading import Refused, read
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore import GRU, LSTM, SGD, Adam, ClipNorm, Dense, Dropout, Network, RMSprop, SquaredError, Trainer
from rnncore.data import Batch
from rnncore.schedules import Cosine, Plateau

STEPS = 6  # of the run that is written down
FEWEST = 2  # batches of run 0


def trainer(number: int, path: Path) -> tuple[Trainer, dict[str, Any]]:
    """One of six runs, and what its fit is told."""
    cell = (LSTM, GRU)[number % 2]
    net = Network(cell(2, 3), Dropout(0.2), Dense(3, 1), seed=1)
    optimizer = (lambda: Adam(1e-2), lambda: SGD(1e-2, momentum=0.9), lambda: RMSprop(1e-2, momentum=0.5))
    options: dict[str, Any] = {}
    fit: dict[str, Any] = {}
    if number in (1, 4):
        options["bptt"] = 3 if number == 1 else (2, 4)
    if number in (2, 4):
        options["accumulate"] = 2
    if number == 3:
        options["schedule"] = Cosine(1e-2, 20)
    if number == 5:
        options["schedule"] = Plateau(1e-2, patience=1)
    if number in (3, 5):
        fit = {"validation": batches(0)[:1], "validate_every": 2, "patience": 50}
    made = Trainer(
        net,
        SquaredError(),
        optimizer[number % 3](),
        clip=ClipNorm(1.0),
        checkpoint=path,
        progress="off",
        **options,
    )
    return made, fit


def batches(number: int) -> list[Batch]:
    """As many as only this run has: its files say how many."""
    rng = np.random.default_rng(number)
    return [
        Batch(rng.standard_normal((8, 3, 2)).astype("f4"), rng.standard_normal((8, 3, 1)).astype("f4"), None)
        for _ in range(FEWEST + number)
    ]


SOUND: dict[int, bytes] = {}


def sound(number: int) -> bytes:
    if number not in SOUND:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            made, fit = trainer(number, path)
            made.fit(batches(number), steps=STEPS, **fit)
            SOUND[number] = path.read_bytes()
    return SOUND[number]


def make(rng: Generator) -> bytes:
    return tensors.mutate(rng, sound(int(rng.integers(6))))


def run(rng: Generator, path: Path) -> None:
    """The file tells how many batches its run had; where it does not, any run will do."""
    told = re.search(rb'batches\\*":(\d)\b', path.read_bytes())
    number = int(told[1]) - FEWEST if told and 0 <= int(told[1]) - FEWEST < 6 else int(rng.integers(6))
    made, fit = trainer(number, path)
    before = made.net.params.flat.copy()
    try:
        read(lambda: made.fit(batches(number), steps=STEPS + 2, resume=True, **fit), path)
    except FloatingPointError:  # numbers that are not finite are found by the first update
        return
    except Broken as error:  # data that do not fit are named as the batch's
        if "the checkpoint was written amid" not in str(error):
            raise
    except Refused:
        if not np.array_equal(made.net.params.flat, before):
            raise Broken("a refused checkpoint has changed the network") from None
        raise


SUBJECT = Subject(
    "checkpoints", "checkpoints, resumed from", run, make, tensors.mutate, ".safetensors", Limits(10)
)
