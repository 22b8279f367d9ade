"""The numbers that every library gets, and whether what they computed is the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from race.grid import GATES, Case

Arrays = dict[str, np.ndarray]

# Of each array's largest magnitude. Libraries differ by rounding, 1e-5 or less; another order of gates,
# a bias that is missing or a step too few by 0.1 and more.
TOLERANCE = 1e-3
SOUND = 100  # steps, where silence follows


@dataclass
class Problem:
    """Input, upstream gradient and weights of one layer, float32, in PyTorch's order of the gates."""

    cell: str
    x: np.ndarray  # (T, B, I)
    dy: np.ndarray  # (T, B, H), one gradient for every step
    weights: Arrays  # weight_ih (GH, I), weight_hh (GH, H), bias (GH,); for a GRU also bias_hn (H,)
    reverse: Arrays | None = None  # of the other direction, where there are two


def draw(case: Case) -> Problem:
    """The same numbers in every process; weights as PyTorch draws its own, uniform within 1/sqrt(H)."""
    rng = np.random.default_rng(20240229)
    weights = draw_weights(case, rng)
    x = rng.standard_normal((case.T, case.B, case.I), dtype=np.float32)
    dy = rng.standard_normal((case.T, case.B, case.H), dtype=np.float32)
    if case.kind in ("last", "trained"):
        dy[:-1] = 0
    elif case.kind == "quiet":
        x *= np.float32(1e-40)
    elif case.kind == "silence":
        x[SOUND:] = 0
        for name in weights.keys() & {"bias", "bias_hn"}:
            weights[name][:] = 0  # else the states do not fade
    return Problem(case.cell, x, dy, weights, draw_weights(case, rng) if case.kind == "both" else None)


def draw_weights(case: Case, rng: np.random.Generator) -> Arrays:
    """The weights of one direction."""
    rows, bound = GATES[case.cell] * case.H, case.H**-0.5
    shapes = {"weight_ih": (rows, case.I), "weight_hh": (rows, case.H), "bias": (rows,)}
    if case.cell == "gru":
        shapes["bias_hn"] = (case.H,)
    weights = {}
    for name, shape in shapes.items():
        weights[name] = (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(bound)
    return weights


def differences(came: Arrays, wanted: Arrays) -> dict[str, float]:
    """For each array the largest difference over the largest magnitude; infinite where it does not fit."""
    if came.keys() != wanted.keys():
        return {name: float("inf") for name in came.keys() ^ wanted.keys()}
    found = {}
    for name, array in wanted.items():
        fits = came[name].shape == array.shape and np.isfinite(came[name]).all()
        found[name] = float(np.abs(came[name] - array).max() / np.abs(array).max()) if fits else float("inf")
    return found
