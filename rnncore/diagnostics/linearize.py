"""One step of any cell, linear in a small change of the state: the Jacobian, found with the compiled
backward.

In most cells a unit meets the others only through the recurrent product, all else acts unit by unit. Then the
Jacobian of a step, from the states before it to those after it, is

    d s'[i] / d s[j] = sum over gates g of a_g[i] W_g[i, j] (where s is h) + b[i] (where i = j)

and a backward pass from a gradient of ones tells a, the gradients of the products, and b, what is carried
back beside them: one pass for each state gives every step of every row, of any cell. Whether a cell is of
this kind is not assumed: a pass from a random gradient shows it. One that is not has its Jacobian from as
many passes as it has units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..layers.flow import Flow
from ..layers.recurrent import Recurrent, RecurrentTape
from .common import Array, double, felt_weights, map_tape, whole_tape

CHUNK_ROWS = 2048  # of (step, row) pairs at a time
TOLERANCE = 1e-9  # of the random gradient's way back, beside rounding of some 1e-15


@dataclass(frozen=True, slots=True)
class Linearization:
    """N steps, each by itself. S states of H units; ``slopes (S, N, G, H)`` and ``direct (S, S, N, H)`` are a
    and b, or ``dense (N, S*H, S*H)`` holds the matrices of a cell that is not of this kind."""

    weight: Array  # (G, H, H)
    slopes: Array
    direct: Array
    dense: Array | None

    def matrices(self) -> Array:
        """The Jacobians, (N, S*H, S*H): rows are what comes out, columns what goes in, h before c."""
        if self.dense is not None:
            return self.dense
        states, steps, _, units = self.slopes.shape
        full = np.zeros((steps, states, units, states, units))
        diagonal = np.arange(units)
        for out in range(states):
            full[:, out, :, 0] = np.einsum("ngi,gij->nij", self.slopes[out], self.weight, optimize=True)
            for into in range(states):
                full[:, out, diagonal, into, diagonal] += self.direct[out, into]
        return full.reshape(steps, states * units, states * units)

    def apply(self, vectors: Array) -> Array:
        """The Jacobians times ``vectors (N, S*H, k)``; no Jacobian is formed."""
        if self.dense is not None:
            return self.dense @ vectors
        states, steps, gates, units = self.slopes.shape
        parts = vectors.reshape(steps, states, units, -1)
        through = (self.weight.reshape(gates * units, units) @ parts[:, 0]).reshape(steps, gates, units, -1)
        out = np.empty_like(parts)
        for state in range(states):
            out[:, state] = np.einsum("ngi,ngik->nik", self.slopes[state], through)
            for into in range(states):
                out[:, state] += self.direct[state, into][:, :, None] * parts[:, into]
        return out.reshape(vectors.shape)

    def take(self, rows: slice) -> Linearization:
        """Some of the steps."""
        dense = None if self.dense is None else self.dense[rows]
        if not self.slopes.size:
            return Linearization(self.weight, self.slopes, self.direct, dense)
        return Linearization(self.weight, self.slopes[:, rows], self.direct[:, :, rows], dense)

    def largest_slopes(self) -> tuple[float, float]:
        """Over units and steps, the largest norm of a unit's slopes through the product, and of those beside
        it; ``||J|| <= sigma_max(W) * first + second`` then."""
        through = np.sqrt(np.square(self.slopes).sum(axis=(0, 2)).max(initial=0))
        beside = np.sqrt(np.square(self.direct).sum(axis=(0, 1)).max(initial=0))
        return float(through), float(beside)


def step_forward(twin: Recurrent, x: Array, before: tuple[Array, ...]) -> RecurrentTape:
    """The tape of one step of ``x (N, I)`` from these states, (N, H) each."""
    state = before if len(before) > 1 else before[0]
    tape: RecurrentTape = twin.forward(np.ascontiguousarray(x[None]), state)[2]
    return tape


def linearize(twin: Recurrent, tape: RecurrentTape) -> Linearization:
    """The Jacobians of a tape of one step, of a layer in float64 whose gradients are nobody's: see
    `double`."""
    if twin.unit_by_unit:
        nothing = np.zeros(0)
        return Linearization(nothing, nothing, nothing, _unit_by_unit(twin, tape))
    names, units, gates = twin.state_names, twin.hidden_size, twin.gates
    steps, states = tape.hidden.shape[1], len(names)
    weight = felt_weights(twin)
    slopes = np.empty((states, steps, gates, units))
    direct = np.empty((states, states, steps, units))
    probe = np.random.default_rng(0).uniform(0.5, 1.5, (steps, units))  # any that is not constant
    kind = True
    for state in range(states):
        carried, product = _back(twin, tape, state, np.ones((steps, units)))
        slopes[state] = product.reshape(steps, gates, units)
        carried[0] = carried[0] - product @ weight
        direct[state] = carried
        carried, product = _back(twin, tape, state, probe)
        wanted = slopes[state] * probe[:, None]
        back = wanted.reshape(product.shape) @ weight + direct[state, 0] * probe
        scale = max(float(np.abs(back).max(initial=0)), 1e-300)
        kind &= bool(np.abs(back - carried[0]).max(initial=0) <= TOLERANCE * scale)
        for into in range(1, states):
            back = direct[state, into] * probe
            scale = max(float(np.abs(back).max(initial=0)), 1e-300)
            kind &= bool(np.abs(back - carried[into]).max(initial=0) <= TOLERANCE * scale)
    dense = None if kind else _unit_by_unit(twin, tape)
    return Linearization(weight.reshape(gates, units, units), slopes, direct, dense)


def _back(twin: Recurrent, tape: RecurrentTape, state: int, gradient: Array) -> tuple[list[Array], Array]:
    """Go back over one step from a gradient in one state: that of the states before, and of the products."""
    parts = tuple(
        gradient if place == state else np.zeros((len(gradient), width))
        for place, width in enumerate(twin.state_widths)
    )
    twin.flow = Flow(gates=True)
    dy = np.zeros((1, len(gradient), twin.state_widths[0]))
    _, dstate = twin.backward(dy, tape, parts if len(parts) > 1 else parts[0])
    assert twin.flow.drecurrent is not None
    return list(dstate) if len(parts) > 1 else [dstate], twin.flow.drecurrent[0]


def _unit_by_unit(twin: Recurrent, tape: RecurrentTape) -> Array:
    """The Jacobians row by row: the gradient of each unit after the step in all units before it."""
    widths = twin.state_widths
    borders = np.concatenate([[0], np.cumsum(widths)])
    steps = tape.hidden.shape[1]
    full = np.empty((steps, borders[-1], borders[-1]))
    for step in range(steps):
        for state, units in enumerate(widths):
            own = map_tape(partial(_copies, step=step, count=units), tape)
            carried, _ = _back(twin, own, state, np.eye(units))
            rows = slice(borders[state], borders[state + 1])
            for into, part in enumerate(carried):
                full[step, rows, borders[into] : borders[into + 1]] = part
    return full


def _copies(array: Array, step: int, count: int) -> Array:
    """One row of the batch, so many times."""
    return np.repeat(array[:, step : step + 1], count, axis=1)


def walk(layer: Recurrent, tape: RecurrentTape, first: int, last: int, rows: Any) -> Iterator[Linearization]:
    """The linearization of each of the steps first..last-1 for these rows of the batch, N of them, in
    order."""
    twin = double(layer)
    whole = map_tape(lambda array: np.ascontiguousarray(array[:, rows], np.float64), whole_tape(layer, tape))
    count = whole.hidden.shape[1]
    chunk = max(1, CHUNK_ROWS // count)
    for start in range(first, last, chunk):
        end = min(start + chunk, last)
        before = tuple(states[start:end].reshape(-1, states.shape[2]) for states in whole.states())
        x = whole.x[start:end].reshape(-1, twin.input_size)
        chunked = linearize(twin, step_forward(twin, x, before))
        for step in range(end - start):
            yield chunked.take(slice(step * count, (step + 1) * count))
