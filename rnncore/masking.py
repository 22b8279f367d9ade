"""Steps left out anywhere: what a mask keeps of each row is moved together, and results are put back.

A layer sees the steps of a row in their order, and nothing else of time. So a row whose left-out steps are
gone, with its length, is what the mask means: the state is carried over them, and no gradient comes from
them.
Rows that keep no step are left out altogether: their output is empty (0), and their state stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_mask, is_mask

Array = NDArray[Any]


class Kept:
    """Which steps and rows of ``(T, B)`` a mask keeps.

    Attributes
    ----------
    lengths
        Steps that each kept row keeps, ``(B',)``.
    rows
        Kept rows, ``(B',)``.
    steps
        Where step t' of row b' is taken from, ``(T', B')``; after a row's end its last step again.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.shape = mask.shape
        counts = mask.sum(axis=0)
        self.rows = np.flatnonzero(counts)
        self.lengths = counts[self.rows].astype(np.intp)
        longest = int(self.lengths.max(initial=0))
        self.steps = np.zeros((longest, len(self.rows)), np.intp)
        if longest:
            # Kept steps of each row in front, in their order.
            order = np.argsort(~mask[:, self.rows], axis=0, kind="stable")[:longest]
            last = np.minimum(np.arange(longest)[:, None], self.lengths - 1)
            self.steps = np.take_along_axis(order, last, axis=0)
        self.valid = np.arange(longest)[:, None] < self.lengths

    def gather(self, array: Any) -> Any:
        """``(T, B, ...)`` to ``(T', B', ...)``; each of several by name."""
        if isinstance(array, Mapping):
            return {name: self.gather(value) for name, value in array.items()}
        return np.ascontiguousarray(array[self.steps, self.rows])

    def scatter(self, array: Any) -> Any:
        """``(T', B', ...)`` to ``(T, B, ...)``, 0 where nothing is kept; each of several by name."""
        if array is None:
            return None
        if isinstance(array, Mapping):
            return {name: self.scatter(value) for name, value in array.items()}
        whole = np.zeros((*self.shape, *array.shape[2:]), array.dtype)
        columns = np.broadcast_to(self.rows, self.steps.shape)
        whole[self.steps[self.valid], columns[self.valid]] = array[self.valid]
        return whole

    def scatter_rows(self, array: Array) -> Array:
        """``(B', F)`` to ``(B, F)``, 0 where a row keeps nothing."""
        whole = np.zeros((self.shape[1], *array.shape[1:]), array.dtype)
        whole[self.rows] = array
        return whole

    def gather_state(self, state: Any) -> Any:
        """The kept rows of a state, however it is nested."""
        if isinstance(state, tuple):
            return tuple(self.gather_state(part) for part in state)
        return None if state is None else np.ascontiguousarray(state.take(self.rows, axis=-2))

    def scatter_state(self, state: Any, before: Any) -> Any:
        """A state of all rows: that of the kept ones, and ``before``, None for zeros, of the others."""
        if isinstance(state, tuple):
            befores = before if isinstance(before, tuple) else (None,) * len(state)
            return tuple(self.scatter_state(*pair) for pair in zip(state, befores, strict=True))
        if state is None:
            return before
        shape = (*state.shape[:-2], self.shape[1], state.shape[-1])
        whole = np.zeros(shape, state.dtype) if before is None else before.copy()
        whole[..., self.rows, :] = state
        return whole


def find_kept(x: Any, lengths: Any) -> Kept | None:
    """What a mask in place of lengths keeps, or lengths with a 0 among them; None for any other.

    Raises
    ------
    TypeError, ValueError
        If it is a mask, and not one of x.
    """
    x = next(iter(x.values()), None) if isinstance(x, Mapping) else x
    if lengths is None or not isinstance(x, np.ndarray) or x.ndim < 2:
        return None
    if is_mask(lengths):
        return Kept(check_mask(lengths, *x.shape[:2]))
    given = np.asarray(lengths)
    if given.dtype.kind not in "iu" or given.shape != x.shape[1:2] or given.all():
        return None
    if given.min() < 0 or given.max() > len(x):
        return None  # which check_lengths explains
    return Kept(np.arange(len(x))[:, None] < given)


class MaskedTape(tuple[Any, ...]):
    """The tape of a pass over kept steps, an entry per layer, and what was kept."""

    kept: Kept
    pools: bool


def masked_forward(network: Any, x: Array, state: Any, kept: Kept, record: bool) -> tuple[Array, Any, Any]:
    """`Network.forward` over the kept steps."""
    pools = any(layer.pools for layer in network.layers)
    if not len(kept.rows):
        gives = [size for layer in network.layers if (size := layer.features()[1])]
        shape = (kept.shape[1],) if pools else kept.shape
        features = gives[-1] if gives else x.shape[-1]
        y: Array = np.zeros((*shape, features), network.dtype)
        final = tuple(None for _ in network.layers) if state is None else state
        tape: Any = ()
    else:
        y, final, tape = network.forward(kept.gather(x), kept.gather_state(state), kept.lengths, record)
        y = kept.scatter_rows(y) if pools else kept.scatter(y)
        final = kept.scatter_state(final, state)
    if not record or tape is None:
        return y, final, None
    masked = MaskedTape(tape)
    masked.kept, masked.pools = kept, pools
    return y, final, masked


def masked_backward(
    network: Any, dy: Array, tape: MaskedTape, dstate: Any, extra: Any, input_gradient: bool
) -> tuple[Array | None, Any]:
    """`Network.backward` over the kept steps: dx is 0 elsewhere; rows without a step hand dstate on."""
    kept = tape.kept
    expected = kept.shape[1:] if tape.pools else kept.shape
    if not isinstance(dy, np.ndarray) or dy.shape[: len(expected)] != expected:
        came = getattr(dy, "shape", type(dy).__name__)
        raise ValueError(f"dy has shape {came}; expected that of y, ({', '.join(map(str, expected))}, F)")
    if not len(kept.rows):
        initial = tuple(None for _ in network.layers) if dstate is None else dstate
        first, dtype = network.in_features, network.dtype
        return (np.zeros((*kept.shape, first), dtype) if input_gradient and first else None), initial
    inner = np.ascontiguousarray(dy[kept.rows]) if tape.pools else kept.gather(dy)
    dx, initial = network.backward(inner, tuple(tape), kept.gather_state(dstate), extra, input_gradient)
    return kept.scatter(dx), kept.scatter_state(initial, dstate)
