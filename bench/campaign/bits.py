"""The same bits at any number of threads, alone and in a batch, whole and in segments, at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject
from rnncore import Bidirectional, Clockwork, LastStep, MeanPool, Network
from rnncore.kernels import dispatch


def run(rng: Generator, folder: Path) -> None:
    net = nets.draw_network(rng, nets.one(rng, ("float32", "float32", "float64"))).eval()
    steps, rows = int(rng.integers(6, 40)), int(nets.one(rng, (1, 2, 3, 7, 16, 33, 70)))
    x, lengths = nets.draw_input(rng, net, steps, rows), nets.draw_lengths(rng, steps, rows)
    results = {}
    for level in dispatch.levels():
        dispatch.set_level(level)
        results[level] = at_this_level(rng, net, x, lengths, level)
    first, *others = results.values()
    scale = max(float(np.abs(first).max(initial=0)), 1e-3)
    for other in others:
        if not np.allclose(first, other, rtol=0, atol=scale * (1e-3 if net.dtype == np.float32 else 1e-10)):
            raise Broken(
                f"levels {', '.join(results)} differ by {np.abs(first - other).max():.2g} of {scale:.2g}"
            )


def at_this_level(
    rng: Generator, net: Network, x: np.ndarray, lengths: np.ndarray | None, level: str
) -> np.ndarray:
    rnncore.set_num_threads(1)
    wanted = whole(net, x, lengths)
    for threads in (2, 3, 7):
        rnncore.set_num_threads(threads)
        found = whole(net, x, lengths)
        for place, name in enumerate(("y", "dx")):
            same(found[place], wanted[place], f"{name} with {threads} threads at {level}")
        same(whole(net, x, lengths)[2], found[2], f"gradients twice with {threads} threads at {level}")
    same(net.infer(x, lengths), wanted[0], f"infer at {level}")
    row = int(rng.integers(x.shape[1]))
    alone = net.forward(
        np.ascontiguousarray(x[:, row : row + 1]), lengths=None if lengths is None else lengths[[row]]
    )
    pooled = wanted[0].ndim == 2
    same(alone[0], wanted[0][[row]] if pooled else wanted[0][:, [row]], f"row {row} alone at {level}")
    if lengths is None and not any(
        isinstance(layer, (Bidirectional, LastStep, MeanPool, Clockwork)) for layer in net.layers
    ):
        in_segments(rng, net, x, wanted[0], level)
    return wanted[0]


def whole(net: Network, x: np.ndarray, lengths: np.ndarray | None) -> list[np.ndarray]:
    y, _, tape = net.forward(x, lengths=lengths)
    net.zero_grad()
    dx, _ = net.backward(np.cos(y), tape)
    return [y, np.zeros(0) if dx is None else dx, net.grads.flat.copy()]


def in_segments(rng: Generator, net: Network, x: np.ndarray, wanted: np.ndarray, level: str) -> None:
    cut = int(rng.integers(5, len(x))) if len(x) > 5 else 0
    stream = net.stream(batch=x.shape[1])
    parts = [stream.run(np.ascontiguousarray(part)) for part in (x[:cut], x[cut:]) if len(part)]
    same(np.concatenate(parts), wanted, f"a stream cut at {cut} at {level}")
    y, state, _ = net.forward(np.ascontiguousarray(x[:cut])) if cut else (wanted[:0], None, None)
    rest = net.forward(np.ascontiguousarray(x[cut:]), state)[0]
    same(np.concatenate([y, rest]), wanted, f"segments cut at {cut} at {level}")


def same(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    if found.shape != wanted.shape or found.tobytes() != wanted.tobytes():
        raise Broken(f"{what}: other bits")


SUBJECT = Subject("bits", "threads, levels, batches, segments: the same bits", run, limits=Limits(20))
