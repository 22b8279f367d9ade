"""What a data source hands to training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..brief import brief


@brief
@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences side by side, time-major.

    Attributes
    ----------
    x
        Input: ids ``(T, B)`` or numbers ``(T, B, F)``.
    target
        What the network should say, in the shape that the loss wants.
    lengths
        Steps of each row, ``(B,)``; None where all have T. What lies beyond is padding. Or a mask,
        ``bool (T, B)``, of the steps that count: the state is carried over the others.
    starts
        ``bool (T, B)``: here a new document begins, and the state is reset before the step; None for nowhere.
    weights
        What each row counts in the loss, ``(B,)``, or each step, ``(T, B)``; not negative and not all 0. None
        where all count alike.
    """

    x: NDArray[Any]
    target: NDArray[Any]
    lengths: NDArray[np.intp] | None = None
    starts: NDArray[np.bool_] | None = None
    weights: NDArray[Any] | None = None


def as_batch(value: Any, name: str = "batch") -> Any:
    """What has x and target, such as a `Batch`, as it is; a tuple of these two, or with lengths, as one.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, tuple) and len(value) in (2, 3):
        return Batch(*value)
    if not hasattr(value, "x") or not hasattr(value, "target"):
        raise TypeError(
            f"{name} is a {type(value).__name__}, but a Batch, or a tuple (x, target) or (x, target, "
            "lengths) is wanted"
        )
    return value


class Source(Protocol):
    """What training reads from: the same batches, in the same order, whenever the same epoch is asked for."""

    def __len__(self) -> int:
        """Batches of one epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``start`` on."""
