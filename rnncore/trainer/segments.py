"""Batches walked in segments for truncated BPTT: states are carried on, and reset where a document begins.

Kernels know rows of different length, but no reset in mid-sequence. So a segment that a document's border
crosses is run in pieces: first every row up to its border, then the rows that go on behind it, from a zero
state. No step is computed twice, and no piece is shorter than its longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_lengths, check_step_weights
from ..data.batch import as_batch
from ..masking import Kept, find_kept

Array = NDArray[Any]
Index = NDArray[np.intp]


@dataclass(slots=True)
class Piece:
    """What one forward pass takes: ``x (T', B', ...)``, or several by name, its target, lengths and weights,
    and whose rows.

    ``rows`` is None where it is all of them. ``fresh`` lists those, by their place in the piece, that begin
    with a zero state; None means that none does.
    """

    x: Any
    target: Array
    lengths: Index | None
    rows: Index | None
    fresh: Index | None
    weights: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """T' and B'."""
        steps, rows = first_of(self.x).shape[:2]
        return steps, rows

    @property
    def loss_arguments(self) -> tuple[Any, ...]:
        """What a loss takes behind y; weights only where there are some, for not every loss knows them."""
        given = (self.target, self.lengths)
        if self.weights is None:
            return given
        return (*given, self.weights[0] if len(self.weights) == 1 else self.weights)


class Walk:
    """One batch, cut into segments of at most ``bptt`` steps, and the state at the end of the last one.

    Parameters
    ----------
    batch
        Has ``x (T, B, ...)``, ``target``, and may have ``lengths (B,)`` or a mask ``bool (T, B)``,
        ``starts``, ``bool (T, B)``, and ``weights`` of rows, ``(B,)``, or of steps, ``(T, B)``, not all 0; or
        is a tuple of the first two or three.
    bptt
        Steps of a segment; None takes the batch whole.
    name
        What the batch is called in an error.

    Raises
    ------
    TypeError, ValueError
        If the batch cannot be walked: what network and loss check themselves is left to them.
    """

    def __init__(self, batch: Any, bptt: int | None, name: str = "batch") -> None:
        batch = as_batch(batch, name)
        for part in ("x", "target"):
            given = getattr(batch, part, None)
            arrays = given.values() if part == "x" and isinstance(given, Mapping) and given else (given,)
            for array in arrays:
                if not isinstance(array, np.ndarray):
                    kind = type(array).__name__
                    raise TypeError(f"{name}'s {part} is a {kind}, but a NumPy array is wanted")
        x: Array = first_of(batch.x)
        if x.ndim < 2 or not x.shape[0] or not x.shape[1]:
            raise ValueError(f"{name}'s x has shape {x.shape}, but (T, B, ...) with T, B > 0 is wanted")
        self.x = batch.x
        self.target: Array = batch.target
        self.steps, self.rows = x.shape[:2]
        given = getattr(batch, "lengths", None)
        kept = find_kept(x, given)
        self.lengths = check_lengths(given, self.steps, self.rows) if kept is None else None
        self.starts: Array | None = getattr(batch, "starts", None)
        self.weights = check_step_weights(getattr(batch, "weights", None), self.steps, self.rows)
        if self.weights is not None and not self.weights.any():
            raise ValueError(f"{name}'s weights are all 0: there is nothing to learn from it")
        if self.starts is not None:
            self._check_starts(name, self.starts)
        if kept is not None:
            self._keep(kept)
        self.bptt = max(1, self.steps if bptt is None else min(bptt, self.steps))
        self.state: Any = None
        if self.bptt < self.steps or self.starts is not None:
            if self.target.shape[:2] != (self.steps, self.rows):
                raise ValueError(
                    f"{name}'s target has shape {self.target.shape}, but one target per step of x "
                    f"({self.steps}, {self.rows}, ...) is wanted where x is cut into segments or documents"
                )
        elif self.target.ndim == 0 or self.rows not in self.target.shape[:2]:
            raise ValueError(
                f"{name}'s target has shape {self.target.shape}, but x has T={self.steps}, B={self.rows}"
            )
        if self.lengths is not None:  # after the longest row there is nothing to walk
            self.steps = int(self.lengths.max(initial=0))
            self.bptt = max(1, min(self.bptt, self.steps))

    def _keep(self, kept: Kept) -> None:
        """Move what the mask keeps of each row together, and leave out rows of no steps."""
        steps, rows = kept.shape
        of_steps = self.target.shape[:2] == (steps, rows)
        if of_steps:
            self.target = kept.gather(self.target)
        elif self.target.ndim and len(self.target) == rows:
            self.target = self.target[kept.rows]
        if self.weights is not None:
            self.weights = kept.gather(self.weights) if len(self.weights) > 1 else self.weights[:, kept.rows]
        if self.starts is not None:
            passed = kept.gather(np.cumsum(self.starts, axis=0))  # a start left out moves to the next step
            self.starts = np.diff(passed, axis=0, prepend=0) > 0
        self.x, self.lengths = kept.gather(self.x), kept.lengths
        self.steps, self.rows = kept.steps.shape

    def _check_starts(self, name: str, starts: Any) -> None:
        if not isinstance(starts, np.ndarray) or starts.dtype != np.bool_:
            kind = getattr(starts, "dtype", type(starts).__name__)
            raise TypeError(f"{name}'s starts are {kind}, but a NumPy array of bool is wanted")
        if starts.shape != (self.steps, self.rows):
            raise ValueError(
                f"{name}'s starts have shape {starts.shape}, but one entry per step and row of x is wanted: "
                f"({self.steps}, {self.rows})"
            )

    def go_on(self, state: Any) -> None:
        """Begin with a state that a checkpoint kept, or None; ValueError if it is one of other rows."""
        of = next(iter(leaves(state)), None)
        if of is not None and of.shape[-2] != self.rows:
            raise ValueError(
                f"x has {self.rows} rows, but the checkpoint was written amid {of.shape[-2]}: a run goes on "
                "with the data that it began with"
            )
        self.state = state

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """First and last-but-one step of each segment, from ``start`` on."""
        for first in range(start, self.steps, self.bptt):
            yield first, min(first + self.bptt, self.steps)

    def pieces(self, first: int, last: int) -> list[Piece]:
        """The forward passes of the steps first..last-1; they must be run in this order."""
        crossed = self.starts is not None and bool(self.starts[first + 1 : last].any())
        if (first, last) == (0, self.steps) and not crossed:
            return [Piece(_cut(self.x, ...), _whole(self.target), self.lengths, None, None, self.weights)]
        if not crossed and (self.lengths is None or int(self.lengths.min()) >= last):
            fresh = None if self.starts is None else _places(self.starts[first])
            x, target = _cut(self.x, slice(first, last)), _whole(self.target[first:last])
            return [Piece(x, target, None, None, fresh, self._weights_of(slice(first, last)))]
        return self._cut(first, last)

    def _weights_of(self, steps: slice) -> Array | None:
        """Those of a segment's steps, of the rows where they are the same at every step."""
        return self.weights if self.weights is None or len(self.weights) == 1 else self.weights[steps]

    def _cut(self, first: int, last: int) -> list[Piece]:
        """Each row ends at its length and falls apart at its borders; piece p holds part p of every row."""
        ends = np.full(self.rows, last) if self.lengths is None else np.minimum(self.lengths, last)
        begins = np.full(self.rows, first)
        fresh = np.zeros(self.rows, np.bool_) if self.starts is None else self.starts[first].copy()
        borders = self._borders(first, last)
        pieces = []
        for border in borders:
            stops = np.minimum(border, ends)
            rows = np.flatnonzero(begins < stops)
            if len(rows):
                pieces.append(self._gather(rows, begins[rows], stops[rows], _places(fresh[rows])))
            begins, fresh = stops, np.ones(self.rows, np.bool_)
        return pieces

    def _borders(self, first: int, last: int) -> Index:
        """Where documents begin within a segment, (N, B): column b has the steps of row b, then ``last``."""
        if self.starts is None:
            return np.full((1, self.rows), last)
        rows, steps = np.nonzero(self.starts[first + 1 : last].T)  # row by row, in the order of time
        counts = np.bincount(rows, minlength=self.rows)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        borders = np.full((int(counts.max(initial=0)) + 1, self.rows), last)
        borders[places, rows] = first + 1 + steps
        return borders

    def _gather(self, rows: Index, begins: Index, stops: Index, fresh: Index | None) -> Piece:
        lengths = stops - begins
        longest = int(lengths.max())
        # Behind a row's end stands its last step again: padding that is at least a valid id.
        steps = np.minimum(begins + np.arange(longest)[:, None], stops - 1)
        even = int(lengths.min()) == longest
        whole = len(rows) == self.rows
        x, target = _cut(self.x, (steps, rows)), self.target[steps, rows]
        weights = self.weights
        if weights is not None:
            weights = weights[:, rows] if len(weights) == 1 else weights[steps, rows]
        return Piece(x, target, None if even else lengths, None if whole else rows, fresh, weights)

    def enter(self, piece: Piece) -> Any:
        """The state with which a piece begins; None where it is zero."""
        state = self.state
        if state is None:
            return None
        if piece.fresh is not None and len(piece.fresh) == piece.shape[1]:
            return None
        if piece.rows is not None:
            rows = piece.rows
            state = map_state(lambda part: part.take(rows, axis=-2), state)
        if piece.fresh is not None:
            fresh = piece.fresh

            def reset(part: Array) -> Array:
                part = part.copy()
                part[..., fresh, :] = 0
                return part

            state = map_state(reset, state)
        return state

    def leave(self, piece: Piece, state: Any) -> None:
        """Keep the state with which a piece ended."""
        if piece.rows is None:
            self.state = state
            return
        if self.state is None:
            # Rows that are not in the piece have ended already, or their state is set by a later one.
            self.state = map_state(self._all_rows, state)
        _put_rows(self.state, piece.rows, state)


    def gradient_of(self, piece: Piece, dstate: Any) -> Any:
        """The gradient of the state with which a piece ended, from that of all rows: ``leave`` reversed."""
        if dstate is None or piece.rows is None:
            return dstate
        rows = piece.rows
        return map_state(lambda part: part.take(rows, axis=-2), dstate)

    def gradient_before(self, piece: Piece, dstate: Any, dinitial: Any) -> Any:
        """The gradient of all rows' states before a piece: ``enter`` reversed.

        Rows that the piece does not hold keep theirs; those that began with a zero state get none.
        """
        if piece.fresh is not None:
            fresh = piece.fresh

            def stop(part: Array) -> Array:
                part = part.copy()
                part[..., fresh, :] = 0
                return part

            dinitial = map_state(stop, dinitial)
        if piece.rows is None:
            return dinitial
        if dstate is None:
            dstate = map_state(self._all_rows, dinitial)
        dstate = map_state(np.copy, dstate)
        _put_rows(dstate, piece.rows, dinitial)
        return dstate

    def _all_rows(self, part: Array) -> Array:
        """Zeros for all rows, in the shape of a state of some."""
        return np.zeros((*part.shape[:-2], self.rows, part.shape[-1]), part.dtype)


