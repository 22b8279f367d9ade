"""Ridge regression from a window to what comes next: a yardstick, and what a network adds its forecast to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]

#: strengths of the penalty that are tried, in units of the inputs' mean square
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)

MOST_NUMBERS = 6_000_000  # of the matrix of windows: of more of them, so many are taken evenly
MOST_INPUTS = 2000  # of a window: beyond that the normal equations cost more than the network


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x W + b for whole windows x ``(B, D)``, and how far it errs: what is left for a network to say.

    Attributes
    ----------
    inputs, outputs
        D and O.
    numbers
        W ``(D, O)``, b ``(O,)`` and the errors' deviations ``(O,)``, one after the other, in little-endian
        float32.
    """

    inputs: int
    outputs: int
    numbers: bytes

    def __post_init__(self) -> None:
        if len(self.numbers) != 4 * (self.inputs + 2) * self.outputs:
            raise ValueError(
                f"linear holds {len(self.numbers)} bytes; expected those of {self.inputs} inputs and "
                f"{self.outputs} outputs"
            )
        gain = self.matrix[-1]
        if not np.isfinite(self.matrix).all() or not (gain > 0).all():
            raise ValueError("linear holds numbers that are not finite, or deviations that are not above 0")

    @classmethod
    def of(cls, weight: Floats, bias: Floats, gain: Floats) -> Linear:
        """From W ``(D, O)``, b and the deviations ``(O,)``."""
        matrix = np.concatenate([weight, bias[None], gain[None]]).astype("<f4")
        return cls(weight.shape[0], weight.shape[1], matrix.tobytes())

    @property
    def matrix(self) -> NDArray[np.float32]:
        """W, b and the deviations as rows, ``(D + 2, O)``."""
        return np.frombuffer(self.numbers, "<f4").reshape(self.inputs + 2, self.outputs)

    @property
    def gain(self) -> NDArray[np.float32]:
        """The errors' deviations, ``(O,)``: units of what a network says."""
        return np.asarray(self.matrix[-1])

    def __call__(self, x: Floats) -> Floats:
        """Forecasts ``(B, O)`` of windows as a network reads them, ``(T, B, features)``."""
        flat = flatten(x).astype(np.float64, copy=False)
        matrix = self.matrix
        return np.asarray(flat @ matrix[:-2] + matrix[-2], np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        text = base64.b64encode(self.numbers).decode()
        return {"inputs": self.inputs, "outputs": self.outputs, "numbers": text}

    @classmethod
    def from_dict(cls, data: Any) -> Linear:
        """What ``to_dict`` returned; ValueError if it is anything else."""
        keys = ("inputs", "outputs", "numbers")
        if not isinstance(data, dict) or [type(data.get(key)) for key in keys] != [int, int, str]:
            raise ValueError("linear is not a pair of sizes with numbers")
        try:
            numbers = base64.b64decode(data["numbers"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"linear holds numbers that cannot be read: {error}") from None
        return cls(data["inputs"], data["outputs"], numbers)


def flatten(x: Floats) -> Floats:
    """Windows ``(T, B, F)`` as rows ``(B, T F)``."""
    return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(x.shape[1], -1)


def some_of(origins: NDArray[np.intp], inputs: int, numbers: int = MOST_NUMBERS) -> NDArray[np.intp]:
    """So many windows, evenly, that their matrix stays within memory."""
    most = max(numbers // inputs, 500)
    if len(origins) <= most:
        return origins
    return origins[np.linspace(0, len(origins) - 1, most).round().astype(np.intp)]


def fit_ridge(x: Floats, y: Floats, error: Callable[[Floats, Floats], float]) -> tuple[Linear, float]:
    """The ridge regression whose strength errs least elsewhere.

    W = (X'X + n s I)^-1 X'Y of the centred columns (Hoerl & Kennard, 1970), for the strengths s in
    `STRENGTHS` times the mean square of X.

    Parameters
    ----------
    x, y
        Inputs ``(N, D)`` and targets ``(N, O)``, finite.
    error
        What W ``(D, O)`` and b ``(O,)`` err on data kept apart.

    Returns
    -------
    The regression, and its error there.
    """
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    square, product = x.T @ x / len(x), x.T @ y / len(x)
    mean_square = max(float(np.trace(square)) / len(square), np.finfo(np.float64).tiny)
    diagonal = square.diagonal().copy()
    best: tuple[float, Floats] | None = None
    for strength in STRENGTHS:
        np.fill_diagonal(square, diagonal + strength * mean_square)
        weight = cho_solve(cho_factor(square), product)
        found = error(weight, mean_y - mean_x @ weight)
        if best is None or found < best[0]:
            best = found, weight
    assert best is not None
    weight = best[1]
    deviation = (y - x @ weight).std(axis=0)
    gain = np.maximum(deviation, 1e-3 * max(float(deviation.max()), 1e-6))
    return Linear.of(weight, mean_y - mean_x @ weight, gain), best[0]
