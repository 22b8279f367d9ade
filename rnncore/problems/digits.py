"""Handwritten digits, read pixel by pixel."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..data.batch import Batch
from .base import TEST_ROWS, Array, Classification, Range

SHARES = {"test": 5, "validation": 10}  # one image of so many is kept


class Digits(Classification):
    """Which digit: its pixels one a step, row by row (Le, Jaitly & Hinton, 2015, there with MNIST).

    The images are the 1,797 handwritten digits of 8 x 8 pixels by Alpaydin & Kaynak (1998) that scikit-learn
    brings (the extra ``sklearn``). 359 of them are for testing and 179 for validation, whatever the seed,
    which gives the order of the 1,259 others in training.

    Parameters
    ----------
    length
        Pixels, a square such as 64 or 784; images of other sizes than 8 x 8 are interpolated.
    batch_size, seed, dtype
        As for `Problem`.
    batches
        None: as many as one pass over the training images takes.

    Notes
    -----
    The error is the share of wrong answers. Chance, any of the ten digits, is 0.9, and that is the naive
    baseline: one digit is as frequent as another. Solved is below 0.04 (ours). Who asks for more images for
    testing or validation than there are gets them all, once.
    """

    inputs = 1
    outputs = 10

    def __init__(
        self,
        length: Range = 64,
        batch_size: int = 20,
        batches: int | None = None,
        seed: int = 0,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(length, batch_size, 1 if batches is None else batches, seed, dtype)
        self.threshold = 0.04
        side = math.isqrt(self.length[0])
        if self.length[0] != self.length[1] or side**2 != self.length[0]:
            raise ValueError(f"length is {length}, but a square such as 64 is wanted")
        images, labels = _load(side)
        self._images, self._labels = images.astype(self.dtype), labels
        # Whoever shares a result with others, or tries several seeds, has the same images for testing.
        self._shown, self._held = np.random.default_rng(0).permutation(len(labels)), {}
        for part, share in SHARES.items():
            self._held[part], self._shown = np.split(self._shown, [len(labels) // share])
        if batches is None:
            self._batches = max(1, len(self._shown) // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Any:
        """The batches of an epoch, which goes through the training images in a new order, again and again."""
        rng = np.random.default_rng((self.seed, 0, epoch))
        wanted = self._batches * self.batch_size
        passes = -(-wanted // len(self._shown))
        order = np.concatenate([rng.permutation(self._shown) for _ in range(passes)])
        for number in range(start, self._batches):
            yield self._pick(order[number * self.batch_size : (number + 1) * self.batch_size])

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        return self._pick(rng.choice(self._shown, rows))

    def _hold(self, part: str, sequences: int) -> Iterator[Batch]:
        chosen = self._held[part][:sequences]
        for first in range(0, len(chosen), TEST_ROWS):
            yield self._pick(chosen[first : first + TEST_ROWS])

    def _pick(self, chosen: Array) -> Batch:
        x = np.ascontiguousarray(self._images[chosen].T)[:, :, None]
        return Batch(x, self._labels[chosen])

    def naive(self) -> dict[str, float]:
        return {"chance": 0.9}


def _load(side: int) -> tuple[Array, Array]:
    """Images (N, side * side) in 0..1 and labels (N,)."""
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the digits come with scikit-learn, which is not installed: pip install "rnncore[sklearn]"',
            name=error.name,
        ) from error
    found = datasets.load_digits()
    images = found.images / 16.0
    if side != images.shape[1]:
        from scipy.ndimage import zoom

        images = np.clip(zoom(images, (1, side / images.shape[1], side / images.shape[2]), order=1), 0, 1)
    return images.reshape(len(images), -1), found.target.astype(np.int64)
