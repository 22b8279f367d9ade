"""The gradient of one minibatch: forward, loss and backward, in segments or in windows that overlap.

Windows are the (k1, k2) form of truncated BPTT: an update every k1 steps, gradients through k2. Each window
is run again, with the parameters of the moment, from the state that stood before it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..kernels.float_state import flushing
from ..network import Network
from .checkpoint import Position
from .segments import Array, Piece, Walk, map_state


def mean_loss(
    net: Network, loss: Any, batches: Iterable[Any], bptt: int | None, check: Callable[[], None]
) -> float:
    """Mean loss per valid step over batches in segments, the state carried along each; nothing is recorded.

    ``check`` is called after each segment. Raises ValueError if there is no batch.
    """
    total = weight = 0.0
    for batch in batches:
        walk = Walk(batch, bptt)
        for first, last in walk.segments():
            for piece in walk.pieces(first, last):
                y, state, _ = net.forward(piece.x, _enter(net, walk, piece), piece.lengths, record=False)
                value, _ = loss(y, *piece.loss_arguments)
                walk.leave(piece, state)
                count = loss.count(*piece.loss_arguments)
                total += value * count
                weight += count
            check()
    if not weight:
        raise ValueError("source yields no batch: there is nothing to evaluate")
    return total / weight


def _enter(net: Network, walk: Walk, piece: Piece) -> Any:
    """The state with which a piece begins; None where it is zero and no layer wants to be given zeros."""
    state = walk.enter(piece)
    if state is not None or piece.shape[0] == walk.steps:
        return state
    zeros = tuple(layer.zero_state(piece.shape[1], walk.steps) for layer in net.layers)
    return None if all(part is None for part in zeros) else zeros


def average(grads: Array, position: Position) -> float:
    """Turn the sum of a window's gradients into their mean, in place; returns the weight of its steps."""
    weight = position.weight or 1.0  # 0 where only rows of weight 0 have reached the segment
    if weight != position.unit:
        with flushing():
            np.multiply(grads, position.unit / weight, out=grads)
    return weight


class Gradient:
    """Adds the gradients of minibatches into those of a network, each step of a sequence weighing the same.

    Parameters
    ----------
    net, loss
        As in the Trainer.
    penalties
        Penalties on activity: ``before`` and ``after`` the backward pass.
    bptt
        None, k or (k1, k2), as in the Trainer.

    Attributes
    ----------
    piece : Piece
        Input, target and lengths of the latest forward pass.
    entered : State
        The state with which that pass began; None where it was zero.
    """

    def __init__(
        self, net: Network, loss: Any, penalties: list[Any], bptt: int | tuple[int, int] | None
    ) -> None:
        self.net, self.loss, self.penalties = net, loss, penalties
        self.lag = bptt[1] - bptt[0] if isinstance(bptt, tuple) else 0
        self.every = bptt[0] if isinstance(bptt, tuple) else 0
        self.piece: Piece | None = None
        self.entered: Any = None

    def add(self, walk: Walk, first: int, last: int, position: Position) -> None:
        """Add the gradient of the losses at the steps first..last-1, weighed by their number over that of the
        window's first minibatch.

        Raises
        ------
        FloatingPointError
            If the loss, or a state, is not finite.
        """
        if position.window == 0:
            self.net.zero_grad()
            position.weight = position.unit = 0.0
            position.loss = position.penalty = 0.0
        if self.lag:
            self._add_window(walk, first, last, position)
            return
        for piece in walk.pieces(first, last):
            tape, dy, count = self._forward(walk, piece, position, counts=True)
            self._backward(tape, dy, None, count, position)

    def _add_window(self, walk: Walk, first: int, last: int, position: Position) -> None:
        """The same, going back through the steps before ``first`` that the window holds."""
        begin, after = max(0, first - self.lag), max(0, first - self.lag + self.every)
        kept = None
        passed = []
        marks = {begin, first, last} | ({after} if after < last else set())
        for start, stop in itertools.pairwise(sorted(marks)):
            if start == after:
                kept = map_state(np.copy, walk.state)  # where the next window begins
            for piece in walk.pieces(start, stop):
                passed.append((piece, *self._forward(walk, piece, position, counts=start >= first)))
        dstate = None
        for piece, tape, dy, count in reversed(passed):
            dinitial = self._backward(tape, dy, walk.gradient_of(piece, dstate), count, position)
            dstate = walk.gradient_before(piece, dstate, dinitial)
        walk.state = kept

    def _forward(
        self, walk: Walk, piece: Piece, position: Position, counts: bool
    ) -> tuple[Any, Array, float]:
        """Tape, dy and number of steps of a piece whose losses count, or do not: then dy is 0."""
        self.piece, self.entered = piece, _enter(self.net, walk, piece)
        y, state, tape = self.net.forward(piece.x, self.entered, piece.lengths)
        walk.leave(piece, state)
        if not counts:
            return tape, np.zeros_like(y), 0
        value, dy = self.loss(y, *piece.loss_arguments)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value}: a lower learning rate, or clipping, may help")
        count = self.loss.count(*piece.loss_arguments)
        if position.unit == 0:
            position.unit = float(count)
        elif count != position.unit:
            with flushing():
                dy *= count / position.unit
        position.weight += count
        position.loss += value * count
        return tape, dy, count

    def _backward(self, tape: Any, dy: Array, dstate: Any, count: float, position: Position) -> Any:
        """Go back along a tape; penalties on activity act where losses count. Returns the initial dstate."""
        net, weight = self.net, count / (position.unit or 1)
        extra: dict[int, Array] = {}
        acting = self.penalties if count else []
        for penalty in acting:
            value, gradients = penalty.before(net.layers, tape, weight)
            position.penalty += value * count
            with flushing():
                for place, gradient in gradients.items():
                    extra[place] = extra[place] + gradient if place in extra else gradient
        _, dinitial = net.backward(dy, tape, dstate, extra or None, input_gradient=False)
        for penalty in acting:
            position.penalty += penalty.after(net.layers, tape, weight) * count
        return dinitial
