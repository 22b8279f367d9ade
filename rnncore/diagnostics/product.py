"""The singular values of a long product of matrices, none of them lost to overflow, underflow or
cancellation.

The product is kept as Q D U: Q with orthonormal columns, D a diagonal held as logarithms, U upper triangular
with ones on its diagonal. Each matrix is multiplied onto Q, and the triangle of the QR factorisation that
follows is taken up by D and U (Bojanczyk, Ewerbring, Luk & Van Dooren, 1991). From a random orthogonal start
D comes out in falling order, so that every factor that U takes up is at most of order one.

At the end the rows of D U, whose lengths may differ by hundreds of decades, are made orthogonal by plane
rotations (Hestenes, 1958). Rotations leave small rows as exact as large ones (Demmel & Veselic, 1992), and
with lengths as logarithms no step of theirs can overflow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .common import Array

SWEEPS = 60  # far more than are ever needed: some ten
LARGEST = 600.0  # exponent that a double stands with room to spare


class Product:
    """A growing product of matrices (B, n', n), B of them side by side.

    Parameters
    ----------
    rows, size
        B and n.
    columns
        How many columns of the start are followed: n, or fewer.
    """

    def __init__(self, rows: int, size: int, columns: int) -> None:
        rng = np.random.default_rng(0)
        start, _ = np.linalg.qr(rng.standard_normal((size, columns)))
        self.q: Array = np.broadcast_to(start, (rows, size, columns))
        self.logs = np.zeros((rows, columns))
        self.u: Array = np.broadcast_to(np.eye(columns), (rows, columns, columns)).copy()
        self._q, self._r = self.q, self.u

    def multiply(self, apply: Callable[[Array], Array], keep: bool = True) -> Array:
        """Multiply from the left by what ``apply`` does to Q (B, n, columns); returns the logarithms of the
        triangle's diagonal, (B, columns). With ``keep=False`` U is not followed."""
        self.q, r = np.linalg.qr(apply(self.q))
        diagonal = np.einsum("bii->bi", r)
        with np.errstate(divide="ignore"):
            grown: Array = np.log(np.abs(diagonal))
        sign = np.where(diagonal < 0, -1.0, 1.0)
        self.q = self.q * sign[:, None, :]
        if keep:
            self._take_up(r * sign[:, :, None], diagonal * sign)
        self.logs = self.logs + grown
        return grown

    def _take_up(self, r: Array, diagonal: Array) -> None:
        """U = (r D)^-1 R D U, entry by entry of R: R[j, l] D[l] / (R[j, j] D[j])."""
        safe = np.where(diagonal > 0, diagonal, 1.0)
        logs = np.where(np.isfinite(self.logs), self.logs, 0.0)
        gone = ~np.isfinite(self.logs) | (diagonal <= 0)  # what a matrix has mapped to 0 stays 0
        ratio = np.exp(np.minimum(logs[:, None, :] - logs[:, :, None], LARGEST))
        factor = np.triu(r / safe[:, :, None] * ratio, 1)
        factor[np.broadcast_to(gone[:, :, None], factor.shape)] = 0
        factor[np.broadcast_to(~np.isfinite(self.logs)[:, None, :], factor.shape)] = 0
        self.u = self.u + factor @ self.u

    def log_singular_values(self) -> Array:
        """Logarithms of the product's singular values, (B, columns), falling; -inf for 0."""
        values = [rotate(u, logs) for u, logs in zip(self.u, self.logs, strict=True)]
        return -np.sort(-np.stack(values), axis=1)


def rotate(u: Array, logs: Array) -> Array:
    """Logarithms of the singular values of exp(logs)[:, None] * u, (n, n), by one-sided Jacobi rotations."""
    alive = np.flatnonzero(np.isfinite(logs))
    result = np.full(len(logs), -np.inf)
    if not len(alive):
        return result
    order = alive[np.argsort(-logs[alive], kind="stable")]
    length = np.linalg.norm(u[order], axis=1)
    rows, scale = u[order] / length[:, None], logs[order] + np.log(length)
    count = len(order)
    tolerance = 1e-15 * count
    for _ in range(SWEEPS):
        largest = 0.0
        for p, q in _rounds(count):
            largest = max(largest, _rotate_pairs(rows, scale, p, q))
        if largest <= tolerance:
            break
    result[: len(order)] = scale
    return result


def _rounds(count: int) -> list[tuple[Array, Array]]:
    """All pairs p < q of so many players, in rounds in which each plays once."""
    players = list(range(count + count % 2))
    rounds = []
    for _ in range(max(len(players) - 1, 0)):
        half = len(players) // 2
        pairs = [sorted(pair) for pair in zip(players[:half], reversed(players[half:]), strict=True)]
        kept = np.array([pair for pair in pairs if pair[1] < count]).reshape(-1, 2)
        if len(kept):
            rounds.append((kept[:, 0], kept[:, 1]))
        players = [players[0], players[-1], *players[1:-1]]
    return rounds


def _rotate_pairs(rows: Array, scale: Array, p: Array, q: Array) -> float:
    """Make the rows p and q of each pair orthogonal, the longer one first; returns the largest cosine found.

    With rows e^l u, rho = e^(l_q - l_p) <= 1 and cosine c: tan 2 theta = 2 c rho / (1 - rho^2). The longer
    row becomes cos u_p + sin rho u_q, the other one cos u_q - (sin / rho) u_p, where sin / rho stays bounded.
    """
    swap = scale[q] > scale[p]
    long, short = np.where(swap, q, p), np.where(swap, p, q)
    a, b = rows[long], rows[short]
    cosine = np.einsum("ij,ij->i", a, b)
    rho = np.exp(np.maximum(scale[short] - scale[long], -LARGEST))
    rest = (1 - rho) * (1 + rho)
    with np.errstate(invalid="ignore"):  # 0/0 where the cosine is 0
        over = 2 * cosine / (rest + np.hypot(rest, 2 * cosine * rho))  # tan theta / rho
    over = np.where(cosine == 0, 0.0, over)
    tangent = over * rho
    cos = 1 / np.sqrt(1 + tangent * tangent)
    first = cos[:, None] * a + (cos * tangent * rho)[:, None] * b
    second = cos[:, None] * b - (cos * over)[:, None] * a
    for place, row in ((long, first), (short, second)):
        length = np.linalg.norm(row, axis=1)
        length = np.where(length > 0, length, 1.0)
        rows[place] = row / length[:, None]
        scale[place] += np.log(length)
    return float(np.abs(cosine).max(initial=0))
