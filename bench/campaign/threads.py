"""Python threads compute, while others turn every setting that there is: each gets the bits of one alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore import Network
from rnncore.kernels.memory import memory_in_use, release_memory

SECONDS = 0.4  # of each try


def job(rng: Generator, shared: Network) -> tuple[Callable[[], bytes], bytes]:
    """A computation of one thread, and its bits alone: on a network of its own, or on one that all share."""
    rows = int(nets.one(rng, (1, 3, 16, 40)))
    net = shared if rng.random() < 0.5 else nets.draw_network(rng, plain=True).eval()
    x = nets.draw_input(rng, net, int(rng.integers(8, 60)), rows)
    lengths = nets.draw_lengths(rng, len(x), rows)
    kind = int(rng.integers(4))
    if net is not shared and kind == 3:

        def call() -> bytes:
            y, _, tape = net.forward(x, lengths=lengths)
            dx, _ = net.backward(y, tape)
            return y.tobytes() + (b"" if dx is None else dx.tobytes())

    elif kind == 2:

        def call() -> bytes:
            return net.stream(batch=rows).run(x).tobytes()

    elif kind == 1:

        def call() -> bytes:
            return net.infer(x, lengths).tobytes()

    else:

        def call() -> bytes:
            return net.forward(x, lengths=lengths)[0].tobytes()

    return call, call()


def turn(rng: Generator, end: float) -> None:
    """Settings of the process, and of this thread."""
    while time.monotonic() < end:
        kind = int(rng.integers(5))
        if kind < 2:
            rnncore.set_num_threads(int(nets.one(rng, (1, 2, 3, 8, 64))))
        elif kind == 2:
            release_memory()
            memory_in_use()
        elif kind == 3:
            with rnncore.keep_denormals():
                nets.draw_network(rng).eval()
        else:
            time.sleep(float(rng.exponential(1e-3)))


def run(rng: Generator, folder: Path) -> None:
    shared = nets.draw_network(rng, plain=True).eval()
    jobs = [job(rng, shared) for _ in range(4)]
    rnncore.set_num_threads(3)
    end, complaints = time.monotonic() + SECONDS, []

    def work(call: Callable[[], bytes], wanted: bytes) -> None:
        try:
            while time.monotonic() < end:
                if call() != wanted:
                    complaints.append("other bits than alone")
                    return
        except BaseException as error:
            complaints.append(f"{type(error).__name__}: {error}")

    def turning(seed: int) -> None:
        try:
            turn(np.random.default_rng(seed), end)
        except BaseException as error:
            complaints.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=each) for each in jobs]
    threads.append(threading.Thread(target=turning, args=(int(rng.integers(2**31)),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if complaints:
        raise Broken(complaints[0])


SUBJECT = Subject("threads", "four threads compute, one turns settings", run, limits=Limits(20))
