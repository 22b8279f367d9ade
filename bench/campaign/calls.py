"""Public functions with arguments that nobody means: other types and shapes, misaligned, read-only, huge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import hostile, nets
from campaign.isolation import Limits
from campaign.subjects import Subject
from rnncore import (
    CTC,
    GRU,
    LSTM,
    SGD,
    Adam,
    Bidirectional,
    BinaryCrossEntropy,
    ClipNorm,
    ClipValue,
    Clockwork,
    CrossEntropy,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LeakyElman,
    Network,
    SkipElman,
    SquaredError,
)

TIMES = 150  # calls in a try
ALLOWED = (ValueError, TypeError, OSError, FloatingPointError)
DTYPES = ("f4", "f8", ">f4", "f2", "c8", "i4", "i8", "u1", "?", "O", "S3", "U2", "M8[s]", "V4")
CONSTRUCTORS = (Elman, LSTM, GRU, LeakyElman, SkipElman, Clockwork, Dense, Embedding, Dropout)


def odd_array(rng: Generator, like: np.ndarray) -> Any:
    """An array like this one, but for one thing; or nothing like it."""
    kind = int(rng.integers(16))
    shape = list(like.shape) or [1]
    if kind == 0:
        with np.errstate(all="ignore"):
            return like.astype(nets.one(rng, [t for t in DTYPES if t[0] not in "MV"]))
    if kind == 1:
        shape[int(rng.integers(len(shape)))] = int(nets.one(rng, (0, 1, 2, 5)))
        return np.zeros(shape, like.dtype)
    if kind == 2:
        return like[..., ::-1] if like.ndim else like
    if kind == 3:
        return np.asfortranarray(like)
    if kind == 4:  # misaligned
        room = np.zeros(like.nbytes + 1, np.uint8)
        made = room[1:].view(like.dtype).reshape(like.shape) if like.dtype.itemsize > 1 else like.copy()
        made[...] = like
        return made
    if kind == 5:
        made = like.copy()
        made.flags.writeable = False
        return made
    if kind == 6:
        return (
            np.broadcast_to(like.reshape(-1)[:1].reshape((1,) * like.ndim), like.shape) if like.size else like
        )
    if kind == 7:
        return hostile.numbers(rng, like)
    if kind == 8:
        return like.tolist()
    if kind == 9:
        return like[None]
    if kind == 10:
        return np.zeros(int(nets.one(rng, (0, 1))), nets.one(rng, DTYPES))
    if kind == 11:
        return np.ma.masked_array(like, mask=True)
    if kind == 12:
        return np.lib.stride_tricks.as_strided(like, like.shape, (0,) * like.ndim, writeable=False)
    if kind == 13:
        return like[:-1] if like.ndim else like
    if kind == 14:
        return hostile.value(rng)
    return like


def odd_lengths(rng: Generator, steps: int, rows: int) -> Any:
    lengths = rng.integers(1, steps + 1, rows)
    kind = int(rng.integers(4))
    if kind == 0:
        return None
    if kind == 1:
        lengths[int(rng.integers(rows))] = int(nets.one(rng, (0, -1, steps + 1, 2**31, -(2**63), 2**63 - 1)))
        return lengths
    return odd_array(rng, lengths) if kind == 2 else lengths


def calls(rng: Generator, net: Network) -> tuple[Callable[[], object], ...]:
    """One odd argument each, or more."""
    steps, rows = 6, 3
    x = nets.draw_input(rng, net, steps, rows)
    y, state, _ = net.forward(x)
    dy = rng.standard_normal(y.shape).astype(net.dtype)
    ids = rng.integers(0, y.shape[-1], y.shape[:-1])
    flat = net.params.flat

    def there_and_back() -> None:
        given = odd_array(rng, x) if rng.random() < 0.5 else x
        lengths = odd_lengths(rng, steps, rows)
        _, _, tape = net.forward(given, odd_state(rng, state), lengths)
        net.backward(odd_array(rng, dy), tape)

    def stream() -> None:
        made = net.stream(batch=rows)
        made.run(odd_array(rng, x))
        made.step(odd_array(rng, x[0]), out=odd_array(rng, y[0]))
        made.state = odd_state(rng, made.state)
        made.reset(rows=hostile.value(rng))

    def losses() -> None:
        loss = nets.one(rng, (CrossEntropy(), BinaryCrossEntropy(), SquaredError()))
        target = ids if isinstance(loss, CrossEntropy) else dy
        loss(odd_array(rng, y), odd_array(rng, target), odd_lengths(rng, len(y), rows))

    def ctc() -> None:
        if y.ndim == 3:
            labels = [
                [int(n) for n in rng.integers(-1, y.shape[2] + 1, int(rng.integers(4)))] for _ in range(rows)
            ]
            CTC()(odd_array(rng, y), labels, odd_lengths(rng, len(y), rows))
            CTC().search(odd_array(rng, y), odd_lengths(rng, len(y), rows), width=hostile.value(rng))

    def updates() -> None:
        kind = nets.one(rng, (Adam, SGD))
        kind(hostile.near(rng, 0.1)).step(odd_array(rng, flat.copy()), odd_array(rng, flat.copy()))
        nets.one(rng, (ClipNorm, ClipValue))(hostile.near(rng, 1.0))(odd_array(rng, flat.copy()))

    def constructor() -> None:
        kind = nets.one(rng, CONSTRUCTORS)
        layer = kind(*(small(rng) for _ in range(2 if kind is not Dropout else 1)), **odd_options(rng, kind))
        made = Network(Bidirectional(layer) if rng.random() < 0.1 else layer, seed=small(rng))
        nets.exercise(made)

    def parameters() -> None:
        name = nets.one(rng, tuple(net.params))
        net.params[name] = odd_array(rng, net.params[name].copy())
        net.params.flat[:] = flat_before
        net.freeze(hostile.value(rng))

    flat_before = flat.copy()
    return (
        there_and_back, there_and_back, stream, losses, ctc, updates, constructor, parameters,
        lambda: net.infer(odd_array(rng, x), odd_lengths(rng, steps, rows)),
        lambda: rnncore.set_num_threads(hostile.value(rng)),
        lambda: net.stream(batch=small(rng), softmax=hostile.value(rng)),
    )  # fmt: skip


def small(rng: Generator) -> Any:
    """A size: rarely an odd one, and never one that is refused only by the machine's memory."""
    value = hostile.value(rng) if rng.random() < 0.3 else int(rng.integers(1, 9))
    return 2**40 if isinstance(value, int) and 2**10 < value < 2**40 else value


