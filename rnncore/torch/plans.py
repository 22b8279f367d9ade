"""From PyTorch's parameters of one level to a layer's, and gradients back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cells import ProjectedLSTM
from ..layers import GRU, LSTM, Bidirectional, Elman, Layer
from ..layers.bidirectional import SUFFIX
from ..layers.recurrent import Recurrent

Arrays = dict[str, Any]


class Unguarded(Elman):
    """An Elman layer that hands on infinities and NaN, as PyTorch's does."""

    def bound(self) -> float | None:
        return None


class Options(NamedTuple):
    """What PyTorch's modules lack."""

    zoneout: float | tuple[float, ...]
    recurrent_dropout: float
    clip_step: float
    checkpoint_every: int | None


class Level(NamedTuple):
    """One level of a module: all that its layer depends on."""

    kind: str
    input_size: int
    hidden_size: int
    proj_size: int
    nonlinearity: str
    bidirectional: bool
    bias: bool
    dtype: torch.dtype
    options: Options


@dataclass(frozen=True)
class Plan:
    """A layer that belongs to no call; its parameters are tensors of the same shapes, in the same order.

    Calls clone the layer, so that several threads may use one plan.
    """

    name: str  # of the module
    layer: Layer
    dtype: np.dtype[Any]

    @cached_property
    def cells(self) -> tuple[Recurrent, ...]:
        """The recurrent layers, one for each direction."""
        layer = self.layer
        if isinstance(layer, Bidirectional):
            return layer.layer, layer.reverse
        assert isinstance(layer, Recurrent)
        return (layer,)

    @cached_property
    def states(self) -> int:
        """How many states one direction has."""
        return len(self.cells[0].state_names)

    @cached_property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of a direction's parameters end in."""
        return ("", SUFFIX)[: len(self.cells)]

    @cached_property
    def random(self) -> bool:
        """Whether a training pass may draw: masks, or a cell's own noise."""
        return True

    def state_shapes(self, rows: int) -> list[tuple[int, ...]]:
        """The shape of each state of each direction."""
        return [shape for cell in self.cells for shape in cell.state_shapes(rows)]

    def bound(self, params: Arrays, grads: Arrays, training: bool, rng: np.random.Generator) -> Layer:
        """The layer on these arrays."""
        layer = copied(self.layer)
        layer.training = training
        layer.bind(params, grads, self.dtype, rng)
        return layer

    def params(self, weights: Sequence[Tensor]) -> Arrays:
        """The layer's parameters, on the memory of the weights."""
        arrays = [weight.detach().numpy() for weight in weights]
        return dict(zip(self.layer.parameter_shapes(), arrays, strict=True))

    def gradients(self, weights: Sequence[Tensor]) -> tuple[list[Tensor], Arrays]:
        """Zeros for the gradients of the weights, and the layer's views of them."""
        tensors = [torch.zeros_like(weight) for weight in weights]
        return tensors, self.params(tensors)

    def finish(self, tensors: list[Tensor], grads: Arrays) -> list[Tensor]:
        """The gradients of the weights, once the layer has filled its views."""
        return tensors

    def state(self, parts: Sequence[Any]) -> Any:
        """The layer's state, or its gradient, of an array for each state of each direction."""
        if all(part is None for part in parts):
            return None
        count = self.states
        grouped = [parts[start : start + count] for start in range(0, len(parts), count)]
        states = [tuple(group) if count > 1 else group[0] for group in grouped]
        return tuple(states) if len(states) > 1 else states[0]

    def flat(self, state: Any) -> list[Any]:
        """The arrays of a state that the layer returned."""
        directions = state if len(self.suffixes) > 1 else (state,)
        return [part for own in directions for part in (own if self.states > 1 else (own,))]


