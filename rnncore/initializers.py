"""Initial weights: each function fills an array in place from a generator.

``fan_in`` and ``fan_out`` are the columns and rows of the matrix: weights are stored (out, in). What
recurrent weights start with is chosen by name, ``recurrent_init="identity:0.9"``, so that a file can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_number

Array = NDArray[Any]
Initializer = Callable[[Array, np.random.Generator, float], None]

# For a Gaussian matrix with variance gain²/fan_in: above, small signals grow from step to step, below they
# die. One over the slope at 0 (Sompolinsky, Crisanti & Sommers, 1988); of ReLU, half of which is silent,
# sqrt(2) (He, Zhang, Ren & Sun, 2015).
CRITICAL_GAINS = {"tanh": 1.0, "sigmoid": 4.0, "relu": math.sqrt(2.0), "identity": 1.0}


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


def spectral_radius(weight: Array, rng: np.random.Generator, radius: float = 1.0) -> None:
    """A square Gaussian matrix scaled to have this spectral radius: its largest absolute eigenvalue (Jaeger,
    2001).

    Drawn anew in the rare case that all eigenvalues are 0.
    """
    found = 0.0
    while not found:
        drawn = rng.standard_normal(weight.shape)
        found = float(np.abs(np.linalg.eigvals(drawn)).max())
    weight[...] = radius / found * drawn


def scale_radius(name: str | None, weight: Array, felt: Array) -> None:
    """Scale ``weight`` so that ``felt``, what units feel of it, has the spectral radius that a name asks for;
    if it asks for none, leave it."""
    fill, radius = parse(name or "orthogonal")
    if fill is spectral_radius:
        weight *= radius / np.abs(np.linalg.eigvals(felt)).max()


def critical_normal(weight: Array, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Gaussian with standard deviation gain / sqrt(fan_in): eigenvalues fill a disk of radius ``gain``.

    ``CRITICAL_GAINS`` has the gain of each activation at which small signals neither grow nor die.
    """
    normal(weight, rng, gain / math.sqrt(weight.shape[1]))


def chrono(rng: np.random.Generator, units: int, longest: float) -> Array:
    """Biases log(u), u uniform in [1, longest - 1]: a gate sigmoid(bias) forgets after u steps or so,
    ``(units,)``.

    For the forget gate of an LSTM, whose input gate gets minus that, and the update gate of a GRU, which
    keeps h[t-1] (Tallec & Ollivier, 2018).
    """
    biases: Array = np.log(rng.uniform(1.0, longest - 1.0, units))
    return biases


RECURRENT: dict[str, Initializer] = {
    "orthogonal": orthogonal,
    "identity": identity,
    "spectral": spectral_radius,
    "critical": critical_normal,
    "normal": normal,
    "uniform": uniform,
}


def parse(name: str) -> tuple[Initializer, float]:
    """The function and the factor that a name such as ``"orthogonal"`` or ``"identity:0.9"`` stands for.

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If it names no initializer, or the factor is no finite number above 0.
    """
    if not isinstance(name, str):
        raise TypeError(f"recurrent_init is {name!r}, but a name such as 'orthogonal' is wanted")
    kind, colon, factor = name.partition(":")
    if kind not in RECURRENT:
        raise ValueError(f"recurrent_init is {name!r}, but one of {', '.join(RECURRENT)} is wanted")
    try:
        value = float(factor) if colon else 1.0
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"recurrent_init is {name!r}, but a number above 0 is wanted behind the colon")
    return RECURRENT[kind], value


def check_longest(value: float) -> float:
    """The longest delay that chrono is for, as a float above 2; TypeError or ValueError otherwise."""
    longest = check_number("chrono", value)
    if longest <= 2:
        raise ValueError(f"chrono is {value}, but the longest delay in steps, above 2, is wanted")
    return longest
