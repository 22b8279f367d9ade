"""Masks in the recurrence: recurrent dropout and zoneout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..brief import brief
from ..checks import check_number
from ..kernels.memory import empty
from .base import Array


@brief
@dataclass(slots=True)
class Masks:
    """What a pass drops and keeps, drawn once for it, and what the cell had before.

    With recurrent dropout the product W_hh h[t-1] takes drop * h[t-1]; with zoneout a state becomes
    keep * proposed + (1 - keep) * state before.
    """

    drop: Array | None  # (B, H), 0 or 1/(1-p); None without recurrent dropout
    entering: Array | None  # (T, B, H): drop * h[t-1], written forward
    #: for each state (T, B, H), or for all (1, B, H), the same at every step; () without zoneout
    keep: tuple[Array, ...]
    proposed: tuple[Array, ...]  # for each state (T, B, H): what the cell made of it, written forward
    work: Array | None  # (4, B, H), for the way back

    @classmethod
    def on(cls, drop: Array | None, keep: tuple[Array, ...], shape: tuple[int, ...], dtype: Any) -> Masks:
        """With room for a pass of this shape, (T, B, H)."""
        entering = None if drop is None else empty(shape, dtype)
        proposed = tuple(empty(shape, dtype) for _ in keep)
        return cls(drop, entering, keep, proposed, empty((4, *shape[1:]), dtype))

    def part(self, start: int, steps: int) -> Masks:
        """Those of the steps from ``start`` on, with room of its own."""
        keep = tuple(array if len(array) == 1 else array[start : start + steps] for array in self.keep)
        like = self.keep[0] if self.drop is None else self.drop
        return Masks.on(self.drop, keep, (steps, *like.shape[-2:]), like.dtype)


def draw_mask(
    shape: tuple[int, ...], p: float, dtype: np.dtype[Any], rng: np.random.Generator, scaled: bool = True
) -> Array:
    """0 with probability p an entry, else 1/(1-p), so that the mean is 1; or else 1 if not ``scaled``."""
    # Sixteen random bits an entry are enough for p and cost a quarter of a random float; the scale is that of
    # the probability that they really give, so that the mean is kept exactly.
    kept = 65536 - round(p * 65536)
    mask: Array = empty(shape, dtype)
    bits = np.frombuffer(rng.bytes(2 * mask.size), np.uint16)
    factor = dtype.type(65536 / max(kept, 1) if scaled else 1)
    np.multiply(bits.reshape(shape) < kept, factor, out=mask)
    return mask


def check_probability(name: str, value: Any) -> float:
    """``value`` as a float in [0, 1); TypeError or ValueError otherwise."""
    number = check_number(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} is {value}, but a probability in [0, 1) is wanted")
    return number


def check_zoneout(value: Any, states: tuple[str, ...]) -> list[float]:
    """One probability for each state, none if all are 0; TypeError or ValueError otherwise."""
    if isinstance(value, (list, tuple)):
        if len(value) != len(states):
            wanted = f"one number, or one for each of {', '.join(states)}"
            raise ValueError(f"zoneout is {value!r}, but {wanted}, is wanted")
        parts = zip(states, value, strict=True)
        chosen = [check_probability(f"zoneout's {name}", z) for name, z in parts]
    else:
        chosen = [check_probability("zoneout", value)] * len(states)
    return chosen if any(chosen) else []