@dataclass(frozen=True)
class LevelPlan(Plan):
    """The plan of a level of PyTorch's modules, whose two biases a layer has as one."""

    level: Level

    @cached_property
    def random(self) -> bool:
        return any(cell.zoneout or cell.recurrent_dropout for cell in self.cells)

    def params(self, weights: Sequence[Tensor]) -> Arrays:
        """The layer's parameters: views of the weights, sums of the two biases."""
        found: Arrays = {}
        arrays = iter([weight.detach().numpy() for weight in weights])
        for suffix in self.suffixes:
            found[f"weight_ih{suffix}"] = next(arrays)
            recurrent = found[f"weight_hh{suffix}"] = next(arrays)
            zeros = None if self.level.bias else np.zeros(len(recurrent), self.dtype)
            outer, inner = (zeros, zeros) if zeros is not None else (next(arrays), next(arrays))
            bias = outer + inner
            if self.level.kind == "GRU":  # the reset gate acts between the two biases of n
                start = 2 * self.level.hidden_size
                bias[start:] = outer[start:]
                found[f"bias_hn{suffix}"] = inner[start:]
            found[f"bias{suffix}"] = bias
            if self.level.proj_size:
                found[f"weight_hr{suffix}"] = next(arrays)
        return found

    def gradients(self, weights: Sequence[Tensor]) -> tuple[list[Tensor], Arrays]:
        """Zeros for the gradients of the weights, and the layer's views of them."""
        tensors: list[Tensor] = []
        found: Arrays = {}

        def room(name: str, like: Tensor) -> Tensor:
            tensor = torch.zeros_like(like, memory_format=torch.contiguous_format)
            found[name] = tensor.numpy()
            return tensor

        rest = iter(weights)
        for suffix in self.suffixes:
            tensors.append(room(f"weight_ih{suffix}", next(rest)))
            recurrent = next(rest)
            tensors.append(room(f"weight_hh{suffix}", recurrent))
            bias = room(f"bias{suffix}", recurrent[:, 0])
            if self.level.kind == "GRU":
                room(f"bias_hn{suffix}", recurrent[: self.level.hidden_size, 0])
            if self.level.bias:
                tensors += [bias, bias]
                next(rest), next(rest)
            if self.level.proj_size:
                tensors.append(room(f"weight_hr{suffix}", next(rest)))
        return tensors, found

    def finish(self, tensors: list[Tensor], grads: Arrays) -> list[Tensor]:
        """The gradients with those of ``bias_hh``, a tensor of its own, in place."""
        if self.level.bias:
            each = len(tensors) // len(self.suffixes)
            for number, suffix in enumerate(self.suffixes):
                inner = tensors[each * number + 2].clone()
                if self.level.kind == "GRU":
                    inner[2 * self.level.hidden_size :] = torch.from_numpy(grads[f"bias_hn{suffix}"])
                tensors[each * number + 3] = inner
        return tensors


def copied(layer: Any) -> Any:
    """A layer with attributes of its own, the objects in them shared."""
    clone = object.__new__(type(layer))
    clone.__dict__.update(layer.__dict__)
    if isinstance(layer, Bidirectional):
        clone.layer, clone.reverse = copied(layer.layer), copied(layer.reverse)
    return clone


@lru_cache(maxsize=512)
def plan_of(level: Level) -> LevelPlan:
    """The plan of a level."""
    inputs, units, options = level.input_size, level.hidden_size, level.options
    zoneout = list(options.zoneout) if isinstance(options.zoneout, tuple) else options.zoneout
    more: dict[str, Any] = {
        "zoneout": zoneout,
        "recurrent_dropout": options.recurrent_dropout,
        "checkpoint_every": options.checkpoint_every,
    }
    cell: Recurrent
    if level.proj_size:
        cell = ProjectedLSTM(inputs, units, level.proj_size, **more)
    elif level.kind == "LSTM":
        cell = LSTM(inputs, units, **more)
    elif level.kind == "GRU":
        cell = GRU(inputs, units, **more)
    else:
        cell = Unguarded(inputs, units, level.nonlinearity, **more)
    cell.clip_step = options.clip_step
    layer: Layer = Bidirectional(cell) if level.bidirectional else cell
    dtype = np.dtype(str(level.dtype).removeprefix("torch."))
    return LevelPlan(level.kind, layer, dtype, level)
