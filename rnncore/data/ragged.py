"""Sequences of different lengths, kept end to end, and the batches they are trained in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import (
    check_dtype,
    check_flag,
    check_number,
    check_positive_integer,
    check_seed,
    check_weights,
    refuse_masked,
)
from .batch import Batch

Array = NDArray[Any]
Index = NDArray[np.intp]

WASTE = 0.05  # of the steps of all batches, at most, stand in padding


class Ragged:
    """Sequences end to end in one array.

    Parameters
    ----------
    flat
        All steps of all sequences, one sequence behind the other: ids ``(S,)`` or numbers ``(S, F)``. It may
        be memory-mapped, such as ``np.load("steps.npy", mmap_mode="r")``: only what a batch takes is read.
    offsets
        Where each sequence begins, and S at the end, ``(N+1,)``: sequence n is
        ``flat[offsets[n]:offsets[n+1]]``, at least one step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted; an empty sequence is named.

    Examples
    --------
    >>> ragged = Ragged.from_list([[3, 1], [2], [1, 1, 2]])
    >>> len(ragged), ragged.lengths.tolist(), ragged[2].tolist()
    (3, [2, 1, 3], [1, 1, 2])
    """

    def __init__(self, flat: Any, offsets: Any) -> None:
        if not isinstance(flat, np.ndarray) or flat.dtype.kind not in "iuf":
            came = flat.dtype if isinstance(flat, np.ndarray) else type(flat).__name__
            raise TypeError(f"flat is {came}, but a NumPy array of numbers is wanted")
        if flat.ndim not in (1, 2) or 0 in flat.shape[1:]:
            raise ValueError(f"flat has shape {flat.shape}, but (S,) or (S, F) is wanted")
        places = np.asarray(offsets)
        if places.dtype.kind not in "iu":
            raise TypeError(f"offsets are {places.dtype}, but integers are wanted")
        if places.ndim != 1 or len(places) < 2:
            raise ValueError(f"offsets have shape {places.shape}, but (N+1,) with N > 0 is wanted")
        if places[0] != 0 or places[-1] != len(flat):
            raise ValueError(
                f"offsets run from {places[0]} to {places[-1]}, but from 0 to the {len(flat)} steps of flat "
                "is wanted"
            )
        self.flat: Array = flat
        self.offsets: Index = places.astype(np.intp)
        self.lengths: Index = np.diff(self.offsets)
        if (self.lengths < 1).any():
            first = int((self.lengths < 1).argmax())
            raise ValueError(
                f"sequence {first} has {self.lengths[first]} steps, but at least one is wanted in each"
            )

    @classmethod
    def from_list(cls, sequences: Sequence[Any], name: str = "sequences") -> Ragged:
        """From a list of arrays ``(T_n,)`` or ``(T_n, F)``, all of one F.

        Raises
        ------
        TypeError, ValueError
            If one differs from the first in its number of features, is empty or holds no numbers; the
            message names it by ``name`` and its place.
        """
        if isinstance(sequences, (str, bytes)) or not hasattr(sequences, "__len__"):
            raise TypeError(f"{name} are a {type(sequences).__name__}, but a list of arrays is wanted")
        arrays: list[Array] = []
        for place, sequence in enumerate(sequences):
            refuse_masked(f"{name}[{place}]", sequence)
            try:
                array = np.asarray(sequence)
            except ValueError:
                raise ValueError(f"{name}[{place}] is no array: its steps differ in their features") from None
            if array.dtype.kind not in "iuf" and array.size:
                raise TypeError(f"{name}[{place}] is {array.dtype}, but numbers are wanted")
            if not len(array.shape) or not len(array):
                raise ValueError(f"{name}[{place}] has shape {array.shape}, but at least one step is wanted")
            if array.ndim > 2 or (arrays and array.shape[1:] != arrays[0].shape[1:]):
                wanted = ("T", *arrays[0].shape[1:]) if arrays else ("T", "F")
                raise ValueError(
                    f"{name}[{place}] has shape {array.shape}, but ({', '.join(map(str, wanted))}) is wanted"
                    + (f", as in {name}[0]" if arrays else "")
                )
            arrays.append(array)
        if not arrays:
            raise ValueError(f"{name} are empty, but at least one is wanted")
        return cls(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)]))

    @property
    def features(self) -> int | None:
        """F; None where the steps are ids."""
        return None if self.flat.ndim == 1 else int(self.flat.shape[1])

    def take(self, rows: Any) -> Ragged:
        """The sequences of these numbers, ``(M,)``, copied.

        Raises
        ------
        TypeError, ValueError
            If they are no integers, none at all, or not from 0 to N-1.
        """
        places = np.asarray(rows)
        if places.ndim != 1 or not places.size:
            raise ValueError(f"rows have shape {places.shape}, but (M,) with M > 0 is wanted")
        if places.dtype.kind not in "iu":
            raise TypeError(f"rows are {places.dtype}, but integers are wanted")
        if places.min() < 0 or places.max() >= len(self):
            outside = places[(places < 0) | (places >= len(self))][0]
            raise ValueError(f"rows have {outside}, but numbers from 0 to {len(self) - 1} are wanted")
        places = places.astype(np.intp)
        lengths = self.lengths[places]
        ends = np.cumsum(lengths)
        first = np.repeat(self.offsets[places] - (ends - lengths), lengths)
        return Ragged(self.flat[first + np.arange(len(first))], np.concatenate([[0], ends]))

    def pad(self, rows: Index, dtype: DTypeLike | None = None) -> Array:
        """These sequences side by side, ``(T, B)`` or ``(T, B, F)``; behind a row's end stands 0."""
        lengths = self.lengths[rows]
        steps = int(lengths.max())
        out = np.zeros((steps, len(rows), *self.flat.shape[1:]), dtype or self.flat.dtype)
        inside = np.arange(steps)[:, None] < lengths
        # By row and then by step, so that a mapped file is read forward.
        places = (self.offsets[rows][:, None] + np.arange(steps))[inside.T]
        out.swapaxes(0, 1)[inside.T] = self.flat[places]
        return out

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Array:
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"index is {index!r}, but a whole number is wanted; take(rows) gives several")
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {index} is wanted, but there are {len(self)}")
        index %= len(self)
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        shape = "" if self.flat.ndim == 1 else f" of {self.flat.shape[1]} features"
        return f"<Ragged of {len(self)} sequences, {len(self.flat)} steps{shape}, {self.flat.dtype}>"


