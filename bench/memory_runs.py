"""What ``bench/long_memory.py`` runs: problems, lengths, remedies, budgets, and what the papers report.

A remedy is one line of ``REMEDIES``: how its recurrent layer is made, and what training adds. A row is one
line of ``rows``: a problem, the remedies that try it, the budget that all of them have, the published
figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore import GRU, LSTM, SGD, Adam, ClipNorm, Clockwork, Elman, LeakyElman, Network, RMSprop, SkipElman
from rnncore.problems import (
    Adding,
    CopyMemory,
    DelayedName,
    Digits,
    Multiplication,
    Problem,
    RandomPermutation,
    Sine,
    TemporalOrder,
    WarpedRecall,
)
from rnncore.regularizers import NormStabilizer, Omega, Orthogonality


@dataclass(frozen=True)
class Remedy:
    """How a network is made and trained.

    ``build(inputs, units, steps)`` makes the recurrent layer, whose input weights are then multiplied by
    ``inputs``; ``sparse``: weights are drawn as in the program of Pascanu et al.; ``clip`` None is no
    clipping; a penalty or none.
    """

    build: Callable[[int, int, int], Any]
    clip: float | None = 1.0
    penalty: Callable[[], Any] | None = None
    inputs: float = 1.0
    sparse: bool = False

    def network(self, problem: Problem, units: int, steps: int, seed: int) -> Network:
        net = problem.network(lambda features: self.build(features, units, steps), seed=seed)
        for name, view in net.params.items():
            if name.endswith("weight_ih"):
                view *= self.inputs
        if self.sparse:
            draw_sparse(net, seed)
        return net


def draw_sparse(net: Network, seed: int) -> None:
    """15 recurrent weights a unit, spectral radius 0.95; the others normal with deviation 0.01; no bias."""
    rng = np.random.default_rng(seed)
    for name, view in net.params.items():
        view[...] = 0 if view.ndim == 1 else 0.01 * rng.standard_normal(view.shape)
        if name.endswith("weight_hh"):
            for row in view:
                row[rng.permutation(len(row))[15:]] = 0
            view *= 0.95 / abs(np.linalg.eigvals(view)).max()


def elman(**options: Any) -> Callable[[int, int, int], Any]:
    return lambda inputs, units, steps: Elman(inputs, units, **options)


# The plain network's weights are Gaussian; Elman's own default, orthogonal, is a remedy.
PLAIN = {"recurrent_init": "critical"}

REMEDIES: dict[str, Remedy] = {
    "plain unclipped": Remedy(elman(**PLAIN), clip=None),
    "plain": Remedy(elman(**PLAIN)),
    "orthogonal": Remedy(elman()),
    "sparse unclipped": Remedy(elman(), clip=None, sparse=True),
    "sparse": Remedy(elman(), sparse=True),
    # Small input weights, as in the paper: the identity keeps whatever enters.
    "IRNN": Remedy(elman(activation="relu", limit=1e6), inputs=0.01),
    "soft orthogonality": Remedy(elman(**PLAIN), penalty=lambda: Orthogonality(0.01)),
    "norm stabilizer": Remedy(elman(), penalty=lambda: NormStabilizer(1.0)),
    "omega": Remedy(elman(), penalty=lambda: Omega(2.0), sparse=True),
    # As the authors' program has it.
    "omega squared": Remedy(elman(), penalty=lambda: Omega(2.0, squared=True), sparse=True),
    "leaky": Remedy(lambda i, h, t: LeakyElman(i, h, time_constants=(1, t))),
    "leaky one constant": Remedy(lambda i, h, t: LeakyElman(i, h, leak=0.1)),
    "leaky learned": Remedy(lambda i, h, t: LeakyElman(i, h, time_constants=(1, t), learn_leak=True)),
    "skips": Remedy(lambda i, h, t: SkipElman(i, h, delays=(1, max(2, t // 4)))),
    "dilated": Remedy(lambda i, h, t: SkipElman(i, h, delays=(max(2, t // 8),))),
    "clockwork": Remedy(lambda i, h, t: Clockwork(i, h, [2**k for k in range(min(8, t.bit_length() - 1))])),
    "LSTM": Remedy(lambda i, h, t: LSTM(i, h)),
    # The nearest to the LSTM of 1997, which had no forget gate: this one is 0.993 open.
    "LSTM open": Remedy(lambda i, h, t: LSTM(i, h, forget_bias=5.0)),
    "LSTM chrono": Remedy(lambda i, h, t: LSTM(i, h, chrono=t)),
    "LSTM peepholes": Remedy(lambda i, h, t: LSTM(i, h, peepholes=True)),
    "LSTM coupled": Remedy(lambda i, h, t: LSTM(i, h, coupled=True)),
    "GRU": Remedy(lambda i, h, t: GRU(i, h)),
    "GRU reset before": Remedy(lambda i, h, t: GRU(i, h, reset_after=False)),
    "GRU chrono": Remedy(lambda i, h, t: GRU(i, h, chrono=t)),
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``problem(seed, batch_size)`` is tried by each remedy with ``units`` units (by name, where they differ),
    each learning rate and each seed, for at most ``updates``. ``check`` updates lie between two looks at
    validation sequences; solved there, a run ends and is tested on ``test`` others.
    """

    name: str
    problem: Callable[[int, int], Problem]
    length: int
    remedies: tuple[str, ...]
    units: int | dict[str, int]
    updates: int
    batch: int = 20
    rates: tuple[float, ...] = (1e-3, 3e-3)
    optimizer: Callable[[float], Any] = Adam
    check: int = 250
    test: int = 2560
    stop: float | None = None  # a run ends where the error is below this; None: the problem's own threshold
    source: str = ""
    published: str = ""

    def units_of(self, remedy: str) -> int:
        return self.units[remedy] if isinstance(self.units, dict) else self.units


