"""What Elman, LSTM and GRU layers share: shapes, states, lengths, tapes. A cell adds its two kernel calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import initializers, kernels
from ..checks import check_array, check_lengths, check_positive_integer
from ..kernels.memory import empty
from .base import Array, Layer, State


@dataclass(slots=True)
class RecurrentTape:
    """What BPTT needs of one forward pass. States have their past in front: row t is "before step t"."""

    x: Array  # (T, B, I)
    lengths: NDArray[np.intp] | None  # (B,), None where all rows have T steps
    hidden: Array  # (1+T, B, H)


class Recurrent(Layer):
    """A recurrent layer of ``hidden_size`` units over inputs of ``input_size`` features.

    Parameters are ``weight_ih (G*H, I)``, ``weight_hh (G*H, H)`` and one ``bias (G*H,)``, gates in PyTorch's
    order; PyTorch's two biases add up to this one.

    Attributes
    ----------
    clip_step : float
        In BPTT, when the norm of the gradient that a sample's step t hands on to step t-1 exceeds this, it is
        rescaled to it; for cells with two states the norm is the joint one. Infinite, that is off, at first.
    clipped_steps : int
        How many (sample, step) pairs ``clip_step`` has rescaled so far.
    """

    gates: ClassVar[int]
    #: what the state consists of
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    backend: ModuleType = kernels

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = check_positive_integer("input_size", input_size)
        self.hidden_size = check_positive_integer("hidden_size", hidden_size)
        self.clip_step = math.inf
        self.clipped_steps = 0

    def config(self) -> dict[str, Any]:
        return {"input_size": self.input_size, "hidden_size": self.hidden_size}

    def features(self) -> tuple[int | None, int | None]:
        return self.input_size, self.hidden_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size), "bias": (rows,)}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Glorot uniform input weights, orthogonal recurrent weights (each gate's square), zero biases."""
        for gate in range(self.gates):
            rows = slice(gate * self.hidden_size, (gate + 1) * self.hidden_size)
            initializers.glorot_uniform(params["weight_ih"][rows], rng)
            initializers.orthogonal(params["weight_hh"][rows], rng)

    def check_state(self, argument: str, state: State, rows: int) -> None:
        self._split_state(argument, state, rows)

    def _start(
        self, x: Array, state: State, lengths: Any
    ) -> tuple[NDArray[np.intp] | None, tuple[Array | None, ...]]:
        """Check all that came; returns lengths and the initial state's arrays, None where it is zero."""
        self.require_bound()
        check_array("x", x, self.dtype, "TBI", (None, None, self.input_size))
        steps, rows = x.shape[:2]
        if not steps or not rows:
            raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
        lengths = check_lengths(lengths, steps, rows)
        parts = self._split_state("state", state, rows)
        return lengths, parts

    def _split_state(self, argument: str, state: State, rows: int) -> tuple[Array | None, ...]:
        """The arrays (B, H) of a state or its gradient, checked."""
        names = self.state_names
        if state is None:
            return (None,) * len(names)
        parts = (state,) if len(names) == 1 else state
        if not isinstance(parts, tuple) or len(parts) != len(names):
            wanted = f"a tuple ({', '.join(names)})"
            raise TypeError(f"{argument} is a {type(state).__name__}, but {wanted} is wanted")
        for name, part in zip(names, parts, strict=True):
            label = argument if len(names) == 1 else f"{argument}'s {name}"
            check_array(label, part, self.dtype, "BH", (rows, self.hidden_size))
        return parts

    def _states(self, steps: int, rows: int, initial: Array | None) -> Array:
        """Room for the states of all steps (1+T, B, H), the initial one in row 0."""
        states: Array = empty((steps + 1, rows, self.hidden_size), self.dtype)
        states[0] = 0 if initial is None else initial
        return states

    def _final(self, states: Array, lengths: NDArray[np.intp] | None) -> Array:
        """Each row's state after its own last step, (B, H), as a copy."""
        final: Array = states[-1].copy() if lengths is None else states[lengths, np.arange(len(lengths))]
        return final

    def _state_gradient(self, part: Array | None, rows: int) -> Array:
        """A fresh (B, H) gradient of a state, which the kernel turns from final to initial in place."""
        return np.zeros((rows, self.hidden_size), self.dtype) if part is None else part.copy()

    def _scratch(self, steps: int, rows: int) -> Array:
        """Working memory for the kernels, (N,)."""
        inputs, units = self.input_size, self.hidden_size
        size = self.backend.scratch_size(steps, rows, inputs, units, self.gates, self.dtype)
        scratch: Array = empty((size,), self.dtype)
        return scratch

    def _check_upstream(self, dy: Array, tape: Any) -> None:
        self.require_tape(tape)
        check_array("dy", dy, self.dtype, "TBH", (*tape.x.shape[:2], self.hidden_size))
