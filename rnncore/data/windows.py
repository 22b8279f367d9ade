"""Windows of a series: batches of what a network reads and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_dtype, check_flag, check_positive_integer, check_seed
from .batch import Batch

Array = NDArray[Any]
Index = NDArray[np.intp]
Transform = Callable[[Array, Array], tuple[Array, Array]]


class Windows:
    """Pieces of a series and the steps after each: x ``(window, B, F)``, target ``(B, horizon K)``.

    A window of which no target is known is left out.

    Parameters
    ----------
    inputs
        ``(N, F)``; finite, unless the transform reads NaN.
    targets
        ``(N, K)``; NaN is not known.
    origins
        First step of each horizon, integers ``(W,)``; the window ends before it.
    window, horizon
        Steps.
    batch_size
        Windows in a batch.
    seed, shuffle
        Of the order, drawn anew for each epoch; False for the order of time.
    dtype
        Of the batches.
    transform
        From windows ``(window, B, F)`` and what follows ``(B, horizon, K)`` to x and target; None leaves
        both as they are.

    Attributes
    ----------
    origins
        Of the windows that are left.
    """

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        origins: Any,
        window: int,
        horizon: int,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        dtype: DTypeLike = "float32",
        transform: Transform | None = None,
    ) -> None:
        for name, array in (("inputs", inputs), ("targets", targets)):
            if array.ndim != 2 or len(array) != len(inputs):
                raise ValueError(f"{name} have shape {array.shape}, but ({len(inputs)}, ...) is wanted")
        self.inputs, self.targets, self.dtype = inputs, targets, check_dtype(dtype)
        self.transform = transform
        self.window = check_positive_integer("window", window)
        self.horizon = check_positive_integer("horizon", horizon)
        self.batch_size = check_positive_integer("batch_size", batch_size)
        self.seed, self.shuffle = check_seed(seed), check_flag("shuffle", shuffle)
        origins = np.asarray(origins)
        if origins.dtype.kind not in "iu" or origins.ndim != 1 or not len(origins):
            raise ValueError(f"origins are {origins.dtype} {origins.shape}, but integers (W,) are wanted")
        if origins.min() < window or origins.max() + horizon > len(inputs):
            raise ValueError(
                f"origins run from {origins.min()} to {origins.max()}, but from window {window} to "
                f"{len(inputs) - horizon}, N - horizon, is wanted"
            )
        # Counted, not gathered: a horizon of many steps would take as many times the memory of the series.
        counts = np.append(0, np.cumsum(~np.isnan(targets).all(axis=1), dtype=np.int32))
        known = counts[origins + horizon] > counts[origins]
        if not known.any():
            raise ValueError("targets are missing in every window: there is nothing to learn or to measure")
        self.origins: Index = origins[known].astype(np.intp)

    def __len__(self) -> int:
        return -(-len(self.origins) // self.batch_size)

    def indices(self, epoch: int = 0) -> list[Index]:
        """Which windows, as places in ``origins``, each batch of an epoch holds."""
        order = np.arange(len(self.origins))
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(order))
        return np.split(order, range(self.batch_size, len(order), self.batch_size))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number ``start`` on."""
        for rows in self.indices(epoch)[start:]:
            x, target = self.past(rows), self.ahead(rows)
            if self.transform is not None:
                x, target = self.transform(x, target)
            target = target.reshape(len(rows), -1)
            yield Batch(np.ascontiguousarray(x, self.dtype), np.ascontiguousarray(target, self.dtype))

    def past(self, rows: Any) -> Array:
        """The windows of these places in ``origins``, as they are, ``(window, B, F)``."""
        return np.asarray(self.inputs[np.arange(-self.window, 0)[:, None] + self.origins[rows]])

    def ahead(self, rows: Any) -> Array:
        """What follows them, as it is, ``(B, horizon, K)``."""
        return np.asarray(self.targets[self.origins[rows][:, None] + np.arange(self.horizon)])

    def at(self, origins: Any) -> Windows:
        """The windows at other origins, in their order."""
        return Windows(
            self.inputs, self.targets, origins, self.window, self.horizon, self.batch_size, self.seed,
            shuffle=False, dtype=self.dtype, transform=self.transform,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Windows: {len(self.origins)} of {self.window} steps, {self.horizon} ahead>"