RECURRENT = (
    "plain", "orthogonal", "IRNN", "leaky", "skips", "clockwork", "LSTM", "LSTM chrono", "GRU", "GRU chrono",
)  # fmt: skip
ALL = tuple(REMEDIES)


# Of 2,560 sequences at most one wrong.
ONE = 1.5 / 2560


def papers(full: bool) -> list[Row]:
    """The rows that have a published figure."""
    hochreiter = "Hochreiter & Schmidhuber (1997)"
    pascanu = "Pascanu, Mikolov & Bengio (2013)"
    tallec = "Tallec & Ollivier (2018)"
    le, curves = "Le, Jaitly & Hinton (2015)", "figure 2 (curves): the IRNN learns it, tanh units do not"
    bai = "Bai, Kolter & Koltun (2018)"
    gated = ("LSTM", "LSTM open", "LSTM chrono")
    found = [
        Row(
            "adding (1997)", lambda s, b: Adding((100, 110), b, seed=s, original=True), 100, gated,
            3, 7400, batch=10, rates=(1e-2, 2e-2), check=200,
            stop=ONE, source=hochreiter, published="LSTM, 93 weights: 1 of 2,560 wrong, 74,000 sequences",
        ),
        Row(
            "order of 2 (1997)", lambda s, b: TemporalOrder((100, 110), b, seed=s, original=True), 100, gated,
            3, 3139, batch=10, rates=(1e-2, 2e-2), check=200,
            stop=ONE, source=hochreiter, published="LSTM, 156 weights: 1 of 2,560 wrong, 31,390 sequences",
        ),
        Row(
            "adding (IRNN)", lambda s, b: Adding(200, b, seed=s), 200, ("IRNN", "plain", "LSTM"), 100,
            40_000 if full else 12_000, batch=16, rates=(3e-6, 1e-5, 1e-4, 1e-3) if full else (3e-5, 1e-3),
            check=500, source=le, published=curves,
        ),
    ]  # fmt: skip
    if full:
        found += [
            Row(
                "order of 2 (50 to 200)", lambda s, b: TemporalOrder((50, 200), b, seed=s), 200,
                ("sparse unclipped", "sparse", "omega", "omega squared"), 50, 600_000, rates=(1e-2,),
                optimizer=SGD, check=2000, test=10_000, source=pascanu,
                published="tanh, 50 units, SGD 0.01, clipping 1, omega 2: under 1% of 10,000 wrong",
            ),
            Row(
                "adding (IRNN)", lambda s, b: Adding(400, b, seed=s), 400, ("IRNN", "plain", "LSTM"), 100,
                60_000, batch=16, rates=(3e-6, 1e-5, 1e-4, 1e-3), check=500, source=le, published=curves,
            ),
            Row(
                "adding (70k weights)", lambda s, b: Adding(600, b, seed=s), 600,
                ("GRU", "LSTM", "LSTM chrono", "plain"),
                {"GRU": 150, "LSTM": 130, "LSTM chrono": 130, "plain": 262}, 8_000, batch=32,
                rates=(1e-3, 4e-3), check=250, source=bai,
                published="mean squared error: GRU 5e-5, LSTM 0.164, plain 0.177",
            ),
            *(
                Row(
                    "adding (chrono)", lambda s, b, t=t: Adding(t, b, seed=s), t, ("LSTM", "LSTM chrono"),
                    128, 20_000, batch=32, rates=(1e-3,), optimizer=RMSprop, check=100, source=tallec,
                    published="chrono solves in 7 times fewer steps at 750",
                )
                for t in (200, 750)
            ),
            Row(
                "copy (chrono)", lambda s, b: CopyMemory(500, b, seed=s), 500, ("LSTM", "LSTM chrono"), 128,
                20_000, batch=32, rates=(1e-3,), optimizer=RMSprop, check=500, test=1000, source=tallec,
                published="chrono below the memoryless 10 ln(8) / (T + 20), forget bias 1 not",
            ),
        ]  # fmt: skip
    warped = 500 if full else 200
    for warp in ("uniform", "variable"):
        found.append(
            Row(
                f"{warp} warp", lambda s, b, warp=warp: WarpedRecall(warped, b, seed=s, warp=warp),
                warped, ("leaky one constant", "leaky", "plain", "LSTM", "GRU"), 64,
                20_000 if full else 1_500, batch=32,
                rates=(1e-3, 3e-3) if full else (3e-3,), optimizer=RMSprop, check=250, test=500,
                source=tallec,
                published="leaky units solve uniform warps and fail variable ones, gated units solve both",
            )
        )  # fmt: skip
    return found


