"""Texts larger than memory: files that are mapped, and read where a batch needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_positive_integer
from .batch import Batch
from .text import check_ids


def map_bytes(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of a file as ids from 0 to 255, ``uint8 (N,)``, memory-mapped and read-only.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is empty.
    """
    if not os.path.getsize(path):
        raise ValueError(f"{os.fspath(path)} is empty, but at least one byte is wanted")
    return np.memmap(path, np.uint8, "r")


class MappedStream:
    """Ids laid out in parallel streams without a copy, to predict each next one: one long batch per epoch.

    Row b holds the b-th part, in order, all of the same length; at most ``batch_size - 1`` ids at the end are
    left over and not read. The batch's arrays are views: ``Trainer(bptt=k)`` reads the k steps of a segment,
    wherever they lie, and nothing else.

    Parameters
    ----------
    ids
        Integers ``(N,)``, N > batch_size: such as :func:`map_bytes` or ``np.load(path, mmap_mode="r")``, or a
        part of them.
    batch_size
        Rows B.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted, or there are too few ids.
    """

    def __init__(self, ids: Any, batch_size: int) -> None:
        ids = check_ids("ids", ids)
        rows = check_positive_integer("batch_size", batch_size)
        steps = (len(ids) - 1) // rows
        if steps < 1:
            raise ValueError(f"ids are {len(ids)}, but batch_size {rows} wants at least {rows + 1}")
        self.predictions = steps * rows
        parts = (ids[: steps * rows], ids[1 : steps * rows + 1])
        self._batch = Batch(*(part.reshape(rows, steps).T for part in parts))

    def __len__(self) -> int:
        return 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The one batch, the same in every epoch; none if ``start`` is not 0."""
        if start == 0:
            yield self._batch

    def __repr__(self) -> str:
        steps, rows = self._batch.x.shape
        return f"<MappedStream of {self.predictions} predictions: {steps} steps of {rows} rows>"
