"""Fixed and slow points of a recurrent layer under constant input (Sussillo & Barak, 2013).

With F one step of the layer, the speed q(s) = 1/2 ||F(s) - s||^2 is minimised from many states that real
trajectories pass through. Where it becomes zero the network rests; where it is small but not zero it
lingers, as in a decision or a memory. What happens near such a point is told by the eigenvalues of the
Jacobian there: directions with modulus below 1 are drawn in, others are pushed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blas import one_blas_thread
from ..brief import brief
from ..checks import (
    check_array,
    check_finite,
    check_lengths,
    check_number,
    check_positive_integer,
    check_seed,
    padding_mask,
)
from ..kernels.float_state import keep_denormals
from ..layers.recurrent import Recurrent
from .common import Array, double, require_recurrent
from .linearize import linearize, step_forward

FIXED = 1e-8  # length of a step, beside that of the state, at a point called fixed


@brief
@dataclass(frozen=True, slots=True)
class FixedPoints:
    """What was found, slowest first; N points of n state dimensions (LSTM: h, then c).

    Attributes
    ----------
    points
        ``(N, n)``.
    speeds
        q at each, ``(N,)``.
    fixed
        Whether the point rests, or is merely slow, ``(N,)``.
    eigenvalues
        Of the Jacobian at each, ``(N, n)`` complex, largest modulus first.
    found
        How many of the starts came to each, ``(N,)``.
    x
        The input that was held, ``(I,)``.
    """

    points: NDArray[np.float64]
    speeds: NDArray[np.float64]
    fixed: NDArray[np.bool_]
    eigenvalues: NDArray[np.complex128]
    found: NDArray[np.intp]
    x: NDArray[np.float64]

    @property
    def stable(self) -> NDArray[np.bool_]:
        """Whether all directions are drawn in, (N,)."""
        return np.asarray(np.abs(self.eigenvalues[:, 0]) < 1)

    @property
    def unstable_dimensions(self) -> NDArray[np.intp]:
        """How many directions are pushed out at each, (N,)."""
        return np.asarray((np.abs(self.eigenvalues) > 1).sum(axis=1))

    def __len__(self) -> int:
        return len(self.points)

    def __str__(self) -> str:
        lines = [
            f"{'point':>5}{'kind':>8}{'speed':>11}{'largest |eigenvalue|':>22}{'pushed out':>12}{'starts':>8}"
        ]
        for n in range(len(self)):
            kind = "fixed" if self.fixed[n] else "slow"
            largest = abs(self.eigenvalues[n, 0])
            lines.append(
                f"{n:>5}{kind:>8}{self.speeds[n]:>11.2g}{largest:>22.4f}{self.unstable_dimensions[n]:>12}"
                f"{self.found[n]:>8}"
            )
        return "\n".join(lines)


@keep_denormals()
def fixed_points(
    layer: Recurrent,
    x: Array,
    lengths: Any = None,
    at: Array | None = None,
    starts: int = 32,
    slow: float = 1e-3,
    same: float = 1e-4,
    seed: int = 0,
) -> FixedPoints:
    """Search a layer's fixed and slow points.

    Parameters
    ----------
    layer
        A recurrent layer of a network.
    x, lengths
        Input ``(T, B, I)`` whose trajectories are the places to begin from.
    at
        The input ``(I,)`` to hold while searching; the mean of x over its valid steps if it is not given.
    starts
        How many states, drawn at random from the trajectories.
    slow
        Points with a larger q than this are no slow points and are left out.
    same
        Points nearer to each other than this, beside their size, are one.
    seed
        Of the draw.

    Raises
    ------
    TypeError, ValueError
        If the layer has no state, or an argument is not as wanted.
    """
    require_recurrent(layer)
    check_array("x", x, layer.dtype, "TBI", (None, None, layer.input_size))
    checked = check_lengths(lengths, *x.shape[:2])
    check_finite("x", x, checked)
    count = check_positive_integer("starts", starts)
    if not len(x) or not x.shape[1]:
        raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
    for name, value in (("slow", slow), ("same", same)):
        if check_number(name, value) < 0:
            raise ValueError(f"{name} is {value}, but 0 or more is wanted")
    rng = np.random.default_rng(check_seed(seed))
    valid = np.ones(x.shape[:2], bool) if checked is None else ~padding_mask(checked, len(x))
    held = x[valid].mean(axis=0, dtype=np.float64) if at is None else _check_held(at, layer.input_size)
    twin = double(layer)
    _, _, tape = twin.forward(x.astype(np.float64), None, checked)
    visited = np.concatenate([states[1:][valid] for states in tape.states()], axis=1)
    begin = visited[rng.choice(len(visited), min(count, len(visited)), replace=False)]
    with one_blas_thread():
        ends = [_descend(twin, held, start) for start in begin]
        return _merge(twin, held, np.array(ends), slow, same)


def _check_held(at: Any, features: int) -> Array:
    """``at`` as float64 (I,)."""
    held: Array = np.asarray(at)
    if held.dtype.kind not in "iuf":
        raise TypeError(f"at is {at!r}, but {features} numbers are wanted")
    if held.shape != (features,):
        raise ValueError(f"at has shape {held.shape}, but ({features},) is wanted")
    if not np.isfinite(held).all():
        place = int(np.argmin(np.isfinite(held)))
        raise ValueError(f"at[{place}] is {held[place]}, but a finite number is wanted")
    return held.astype(np.float64)


class Step:
    """F and its Jacobian at a state (n,) under the input that is held."""

    def __init__(self, twin: Recurrent, held: Array) -> None:
        self.twin, self.x = twin, held[None]

    def _tape(self, state: Array) -> Any:
        borders = np.cumsum(self.twin.state_widths)[:-1]
        parts = (part.reshape(1, -1).copy() for part in np.split(state, borders))
        return step_forward(self.twin, self.x, tuple(parts))

    def motion(self, state: Array) -> Array:
        """F(s) - s, (n,)."""
        after: Array = np.concatenate([states[1, 0] for states in self._tape(state).states()])
        return np.asarray(after - state)

    def jacobian(self, state: Array) -> Array:
        """dF/ds, (n, n)."""
        matrix: Array = linearize(self.twin, self._tape(state)).matrices()[0]
        return matrix

    def slope(self, state: Array) -> Array:
        """The derivative of the motion, (n, n)."""
        matrix: Array = self.jacobian(state)
        return np.asarray(matrix - np.eye(len(matrix)))


def _descend(twin: Recurrent, held: Array, start: Array) -> Array:
    """Minimise the speed from one state: Levenberg-Marquardt with the exact Jacobian."""
    from scipy.optimize import least_squares

    step = Step(twin, held)
    found = least_squares(
        step.motion, start, jac=step.slope, method="lm", xtol=1e-13, ftol=1e-13, gtol=1e-13, max_nfev=200
    )
    return np.asarray(found.x)


def _merge(twin: Recurrent, held: Array, ends: Array, slow: float, same: float) -> FixedPoints:
    """One point for all ends that lie together, the slowest of them, with what its Jacobian says."""
    step = Step(twin, held)
    motions = np.array([step.motion(end) for end in ends])
    speeds = 0.5 * np.square(motions).sum(axis=1)
    kept: list[int] = []
    found: list[int] = []
    for n in np.argsort(speeds, kind="stable"):
        if not speeds[n] <= slow:
            continue
        near = [
            place
            for place, other in enumerate(kept)
            if np.linalg.norm(ends[n] - ends[other]) <= same * (1 + np.linalg.norm(ends[other]))
        ]
        if near:
            found[near[0]] += 1
        else:
            kept.append(int(n))
            found.append(1)
    size = ends.shape[1]
    eigenvalues = np.empty((len(kept), size), np.complex128)
    for place, n in enumerate(kept):
        values = np.linalg.eigvals(step.jacobian(ends[n]))
        eigenvalues[place] = values[np.argsort(-np.abs(values), kind="stable")]
    points = ends[kept].reshape(len(kept), size)
    rests = np.sqrt(2 * speeds[kept]) <= FIXED * (1 + np.linalg.norm(points, axis=1))
    return FixedPoints(points, speeds[kept], rests, eigenvalues, np.array(found, np.intp), held)
