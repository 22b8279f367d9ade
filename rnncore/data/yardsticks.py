"""Count models of text: what a network must beat to have learned anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_positive_integer
from .text import check_ids, document_begins

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Counts:
    """How often each sequence of k ids occurred; sequences are numbers in base ``classes``, sorted."""

    grams: Array  # (M,) the sequences
    occurred: Array  # (M,)
    contexts: Array  # (M',) their first k-1 ids
    followed: Array  # (M',) how often by anything,
    different: Array  # (M',) and by how many different ids


class CountModel:
    """The probability of a character after the ``order - 1`` before it, from counts.

    p_k(c | h) = (n(h c) + d(h) p_{k-1}(c | h')) / (n(h) + d(h)),      p_0 = 1 / classes

    n counts in the training text, d(h) is the number of different characters that followed h there, h' is h
    without its first character. A context that never occurred leaves p_{k-1}. (Interpolated Witten-Bell
    smoothing: Witten & Bell, 1991, method C; in this form Chen & Goodman, 1999.) The counts are fixed: the
    model learns nothing while it is measured, and neither does the network beside it.

    Parameters
    ----------
    ids
        Training text, integers ``(N,)`` in [0, classes).
    order
        1 for a unigram model, 3 for a trigram model.
    classes
        Number of different ids. ``classes ** order`` must be below 2**63.
    documents
        Where documents begin, as for TextStream: no context reaches across a border.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted.
    """

    def __init__(self, ids: Any, order: int, classes: int, documents: Sequence[int] | None = None) -> None:
        self.order = check_positive_integer("order", order)
        self.classes = check_positive_integer("classes", classes)
        if self.classes**self.order >= 2**63:
            raise ValueError(f"classes ** order is {classes} ** {order}, but less than 2**63 is wanted")
        ids = self._check(ids)
        depths = _depths(len(ids), documents)
        # In a text of fewer characters no sequence of k ids occurs: that level would be empty.
        longest = min(self.order, int(depths.max()) + 1)
        self._levels = [self._count(ids, depths, k) for k in range(1, longest + 1)]

    def probabilities(self, ids: Any, documents: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Of each character, given those before it: ``(N - number of documents,)``.

        The first character of each document is left out, as a network has nothing to predict it from.
        """
        ids = self._check(ids)
        depths = _depths(len(ids), documents)
        p = np.full(len(ids), 1 / self.classes)
        for k, counts in enumerate(self._levels, 1):
            places, keys = self._keys(ids, depths, k)
            gram, found = _find(counts.grams, keys)
            occurred = np.where(found, counts.occurred[gram], 0)
            context, known = _find(counts.contexts, keys // self.classes)
            followed, different = counts.followed[context], counts.different[context]
            mixed = (occurred + different * p[places]) / (followed + different)
            p[places] = np.where(known, mixed, p[places])
        return p[depths > 0]

    def bits_per_character(self, ids: Any, documents: Sequence[int] | None = None) -> float:
        """Mean of -log2 p over a text.

        Raises
        ------
        ValueError
            If no character has one before it.
        """
        p = self.probabilities(ids, documents)
        if not p.size:
            raise ValueError("ids hold no character with one before it: there is nothing to measure")
        return float(-np.log2(p).mean())

    def _check(self, ids: Any) -> Array:
        ids = check_ids("ids", ids)
        if not ids.size:
            raise ValueError("ids are empty, but at least one is wanted")
        outside = (ids < 0) | (ids >= self.classes)
        if outside.any():
            first = int(outside.argmax())
            raise ValueError(f"ids[{first}] is {ids[first]}, but ids from 0 to {self.classes - 1} are wanted")
        return np.asarray(ids, np.int64)

    def _keys(self, ids: Array, depths: Array, k: int) -> tuple[Array, Array]:
        """Where a character has k-1 before it, and the number that stands for the k of them."""
        places = np.flatnonzero(depths >= k - 1)
        keys = np.zeros(len(places), np.int64)
        for back in range(k - 1, -1, -1):
            keys = keys * self.classes + ids[places - back]
        return places, keys

    def _count(self, ids: Array, depths: Array, k: int) -> _Counts:
        _, keys = self._keys(ids, depths, k)
        grams, occurred = np.unique(keys, return_counts=True)
        contexts, first, different = np.unique(grams // self.classes, return_index=True, return_counts=True)
        return _Counts(grams, occurred, contexts, np.add.reduceat(occurred, first), different)


def _depths(size: int, documents: Sequence[int] | None) -> Array:
    """How many characters of its own document stand before each: ``(N,)``."""
    places = np.arange(size)
    return places - np.maximum.accumulate(np.where(document_begins(size, documents), places, 0))


def _find(table: Array, keys: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Place of each key in a sorted table, and whether it is there; elsewhere the place means nothing."""
    places = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return places, table[places] == keys