def map_state(function: Callable[[Array], Any], state: Any) -> Any:
    """``function`` of every array of a state; tuples and None stay what they are."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(map_state(function, part) for part in state)
    return function(state)


def leaves(state: Any) -> Iterator[Array]:
    """The arrays of a state."""
    if isinstance(state, tuple):
        for part in state:
            yield from leaves(part)
    elif state is not None:
        yield state


def _put_rows(state: Any, rows: Index, part: Any) -> None:
    if isinstance(state, tuple):
        for whole, some in zip(state, part, strict=True):
            _put_rows(whole, rows, some)
    elif state is not None:
        state[..., rows, :] = part


def first_of(x: Any) -> Any:
    """x, or the first of several by name."""
    return next(iter(x.values())) if isinstance(x, Mapping) else x


def _cut(x: Any, index: Any) -> Any:
    """Some steps and rows of x, or of each of several by name."""
    if isinstance(x, Mapping):
        return {name: _whole(array[index]) for name, array in x.items()}
    return _whole(x if index is ... else x[index])


def _places(mask: Array) -> Index | None:
    """Where a mask is True; None if nowhere."""
    return np.flatnonzero(mask) if mask.any() else None


def _whole(array: Array) -> Array:
    """The array itself if it is contiguous, as slices of time-major arrays are, otherwise a copy."""
    return np.ascontiguousarray(array)
