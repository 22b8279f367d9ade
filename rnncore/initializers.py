"""Initial weights: each function fills an array in place from a generator.

``fan_in`` and ``fan_out`` are the columns and rows of the matrix: weights are stored (out, in).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def glorot_uniform(weight: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Uniform within ±gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010)."""
    fan_out, fan_in = weight.shape
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    weight[...] = rng.uniform(-bound, bound, weight.shape)


def orthogonal(weight: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """gain times a matrix with orthonormal rows or columns, uniform among them (Saxe et al., 2014).

    The QR factor of a Gaussian matrix, its columns' signs set by R's diagonal: without the signs the draw is
    not uniform (Mezzadri, 2007).
    """
    rows, columns = weight.shape
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    weight[...] = gain * (q if rows >= columns else q.T)


def identity(weight: Array, rng: np.random.Generator | None = None, gain: float = 1.0) -> None:
    """gain times the identity: with ReLU units the IRNN of Le, Jaitly & Hinton (2015). Nothing is drawn."""
    weight[...] = gain * np.eye(*weight.shape)


def normal(weight: Array, rng: np.random.Generator, std: float = 1.0) -> None:
    """Gaussian with mean 0 and standard deviation ``std``."""
    weight[...] = std * rng.standard_normal(weight.shape)


def uniform(weight: Array, rng: np.random.Generator, bound: float) -> None:
    """Uniform within ±bound; bound = 1/sqrt(H) is PyTorch's choice for recurrent layers."""
    weight[...] = rng.uniform(-bound, bound, weight.shape)
