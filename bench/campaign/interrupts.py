"""Ctrl-C at any moment of a call: KeyboardInterrupt arrives, and all is as before or as after the call."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore import Adam, ClipNorm, Network

TIMES = 60  # interrupts in a try


def calls(rng: Generator, net: Network, folder: Path) -> dict[str, Callable[[], object]]:
    x = nets.draw_input(rng, net, 5, 3)
    path = folder / "model.safetensors"
    rnncore.save(net, path)

    optimizer, nothing = Adam(1e-2), np.zeros_like(net.params.flat)

    def step() -> None:
        y, _, tape = net.forward(x)
        net.zero_grad()
        net.backward(y, tape)
        ClipNorm(1.0)(net.grads.flat)

    def infer() -> None:
        with net.inference_mode():
            net.forward(x)
            net.infer(x)

    return {
        "step": step,
        "infer": infer,
        "save": lambda: rnncore.save(net, path),
        "load": lambda: rnncore.load(path),
        "stream": lambda: net.stream().run(np.ascontiguousarray(x[:, :1])),
        "optimizer": lambda: optimizer.step(net.params.flat, nothing),
        "threads": lambda: rnncore.set_num_threads(int(rng.integers(1, 4))),
    }


def run(rng: Generator, folder: Path) -> None:
    net = nets.draw_network(rng, plain=True).eval()
    x = nets.draw_input(rng, net, 5, 3)
    chosen = calls(rng, net, folder)
    parameters, wanted = net.params.flat.copy(), net.forward(x)[0]
    chosen["step"]()
    before = len(os.listdir("/proc/self/fd"))
    name = nets.one(rng, tuple(chosen))
    for _ in range(TIMES):
        try:
            disturbed(chosen[name], float(rng.exponential(5e-4)) + 1e-6, 1 + int(rng.random() < 0.2))
        except Exception as error:
            raise Broken(f"{name}: an interrupt became {type(error).__name__}: {error}") from error
        check(name, net, parameters, folder)
    if not np.array_equal(net.forward(x)[0], wanted):
        raise Broken(f"{name}: the network computes something else after interrupts")
    if len(os.listdir("/proc/self/fd")) > before:
        raise Broken(f"{name}: interrupts have left open files")


def disturbed(call: Callable[[], object], delay: float, times: int) -> None:
    """Repeat the call until one or two interrupts have come."""
    left = [times]

    def handle(number: int, frame: object) -> None:
        if left[0]:
            left[0] -= 1
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handle)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, delay, max(delay / 3, 2e-5))
            while True:
                call()
        except KeyboardInterrupt:
            while left[0]:  # the second one has not come yet
                pass
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def check(name: str, net: Network, parameters: np.ndarray, folder: Path) -> None:
    if not net.params.flat.flags.writeable:
        raise Broken(f"{name}: the parameters are read-only after an interrupt")
    if not np.array_equal(net.params.flat, parameters):
        raise Broken(f"{name}: the parameters have changed")
    if name in {"save", "load"}:
        rnncore.load(folder / "model.safetensors")
        if left := [entry for entry in os.listdir(folder) if entry.endswith(".tmp")]:
            raise Broken(f"{name}: temporary files are left: {left}")


SUBJECT = Subject("interrupts", f"{TIMES} interrupts each, in calls", run, limits=Limits(20))
