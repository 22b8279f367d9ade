"""What each remedy costs: ``python bench/remedy_cost.py``.

A training step with the remedy beside the plain one of the same cell, in processor time of one thread, so
that a busy machine does not count; the two run in turn, and the least of all rounds is compared.
``arithmetic`` is the remedy's multiply-adds over the plain step's, which are 6 T B G H (I + H): what a remedy
may cost is 1.3 times that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rnncore import (
    GRU,
    LSTM,
    SGD,
    ClipNorm,
    ClipParameter,
    ClipStep,
    ClipValue,
    Clockwork,
    Elman,
    LeakyElman,
    Network,
    SkipElman,
    Trainer,
    set_num_threads,
)
from rnncore.layers import Dense
from rnncore.losses import SquaredError
from rnncore.regularizers import NormStabilizer, Omega, Orthogonality

LIMIT = 1.3
SHAPES = [(100, 20, 8, 50), (100, 32, 64, 128)]  # T, B, I, H


class Unguarded(Elman):
    """An Elman layer that does not look whether its state explodes."""

    def _guard(self, hidden: np.ndarray, limit: float) -> None:
        pass


@dataclass(frozen=True)
class Remedy:
    """A layer and what training adds to it, the plain layer it is compared with, its arithmetic over that
    one's."""

    build: Callable[[int, int], Any]
    plain: Callable[[int, int], Any] = Elman
    extra: Callable[[], dict[str, Any]] = dict
    beside: dict[str, Any] = field(default_factory=dict)  # what training of the plain one has
    arithmetic: Callable[[int, int, int, int], float] = field(default=lambda T, B, I, H: 1.0)


def added(products: float) -> Callable[[int, int, int, int], float]:
    """So many products (T B, H)(H, H) beside an Elman step, which has three, and three (T B, I)(I, H)."""
    return lambda T, B, I, H: 1 + products * H / (3 * (I + H))


def per_step(products: float) -> Callable[[int, int, int, int], float]:
    """So many products (H, H)(H, H) more, once a step of training."""
    return lambda T, B, I, H: 1 + products * H * H / (3 * T * B * (I + H))


def clockwork(I: int, H: int, periods: tuple[int, ...]) -> float:
    """The share of an Elman step's products: group g of G hears (G - g) / G of the units, every p-th step."""
    groups = len(periods)
    return sum((I + H * (groups - g) / groups) / (groups * p) for g, p in enumerate(periods)) / (I + H)


REMEDIES = {
    "clip by value": Remedy(Elman, extra=lambda: {"clip": ClipValue(1.0)}),
    "clip by norm": Remedy(Elman, extra=lambda: {"clip": ClipNorm(1.0)}),
    "clip by parameter": Remedy(Elman, extra=lambda: {"clip": ClipParameter(1.0)}),
    "clip by step": Remedy(Elman, extra=lambda: {"clip": ClipStep(1e-3)}),
    "ReLU with guard": Remedy(
        lambda i, h: Elman(i, h, "relu", recurrent_init="orthogonal:0.5"),
        plain=lambda i, h: Unguarded(i, h, "relu", recurrent_init="orthogonal:0.5"),
    ),
    "norm stabilizer": Remedy(Elman, extra=lambda: {"regularizer": NormStabilizer(1.0)}),
    "soft orthogonality": Remedy(
        Elman, extra=lambda: {"regularizer": Orthogonality(1.0)}, arithmetic=per_step(2)
    ),
    "omega": Remedy(Elman, extra=lambda: {"regularizer": Omega(1.0)}, arithmetic=added(2)),
    "leaky": Remedy(lambda i, h: LeakyElman(i, h, time_constants=(1, 100))),
    "leaky, learned": Remedy(lambda i, h: LeakyElman(i, h, time_constants=(1, 100), learn_leak=True)),
    "skips (1, 8)": Remedy(lambda i, h: SkipElman(i, h, (1, 8)), arithmetic=added(3)),
    "clockwork 1 2 4 8": Remedy(
        lambda i, h: Clockwork(i, h, (1, 2, 4, 8)),
        arithmetic=lambda T, B, I, H: clockwork(I, H, (1, 2, 4, 8)),
    ),
    "dilated (8,)": Remedy(lambda i, h: SkipElman(i, h, (8,))),
    "LSTM peepholes": Remedy(lambda i, h: LSTM(i, h, peepholes=True), plain=LSTM),
    "LSTM coupled": Remedy(
        lambda i, h: LSTM(i, h, coupled=True), plain=LSTM, arithmetic=lambda T, B, I, H: 0.75
    ),
    "GRU reset before": Remedy(lambda i, h: GRU(i, h, reset_after=False), plain=GRU),
    "LSTM chrono": Remedy(lambda i, h: LSTM(i, h, chrono=100), plain=LSTM),
    "GRU chrono": Remedy(lambda i, h: GRU(i, h, chrono=100), plain=GRU),
    "windows of (20, 40)": Remedy(
        Elman, extra=lambda: {"bptt": (20, 40)}, beside={"bptt": 20}, arithmetic=lambda T, B, I, H: 2 - 20 / T
    ),
}  # fmt: skip


class Step:
    """Training of one network on one batch, again and again; a rate of nearly 0 keeps its numbers where they
    are."""

    def __init__(
        self, build: Callable[[int, int], Any], extra: dict[str, Any], shape: tuple[int, ...]
    ) -> None:
        steps, rows, inputs, units = shape
        rng = np.random.default_rng(0)
        x = rng.standard_normal((steps, rows, inputs)).astype(np.float32)
        target = rng.standard_normal((steps, rows, 2)).astype(np.float32)
        self.batches = [type("Batch", (), {"x": x, "target": target})]
        net = Network(build(inputs, units), Dense(units, 2))
        self.trainer = Trainer(net, SquaredError(), SGD(1e-9), progress="off", **extra)

    def seconds(self, epochs: int) -> float:
        """Processor time of one pass over the batch."""
        start = time.thread_time()
        self.trainer.fit(self.batches, epochs=epochs)
        return (time.thread_time() - start) / epochs


def ratio(remedy: Remedy, shape: tuple[int, ...], rounds: int) -> tuple[float, float]:
    """Seconds of the plain step, and the remedy's over them."""
    plain, cured = Step(remedy.plain, remedy.beside, shape), Step(remedy.build, remedy.extra(), shape)
    times = [(plain.seconds(5), cured.seconds(5)) for _ in range(rounds)]
    least, other = (min(column) for column in zip(*times, strict=True))
    return least, other / least


def main() -> None:
    rounds = 5 if "--quick" in sys.argv[1:] else 25
    set_num_threads(1)
    print(f"{'':22}{'T, B, I, H':>20}{'plain, ms':>12}{'ratio':>8}{'arithmetic':>12}{'per unit':>10}")
    with threadpool_limits(1):
        for name, remedy in REMEDIES.items():
            for shape in SHAPES:
                seconds, times = ratio(remedy, shape, rounds)
                arithmetic = remedy.arithmetic(*shape)
                over = "" if times / arithmetic <= LIMIT else f"  over {LIMIT}"
                print(
                    f"{name:22}{shape!s:>20}{1e3 * seconds:12.3f}{times:8.2f}{arithmetic:12.2f}"
                    f"{times / arithmetic:10.2f}{over}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
