"""Clippers: each bounds the gradient in one way, in place, and returns what it measured before.

By value and by norm they act on the flat gradient after backpropagation; per time step the recurrent layers
act inside it.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from . import kernels
from .checks import check_real
from .params import Array, Params


def check_flat(name: str, value: Any, like: Array | None = None) -> None:
    """Refuse all but a contiguous, writable 1-D array of float32 or float64, alike ``like`` if given.

    Raises
    ------
    TypeError
        If it is no array, or of another type.
    ValueError
        If its shape or memory order is another one.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, but a NumPy array is wanted")
    if value.dtype.char not in "fd":
        raise TypeError(f"{name} is {value.dtype}, but float32 or float64 is wanted")
    if value.ndim != 1:
        raise ValueError(f"{name} has shape {value.shape}, but (P,) is wanted, such as net.grads.flat")
    if not value.flags.carray:
        raise ValueError(
            f"{name} is not contiguous, aligned and writable, but it must be, to be changed in place"
        )
    if like is not None:
        if value.dtype != like.dtype:
            raise TypeError(f"{name} is {value.dtype}, but the parameters are {like.dtype}")
        if value.size != like.size:
            raise ValueError(f"{name} holds {value.size} numbers, but there are {like.size} parameters")


class Clipper:
    """What all clippers have: a threshold above 0 (infinite: only measure), and counts of what they did.

    Attributes
    ----------
    calls, clipped : int
        How often it was called, and how often it changed something.
    factors : float
        Sum over those times of threshold / measured, the factor by which what was too long was shortened.
    """

    #: whether it is called with gradients by name, a Params, in place of the flat array
    takes_names: ClassVar[bool] = False
    #: the largest measure that it acts on
    most: ClassVar[float] = float(np.finfo(np.float64).max)
    backend: ModuleType = kernels

    def __init__(self, threshold: float) -> None:
        if not check_real("threshold", threshold) > 0:
            raise ValueError(f"threshold is {threshold}, but more than 0 is wanted; infinite only measures")
        self.threshold = float(threshold)
        self.calls = 0
        self.clipped = 0
        self.factors = 0.0

    @property
    def mean_factor(self) -> float:
        """How strongly it acted where it did: the mean of ``factors``, 1 where it never has."""
        return self.factors / self.clipped if self.clipped else 1.0

    def state(self) -> dict[str, Any]:
        """The counts, for a checkpoint."""
        return {"calls": self.calls, "clipped": self.clipped, "factors": self.factors}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the counts that ``state`` returned."""
        self.calls, self.clipped = int(state["calls"]), int(state["clipped"])
        self.factors = float(state["factors"])

    def _count(self, measured: float) -> float:
        self.calls += 1
        self._acted(measured)
        return measured

    def _acted(self, measured: float) -> None:
        """Count what came to the clipper once more, if it was too long."""
        if self.threshold < measured <= self.most:
            self.clipped += 1
            self.factors += self.threshold / measured

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.threshold:g})"


class ClipNorm(Clipper):
    """Scales the whole gradient to norm ``threshold`` where its L2 norm exceeds it.

    Called with the flat gradient ``(P,)``; returns the norm before. A norm that is NaN or infinite scales
    nothing. (Pascanu, Mikolov & Bengio, 2013)
    """

    def __call__(self, grads: Array) -> float:
        check_flat("grads", grads)
        return self._count(self.backend.clip_norm(grads, self.threshold))


class ClipValue(Clipper):
    """Moves every entry beyond ±``threshold`` to that bound (Graves, 2013).

    Called with the flat gradient ``(P,)``; returns the largest absolute entry before, NaN if
    there was a NaN, which stays.
    """

    most = math.inf

    def __call__(self, grads: Array) -> float:
        check_flat("grads", grads)
        return self._count(self.backend.clip_value(grads, self.threshold))


class ClipParameter(Clipper):
    """Scales each parameter's gradient by itself to norm ``threshold`` where its L2 norm exceeds it.

    Called with gradients by name, ``net.grads``; returns the largest norm before. One gate's explosion then
    leaves other layers' gradients as they are, and the direction of the whole is not kept. ``calls`` counts
    calls, ``clipped`` and ``factors`` count parameters. A norm that is NaN or infinite scales nothing.
    """

    takes_names = True

    def __call__(self, grads: Params) -> float:
        if not isinstance(grads, Params):
            came = type(grads).__name__
            raise TypeError(f"grads is a {came}, but net.grads, gradients by name, is wanted")
        self.calls += 1
        largest = 0.0
        for view in grads.values():
            norm = self.backend.clip_norm(view.reshape(-1), self.threshold)
            self._acted(norm)
            largest = norm if norm > largest or math.isnan(norm) else largest
        return largest


class ClipStep(Clipper):
    """Rescales, inside backpropagation through time, each sample's gradient that step t hands on to step t-1.

    A setting, not a function: the Trainer gives it to the recurrent layers of a network, which act by it;
    ``clipped`` and ``factors`` count their interventions, ``calls`` the updates.

    Parameters
    ----------
    threshold
        Largest norm that passes unchanged, above 0; infinite is off.
    """

    def apply(self, layers: tuple[Any, ...]) -> None:
        """Set the threshold in every layer that can clip per step.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        able = [layer for layer in layers if hasattr(layer, "clip_step")]
        if not able:
            raise ValueError("clip is a ClipStep, but the network has no recurrent layer that clips per step")
        for layer in able:
            layer.clip_step = self.threshold


def switch_off_step_clipping(layers: tuple[Any, ...]) -> None:
    """Let every recurrent layer pass its gradient on unclipped."""
    for layer in layers:
        if hasattr(layer, "clip_step"):
            layer.clip_step = math.inf