class RaggedSource:
    """Sequences in batches of similar length: at most 5% of all steps are padding, in every epoch.

    The sequences are sorted by length, equal ones in an order drawn anew for each epoch, and cut into batches
    of ``batch_size``; where lengths lie too far apart, batches are split until the padding is within bounds.
    The batches come in an order drawn from seed and epoch, so that the same epoch is always the same.

    Parameters
    ----------
    sequences
        A Ragged, or a list of arrays ``(T_n,)`` of ids or ``(T_n, F)`` of numbers.
    targets
        One per sequence: class ids ``(N,)`` or numbers ``(N, K)``; or one per step: a Ragged or a list of
        arrays as long as the sequences. None where there are none, to predict: batches then have zeros.
    batch_size
        Sequences in a batch, at most.
    seed
        Of the order.
    shuffle
        False for the same order in every epoch: by length.
    dtype
        float32 or float64: numbers, in sequences and targets, become this; ids stay what they are.
    waste
        Share of padding in all steps, at most; above 0 and below 1.
    weights
        What each sequence counts in the loss, ``(N,)``, above 0; None where all count alike.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted.
    """

    def __init__(
        self,
        sequences: Any,
        targets: Any = None,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        dtype: DTypeLike = "float32",
        waste: float = WASTE,
        weights: Any = None,
    ) -> None:
        self.sequences = sequences if isinstance(sequences, Ragged) else Ragged.from_list(sequences)
        self.batch_size = check_positive_integer("batch_size", batch_size)
        self.seed, self.shuffle = check_seed(seed), check_flag("shuffle", shuffle)
        self.dtype = check_dtype(dtype)
        if not 0 < check_number("waste", waste) < 1:
            raise ValueError(f"waste is {waste}, but a share above 0 and below 1 is wanted")
        self.targets = _check_targets(targets, self.sequences)
        self.weights = check_weights(weights, len(self.sequences))
        if self.weights is not None and not self.weights.all():
            place = int((self.weights == 0).argmax())
            raise ValueError(f"weights[{place}] is 0: leave such a sequence out")
        # Lengths in order are the same in every epoch, whichever sequence has them: so are the cuts.
        ascending = np.sort(self.sequences.lengths)
        self._cuts = bucket(ascending, self.batch_size, waste)
        longest = ascending[self._cuts[1:] - 1]
        self._steps = int((longest * np.diff(self._cuts)).sum())

    @property
    def padding(self) -> float:
        """Share of padding in the steps of all batches."""
        return 1 - int(self.sequences.lengths.sum()) / self._steps

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def indices(self, epoch: int = 0) -> list[Index]:
        """Which sequences each batch of an epoch holds."""
        rng = np.random.default_rng((self.seed, epoch))
        ties = rng.random(len(self.sequences)) if self.shuffle else np.arange(len(self.sequences))
        order = np.lexsort((ties, self.sequences.lengths))
        batches = np.split(order, self._cuts[1:-1])
        return [batches[i] for i in rng.permutation(len(batches))] if self.shuffle else batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number ``start`` on."""
        for rows in self.indices(epoch)[start:]:
            lengths = self.sequences.lengths[rows]
            even = int(lengths.min()) == int(lengths.max())
            x = self.sequences.pad(rows, self._dtype(self.sequences.flat))
            weights = None if self.weights is None else self.weights[rows]
            yield Batch(x, self._target(rows), None if even else lengths, weights=weights)

    def _target(self, rows: Index) -> Array:
        if self.targets is None:
            return np.zeros(len(rows), np.intp)
        if isinstance(self.targets, Ragged):
            return self.targets.pad(rows, self._dtype(self.targets.flat))
        chosen = self.targets[rows]
        return chosen.astype(self._dtype(chosen), copy=False)

    def _dtype(self, array: Array) -> np.dtype[Any]:
        return self.dtype if array.dtype.kind == "f" or array.ndim > 1 else array.dtype

    def __repr__(self) -> str:
        padding = f"{self.padding:.1%} padding"
        return f"<RaggedSource of {len(self.sequences)} sequences in {len(self)} batches, {padding}>"


def bucket(lengths: Index, batch_size: int, waste: float) -> Index:
    """Where to cut sequences in the order of their lengths, so that little of the batches is padding.

    Parameters
    ----------
    lengths
        Ascending, ``(N,)``.
    batch_size
        Sequences between two cuts, at most.
    waste
        Share of padding in all steps, at most.

    Returns
    -------
    cuts
        From 0 to N, ascending.
    """
    cuts = [*range(0, len(lengths), batch_size), len(lengths)]
    pieces = [_piece(lengths, first, last) for first, last in pairwise(cuts)]
    valid = int(lengths.sum())
    padding = sum(piece[0] for piece in pieces)
    # Padding is p of valid + p steps: p <= waste (valid + p).
    while padding > waste / (1 - waste) * valid:
        # Split where one cut saves most; a batch of equal lengths saves nothing, and none is split for ever.
        best = max(range(len(pieces)), key=lambda i: pieces[i][1])
        _, saved, first, middle, last = pieces[best]
        pieces[best : best + 1] = [_piece(lengths, first, middle), _piece(lengths, middle, last)]
        padding -= saved
    return np.array([0, *(piece[-1] for piece in pieces)], np.intp)


def _piece(lengths: Index, first: int, last: int) -> tuple[int, int, int, int, int]:
    """Padding of a batch, what the best cut would save of it, where it begins, is cut best, and ends."""
    inside = lengths[first:last]
    longest = int(inside[-1])
    padding = longest * len(inside) - int(inside.sum())
    savings = np.arange(1, len(inside)) * (longest - inside[:-1])
    best = int(savings.argmax()) if len(savings) else 0
    return padding, int(savings[best]) if len(savings) else 0, first, first + best + 1, last


def _check_targets(targets: Any, sequences: Ragged) -> Array | Ragged | None:
    """One target per sequence as an array, one per step as a Ragged, or None."""
    if targets is None:
        return None
    if isinstance(targets, np.ndarray) and targets.dtype.kind in "iuf":
        if targets.ndim not in (1, 2) or len(targets) != len(sequences):
            raise ValueError(
                f"targets have shape {targets.shape}, but one per sequence is wanted: ({len(sequences)},) "
                f"or ({len(sequences)}, K)"
            )
        if targets.ndim == 1 and targets.dtype.kind == "f":
            raise TypeError("targets are numbers (N,), but class ids (N,) or numbers (N, K) are wanted")
        chosen: Array = targets
        return chosen
    if isinstance(targets, np.ndarray):
        raise TypeError(f"targets are {targets.dtype}, but class ids (N,) or numbers (N, K) are wanted")
    if not isinstance(targets, (Ragged, list, tuple)):
        raise TypeError(f"targets are a {type(targets).__name__}, but an array or a list of arrays is wanted")
    if not isinstance(targets, Ragged) and targets and all(np.ndim(target) == 0 for target in targets):
        return _check_targets(np.asarray(targets), sequences)
    steps = targets if isinstance(targets, Ragged) else Ragged.from_list(targets, "targets")
    if len(steps) != len(sequences):
        raise ValueError(f"targets are {len(steps)}, but there are {len(sequences)} sequences")
    if (differ := steps.lengths != sequences.lengths).any():
        first = int(differ.argmax())
        raise ValueError(
            f"targets[{first}] has {steps.lengths[first]} steps, but sequence {first} has "
            f"{sequences.lengths[first]}"
        )
    return steps
