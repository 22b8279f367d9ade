"""Networks drawn at random: all layers, all options."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MeanPool,
    Network,
    SkipElman,
)

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47)
SMOOTH = ("tanh", "sigmoid")
ANY = (*SMOOTH, "relu", "identity")


def one(rng: Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def cell_options(rng: Generator, kind: type, smooth: bool, masks: bool) -> dict[str, Any]:
    """Options of a cell: without masks nothing is random; smooth ones have derivatives everywhere."""
    activations = SMOOTH if smooth else ANY
    share = (0.0, 0.3) if masks else (0.0,)
    kept = {"checkpoint_every": one(rng, (None, None, 1, 2, 5)), "recurrent_dropout": one(rng, share)}
    both = {"gate_activation": one(rng, SMOOTH), "activation": one(rng, SMOOTH)}
    flag = bool(rng.integers(2))
    if kind is LSTM:
        zoneout = (one(rng, share), one(rng, share))
        return {**kept, **both, "zoneout": zoneout, "peepholes": flag, "coupled": bool(rng.integers(2))}
    if kind is GRU:
        return {**kept, **both, "zoneout": one(rng, share), "reset_after": flag}
    own = {"activation": one(rng, activations)}
    if kind is Elman:
        return {**kept, **own, "zoneout": one(rng, share)}
    if kind is LeakyElman:
        leak = one(
            rng, ({"leak": 0.3}, {"time_constants": (1, 30)}, {"time_constants": (2.0, 9.0), "leak_seed": 5})
        )
        more = {
            "noise": one(rng, share),
            "excitatory": one(rng, (None,) if smooth else (None, 0.6)),
            "learn_leak": flag,
        }
        if more["noise"]:  # cannot be drawn twice alike
            kept["checkpoint_every"] = None
        return {**kept, **own, **leak, **more, "zoneout": one(rng, share)}
    if kind is SkipElman:
        return {**own, "delays": one(rng, ((1,), (1, 3), (2,), (2, 3), (1, 2, 5)))}
    return {"periods": one(rng, ((1,), (1, 2), (2, 3), (1, 2, 4)))}


def draw_cell(
    rng: Generator, inputs: int, smooth: bool = False, masks: bool = False, kinds: Any = None
) -> Any:
    kind = one(rng, kinds or (Elman, LSTM, LSTM, GRU, GRU, LeakyElman, SkipElman, Clockwork))
    units = one(rng, SIZES)
    if kind is Clockwork:
        units = max(units, 4)
    return kind(inputs, units, **cell_options(rng, kind, smooth, masks))


def draw_layers(rng: Generator, smooth: bool = False, masks: bool = False, plain: bool = False) -> list[Any]:
    """One to three cells, and what may be around them; ``plain`` chains are those that a stream runs."""
    chain: list[Any] = []
    width = one(rng, SIZES[:9])
    if rng.random() < 0.2:
        chain.append(Embedding(int(rng.integers(2, 40)), width))
    both = False
    for _ in range(int(rng.integers(1, 4))):
        cell = draw_cell(
            rng, width, smooth, masks, (Elman, LSTM, GRU, LeakyElman, SkipElman) if plain else None
        )
        both = not plain and rng.random() < 0.2
        if both:
            merge = one(rng, ("concat", "sum"))
            chain.append(Bidirectional(cell, merge))
            width = cell.hidden_size * (2 if merge == "concat" else 1)
            both = merge == "concat"
        else:
            chain.append(cell)
            width = cell.hidden_size
        if masks and rng.random() < 0.2:
            chain.append(Dropout(0.3, variational=bool(rng.integers(2))))
            both = False
    if not plain and rng.random() < 0.3:
        chain.append(
            MeanPool() if rng.random() < 0.5 else LastStep(bidirectional=both and bool(rng.integers(2)))
        )
    if rng.random() < 0.6:
        chain.append(Dense(width, one(rng, SIZES[:9])))
    return chain


def draw_network(rng: Generator, dtype: str = "float32", **options: Any) -> Network:
    net = Network(*draw_layers(rng, **options), seed=int(rng.integers(2**31)), dtype=dtype)
    net.params.flat[:] *= 0.5  # so that no state explodes
    return net


def draw_input(rng: Generator, net: Network, steps: int, rows: int) -> Any:
    """x for a network, (T, B, I) or (T, B)."""
    first = net.layers[0]
    if isinstance(first, Embedding):
        return rng.integers(0, first.num_embeddings, (steps, rows))
    return rng.standard_normal((steps, rows, first.features()[0])).astype(net.dtype)


def draw_lengths(rng: Generator, steps: int, rows: int) -> Any:
    return None if rng.random() < 0.5 else rng.integers(1, steps + 1, rows)


def exercise(net: Network) -> None:
    """Run a network that came from a file: whole, step by step, and by the short way."""
    first = net.layers[0] if net.layers else None
    if isinstance(first, Embedding):
        x: Any = np.zeros((3, 1), np.int64)
    else:
        features = next((n for n in (layer.features()[0] for layer in net.layers) if n is not None), 1)
        x = np.full((3, 1, features), 0.5, net.dtype)
    net.eval()
    for call in (lambda: net.forward(x)[0], lambda: net.infer(x), lambda: net.stream().run(x)):
        try:
            call()
        except (ValueError, TypeError, ArithmeticError) as error:
            if isinstance(error, ArithmeticError) and not isinstance(error, FloatingPointError):
                raise
