"""The numbers that every library gets, and whether what they computed is the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from race.grid import GATES, Case

Arrays = dict[str, np.ndarray]

# Of each array's largest magnitude. Libraries differ by rounding, 1e-5 or less; another order of gates,
# a bias that is missing or a step too few by 0.1 and more.
TOLERANCE = 1e-3


@dataclass
class Problem:
    """Input, upstream gradient and weights of one layer, float32, in PyTorch's order of the gates."""

    cell: str
    x: np.ndarray  # (T, B, I)
    dy: np.ndarray  # (T, B, H), one gradient for every step
    weights: Arrays  # weight_ih (GH, I), weight_hh (GH, H), bias (GH,); for a GRU also bias_hn (H,)


def draw(case: Case) -> Problem:
    """The same numbers in every process; weights as PyTorch draws its own, uniform within 1/sqrt(H)."""
    rng = np.random.default_rng(20240229)
    rows, bound = GATES[case.cell] * case.H, case.H**-0.5
    shapes = {"weight_ih": (rows, case.I), "weight_hh": (rows, case.H), "bias": (rows,)}
    if case.cell == "gru":
        shapes["bias_hn"] = (case.H,)
    weights = {}
    for name, shape in shapes.items():
        weights[name] = (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(bound)
    x = rng.standard_normal((case.T, case.B, case.I), dtype=np.float32)
    dy = rng.standard_normal((case.T, case.B, case.H), dtype=np.float32)
    return Problem(case.cell, x, dy, weights)


def differences(came: Arrays, wanted: Arrays) -> dict[str, float]:
    """For each array the largest difference over the largest magnitude; infinite where it does not fit."""
    if came.keys() != wanted.keys():
        return {name: float("inf") for name in came.keys() ^ wanted.keys()}
    found = {}
    for name, array in wanted.items():
        fits = came[name].shape == array.shape and np.isfinite(came[name]).all()
        found[name] = float(np.abs(came[name] - array).max() / np.abs(array).max()) if fits else float("inf")
    return found