def odd_options(rng: Generator, kind: type) -> dict[str, Any]:
    if kind in (Dense, Embedding, Dropout):
        return {}
    options = nets.cell_options(rng, kind, False, True)
    name = nets.one(rng, tuple(options))
    return {**options, name: hostile.near(rng, options[name]) if rng.random() < 0.5 else hostile.value(rng)}


def odd_state(rng: Generator, state: Any) -> Any:
    """The state with one odd array in it, or None."""
    kind = rng.random()
    if kind < 0.4:
        return None
    if isinstance(state, np.ndarray):
        return odd_array(rng, state)
    if not isinstance(state, tuple):
        return state
    parts = list(state)
    if parts:
        place = int(rng.integers(len(parts)))
        parts[place] = odd_state(rng, parts[place])
    return tuple(parts[:-1] if kind > 0.95 else parts)


def run(rng: Generator, folder: Path) -> None:
    net = nets.draw_network(rng, masks=True)
    before = net.params.flat.copy()
    made = calls(rng, net)
    for _ in range(TIMES):
        call = nets.one(rng, made)
        with contextlib.suppress(*ALLOWED):
            call()
        if net.frozen:
            net.unfreeze("*")
        net.params.flat[:] = before
        rnncore.set_num_threads(1)


SUBJECT = Subject("calls", f"{TIMES} odd calls each", run, limits=Limits(30, 2_000_000_000))
