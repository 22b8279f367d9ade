"""Everything over and over in one process: memory stays flat, no file and no thread is left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.isolation import SANITIZED, Broken, Limits
from campaign.subjects import Subject
from rnncore import Adam, ClipNorm, CrossEntropy, SquaredError, Trainer
from rnncore.kernels.memory import release_memory

ROUNDS, WARM = 40, 14
MOST = 3_000_000  # bytes that may come between the first and the second half of the rounds


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def once(rng: Generator, folder: Path) -> None:
    """A network is made, trained, saved, read, streamed and refused something."""
    net = nets.draw_network(rng, masks=True)
    x = nets.draw_input(rng, net, 12, 5)
    y = net.forward(x)[0]
    shape = y.shape if y.ndim == 3 else (1, *y.shape)
    batch = (x, np.zeros(shape if y.ndim == 3 else y.shape, net.dtype))
    path = folder / "model.safetensors"
    Trainer(
        net, SquaredError(), Adam(1e-4), clip=ClipNorm(1.0), progress="off", checkpoint=folder / "run"
    ).fit([batch], steps=3)
    rnncore.save(net, path)
    again = rnncore.load(path)
    nets.exercise(again)
    rnncore.set_num_threads(int(rng.integers(1, 4)))
    with again.inference_mode():
        again.forward(x)
    data = bytearray(path.read_bytes())
    data[int(rng.integers(len(data)))] ^= 1
    path.write_bytes(data)
    for call in (lambda: rnncore.load(path), lambda: again.forward("x"), lambda: CrossEntropy()(y, None)):
        with contextlib.suppress(ValueError, TypeError):
            call()


def run(rng: Generator, folder: Path) -> None:
    seeds = rng.integers(2**31, size=5)  # a few networks in turn, so that every round asks for the same
    before: list[int] = []
    for number in range(ROUNDS):
        for seed in seeds:
            once(np.random.default_rng(seed), folder)
        gc.collect()
        release_memory()
        if number >= WARM:
            before.append(resident())
        if number == WARM:
            files, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    half = len(before) // 2
    grown = min(before[half:]) - min(before[:half])
    if grown > MOST and not SANITIZED:  # which keep what is freed for a while
        raise Broken(f"resident memory grows by {grown:,} bytes in {half * len(seeds)} rounds")
    if len(os.listdir("/proc/self/fd")) > files or len(os.listdir("/proc/self/task")) > threads:
        raise Broken("files or threads are left behind")


SUBJECT = Subject(
    "soak", f"{ROUNDS} rounds of everything each, memory flat", run, limits=Limits(120), weight=0.5
)
