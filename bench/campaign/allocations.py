"""Memory and threads that rnncore asks for in vain: MemoryError or fewer threads, and the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.failing import fail, failed, under_it
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore.ctc import CTC
from rnncore.kernels.memory import release_memory

TIMES = 40  # calls that fail, in a try


def run(rng: Generator, folder: Path) -> None:
    under_it("campaign.allocations", rng, folder)


def everything(rng: Generator, net: rnncore.Network) -> list[bytes]:
    """What a network computes in all its ways."""
    steps, rows = int(rng.integers(5, 40)), int(rng.integers(1, 70))
    x = nets.draw_input(rng, net, steps, rows)
    y, _, tape = net.forward(x)
    net.zero_grad()
    net.backward(y, tape)
    made = [y.tobytes(), net.grads.flat.tobytes(), net.infer(x).tobytes()]
    stream = net.stream()
    made.append(stream.run(np.ascontiguousarray(x[:, :1])).tobytes())
    if y.ndim == 3 and y.shape[2] > 1:
        loss = CTC()
        labels = [[1] for _ in range(rows)]
        made.append(np.array(loss(y, labels)[0]).tobytes())
        loss.search(y, width=3)
    return made


def inside(rng: Generator, folder: Path) -> None:
    for _ in range(TIMES):
        net = nets.draw_network(rng, plain=True)
        rnncore.set_num_threads(int(rng.integers(1, 6)))
        seed = int(rng.integers(2**31))
        wanted = everything(np.random.default_rng(seed), net)
        kind = nets.one(rng, ("memory", "memory", "thread"))
        if kind == "memory":
            release_memory()
        else:
            rnncore.set_num_threads(int(rng.integers(6, 20)))
        fail(kind, int(rng.integers(1, 6)))
        try:
            made: list[bytes] | None = everything(np.random.default_rng(seed), net)
        except MemoryError:
            made = None
        hit = failed()
        fail(None)
        if made is None and not hit:
            raise Broken("a MemoryError where nothing was refused")
        if kind == "thread" and made is None:
            raise Broken("a thread that could not be made is a MemoryError")
        if made is not None and made[0] != wanted[0]:
            raise Broken(f"other results after {kind} was refused")
        rnncore.set_num_threads(1)
        if everything(np.random.default_rng(seed), net)[0] != wanted[0]:
            raise Broken(f"other results in the call behind the one that {kind} was refused to")


SUBJECT = Subject("allocations", f"{TIMES} calls each, memory or threads refused", run, limits=Limits(30))
