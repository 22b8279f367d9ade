"""Gradients of random networks against derivatives: by differences, and of the equations by complex steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign import nets
from campaign.isolation import Broken, Limits, Skip
from campaign.subjects import Subject
from rnncore import Embedding, LeakyElman, Network, reference
from rnncore.layers.recurrent import Recurrent

STEP = 3e-4
DIFFERENCES, COMPLEX = 1e-8, 1e-11  # of the gradient's length times the direction's


def run(rng: Generator, folder: Path) -> None:
    by_complex_steps(rng) if rng.random() < 0.4 else by_differences(rng)


def by_differences(rng: Generator) -> None:
    """Along random directions, by central differences of fourth order, dropout and noise drawn alike."""
    net = nets.draw_network(rng, "float64", smooth=True, masks=True)
    steps, rows = int(rng.integers(5, 12)), int(rng.integers(1, 6))
    x, lengths = nets.draw_input(rng, net, steps, rows), nets.draw_lengths(rng, steps, rows)
    drawn = net.rng.bit_generator.state

    def forward(moved: Any) -> Any:
        net.rng.bit_generator.state = drawn
        return net.forward(moved, lengths=lengths)

    y, _, tape = forward(x)
    dy = upstream(rng, y, lengths)
    net.zero_grad()
    dx, _ = net.backward(dy, tape)
    flat, start = net.params.flat, net.params.flat.copy()
    way = rng.standard_normal(flat.size)

    def along(s: float) -> float:
        flat[:] = start + s * way
        return float((forward(x)[0] * dy).sum())

    compare("parameters", along, net.grads.flat, way)
    flat[:] = start
    if dx is not None and not isinstance(net.layers[0], Embedding):
        shift = rng.standard_normal(x.shape)
        compare("x", lambda s: float((forward(x + s * shift)[0] * dy).sum()), dx, shift)


def upstream(rng: Generator, y: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """A gradient of the output, 0 in its padding, of which nothing is promised."""
    dy = rng.standard_normal(y.shape)
    if lengths is not None and y.ndim == 3:
        dy[np.arange(len(y))[:, None] >= lengths] = 0
    return dy


def compare(name: str, function: Any, gradient: np.ndarray, way: np.ndarray) -> None:
    near, far = function(STEP) - function(-STEP), function(2 * STEP) - function(-2 * STEP)
    judge(name, float((gradient * way).sum()), (8 * near - far) / (12 * STEP), gradient, way, DIFFERENCES)


def judge(
    name: str, got: float, want: float, gradient: np.ndarray, way: np.ndarray, tolerance: float
) -> None:
    scale = float(np.linalg.norm(gradient) * np.linalg.norm(way)) + 1e-2
    if not abs(got - want) <= tolerance * scale:
        raise Broken(f"the gradient of {name} along a direction is {got!r}, but the derivative is {want!r}")


def equations(cell: Recurrent, params: dict[str, np.ndarray], x: np.ndarray, tape: Any) -> np.ndarray:
    """What the reference makes of complex numbers: the layer's own call, with complex arrays in its tape."""
    reference.recurrence.ACTIVATIONS["sigmoid"] = lambda a: 1 / (1 + np.exp(-a))  # the reference's takes |a|
    own = copy.copy(cell)
    own.params, own.backend = params, reference  # type: ignore[assignment]
    made = copy.copy(tape)
    made.x = x
    for name in ("hidden", "all_states", "cells"):
        if hasattr(made, name):
            setattr(made, name, np.zeros(getattr(tape, name).shape, np.complex128))
    for name in ("gates", "candidates"):
        if hasattr(made, name):
            setattr(made, name, None)
    own._run_forward(made, np.zeros(0))
    states: np.ndarray = made.all_states if hasattr(made, "all_states") else made.hidden
    return states[-len(x) :]


def by_complex_steps(rng: Generator) -> None:
    """Im f(a + i h) / h is the derivative to the last digit; of one cell, by the reference's equations."""
    cell = nets.draw_cell(rng, int(nets.one(rng, nets.SIZES[:9])), smooth=True)
    if isinstance(cell, LeakyElman) or getattr(cell, "checkpoint_every", None):
        raise Skip("parameters that are not the equations' own, or a tape without all states")
    net = Network(cell, dtype="float64", seed=int(rng.integers(2**31)))
    steps, rows = int(rng.integers(5, 12)), int(rng.integers(1, 6))
    x, lengths = nets.draw_input(rng, net, steps, rows), nets.draw_lengths(rng, steps, rows)
    y, _, tape = net.forward(x, lengths=lengths)
    dy = upstream(rng, y, lengths)
    net.zero_grad()
    dx, _ = net.backward(dy, tape)
    assert dx is not None
    ways = {name: rng.standard_normal(view.shape) for name, view in cell.params.items()}
    shift = rng.standard_normal(x.shape)
    h = 1e-100
    moved = {name: view + 1j * h * ways[name] for name, view in cell.params.items()}
    made = equations(cell, moved, x + 1j * h * shift, tape[0])
    if not np.allclose(made.real, y, rtol=0, atol=1e-12):
        raise Broken(f"{cell}: kernels and equations differ by {np.abs(made.real - y).max():.2g}")
    flat = np.concatenate([dx.ravel(), *(cell.grads[name].ravel() for name in ways)])
    way = np.concatenate([shift.ravel(), *(ways[name].ravel() for name in ways)])
    judge(f"{cell}", float(flat @ way), float((made.imag * dy).sum() / h), flat, way, COMPLEX)


SUBJECT = Subject("gradients", "random networks against derivatives", run, limits=Limits(20))