def grid(full: bool) -> list[Row]:
    """Problem x length x remedy, for the reader's own sense."""
    rows = []
    remedies = ALL if full else RECURRENT
    updates = 10_000 if full else 3_000
    for length in (50, 100, 200, 400) if full else (50, 100):
        rows += [
            Row("adding", lambda s, b, t=length: Adding(t, b, seed=s), length, remedies, 64, updates),
            Row(
                "order of 2",
                lambda s, b, t=length: TemporalOrder(t, b, seed=s),
                length,
                remedies,
                64,
                updates,
            ),
        ]
    for between in (16, 64):
        rows.append(
            Row(
                "name", lambda s, b, n=between: DelayedName(n, b, seed=s), between, remedies, 64, updates // 2
            )
        )
    rows.append(
        Row(
            "digits", lambda s, b: Digits(64, b, seed=s), 64, ("GRU",) if not full else RECURRENT, 64,
            10_000, test=359, rates=(3e-3,) if not full else (1e-3, 3e-3),
            stop=0.02,  # above 4% of so few images may well be luck
        )
    )  # fmt: skip
    if full:
        makes: dict[str, Callable[..., Problem]] = {
            "multiplication": lambda t, s, b: Multiplication(t, b, seed=s),
            "order of 3": lambda t, s, b: TemporalOrder(t, b, seed=s, symbols=3),
            "permutation": lambda t, s, b: RandomPermutation(t, b, seed=s),
            "copy": lambda t, s, b: CopyMemory(t, b, seed=s),
            "slow sine": lambda t, s, b: Sine(t, b, seed=s, periods="slow"),
            "fast sine": lambda t, s, b: Sine(t, b, seed=s, periods="fast"),
            "noisy slow sine": lambda t, s, b: Sine(t, b, seed=s, periods="slow", noise=0.2),
            "noisy fast sine": lambda t, s, b: Sine(t, b, seed=s, periods="fast", noise=0.2),
        }
        rows += [
            Row(name, lambda s, b, make=make, t=t: make(t, s, b), t, remedies, 64, updates, test=1000)
            for name, make in makes.items()
            for t in ((400,) if "sine" in name else (50, 100, 200))
        ]
    return rows


def rows(full: bool) -> list[Row]:
    """All rows of a profile: those with a published figure first."""
    return papers(full) + grid(full)


def clipper(remedy: Remedy) -> ClipNorm | None:
    return None if remedy.clip is None else ClipNorm(remedy.clip)
