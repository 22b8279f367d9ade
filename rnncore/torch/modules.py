"""PyTorch's recurrent modules, computed by our layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .passes import run_level
from .plans import Level, Options, Plan, plan_of


class _Module(nn.RNNBase):
    """What RNN, LSTM and GRU share; in front of PyTorch's class among the bases."""

    #: what PyTorch lacks: class attributes, so that an accelerated module, made by PyTorch, has them too
    options = Options(0.0, 0.0, math.inf, None)

    def __init__(
        self,
        *args: Any,
        zoneout: float | Sequence[float] = 0.0,
        recurrent_dropout: float = 0.0,
        clip_step: float = math.inf,
        checkpoint_every: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        chosen = tuple(zoneout) if isinstance(zoneout, Sequence) else zoneout
        if not clip_step > 0:
            raise ValueError(f"clip_step is {clip_step!r}; expected a number above 0")
        self.options = Options(chosen, recurrent_dropout, clip_step, checkpoint_every)
        if self.proj_size and self.options != _Module.options:
            raise ValueError(f"proj_size is {self.proj_size}; expected 0 together with {self.options}")
        self._plans()  # refuses options that are out of range

    def _plans(self) -> list[Plan]:
        """A plan for each level."""
        directions = 2 if self.bidirectional else 1
        dtype = self._flat_weights[0].dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"the weights of rnncore.torch.{self.mode} are {dtype}; expected torch.float32 or "
                "torch.float64: call module.float(), or restore(model)"
            )
        kind = "RNN" if self.mode.startswith("RNN") else self.mode
        nonlinearity = getattr(self, "nonlinearity", "")
        width = (self.proj_size or self.hidden_size) * directions
        return [
            plan_of(
                Level(
                    kind, width if level else self.input_size, self.hidden_size, self.proj_size,
                    nonlinearity, self.bidirectional, self.bias, dtype, self.options,
                )
            )
            for level in range(self.num_layers)
        ]  # fmt: skip

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Output and final state, as PyTorch's module gives them.

        Parameters
        ----------
        input
            ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, ``(T, I)`` without a batch, or a
            PackedSequence.
        hx
            The initial state, ``(num_layers * directions, B, H)``, for LSTM a pair of them; None for zeros.

        Raises
        ------
        TypeError
            If input, state or weights are not on the CPU, or not all float32 or all float64.
        """
        if torch.compiler.is_compiling():
            return _uncompiled(self, input, hx)
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        if torch.is_autocast_enabled("cpu"):
            own = self._flat_weights[0].dtype
            hx = _cast(hx, own)
            input = input.to(own) if packed else x.to(own)
            with torch.autocast("cpu", enabled=False):
                return self.forward(input, hx)
        plans = self._plans()
        self._check_tensors(x, hx)
        if packed:
            return self._forward_packed(plans, input, hx)
        if x.dim() not in (2, 3):
            raise ValueError(f"input has {x.dim()} axes; expected 3, or 2 without a batch")
        if 0 in x.shape:
            return super().forward(input, hx)
        alone = x.dim() == 2
        time_major = x.unsqueeze(1) if alone else x.transpose(0, 1) if self.batch_first else x
        states = _parts(hx)
        if alone:
            states = [self._with_batch(state) for state in states]
        y, finals = self._run(plans, time_major, states, None)
        if alone:
            return y.squeeze(1), self._joined([final.squeeze(1) for final in finals])
        return y.transpose(0, 1) if self.batch_first else y, self._joined(finals)

    def _with_batch(self, state: Tensor) -> Tensor:
        if state.dim() != 2:
            raise RuntimeError(
                f"For unbatched 2-D input, hx should also be 2-D but got {state.dim()}-D tensor"
            )
        return state.unsqueeze(1)

    def _forward_packed(self, plans: list[Plan], packed: PackedSequence, hx: Any) -> Any:
        padded, lengths = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
        states = _parts(hx)
        if packed.sorted_indices is not None:
            states = [state.index_select(1, packed.sorted_indices) for state in states]
        y, finals = self._run(plans, padded, states, lengths.numpy())
        if packed.unsorted_indices is not None:
            finals = [final.index_select(1, packed.unsorted_indices) for final in finals]
        data = pack_padded_sequence(y, lengths).data
        out = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return out, self._joined(finals)

    def _joined(self, finals: list[Tensor]) -> Any:
        return tuple(finals) if len(finals) > 1 else finals[0]

    def _run(
        self, plans: list[Plan], x: Tensor, states: list[Tensor], lengths: Any
    ) -> tuple[Tensor, list[Tensor]]:
        """All levels: x and y are ``(T, B, F)``, states ``(num_layers * directions, B, H)``."""
        self._check_shapes(x, states)
        directions = 2 if self.bidirectional else 1
        each = len(self._flat_weights) // self.num_layers
        finals: list[list[Tensor]] = []
        for level, plan in enumerate(plans):
            if level and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            own = [state[level * directions + d] for d in range(directions) for state in states]
            weights = self._flat_weights[level * each : (level + 1) * each]
            x, ends = run_level(plan, self.training, lengths, x, own, weights)
            count = plan.states
            finals += [ends[d * count : (d + 1) * count] for d in range(directions)]
        if len(finals) == 1:
            return x, [final.unsqueeze(0) for final in finals[0]]
        return x, [torch.stack(parts) for parts in zip(*finals, strict=True)]

    def _check_tensors(self, x: Tensor, hx: Any) -> None:
        weight = self._flat_weights[0]
        for name, tensor in (("input", x), *(("hx", state) for state in _parts(hx)), ("a weight", weight)):
            if tensor.device.type != "cpu":
                raise TypeError(
                    f"{name} of rnncore.torch.{self.mode} is on {tensor.device}; expected the CPU: move it "
                    "there, or restore(model)"
                )
            if tensor.dtype != weight.dtype:
                raise TypeError(f"{name} is {tensor.dtype}; expected {weight.dtype}, as the weights are")

    def _check_shapes(self, x: Tensor, states: list[Tensor]) -> None:
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        levels = self.num_layers * (2 if self.bidirectional else 1)
        if states and len(states) != (2 if self.mode == "LSTM" else 1):
            raise RuntimeError(f"hx has {len(states)} tensors; expected h, for LSTM the pair (h, c)")
        for state, width in zip(states, (self.proj_size or self.hidden_size, self.hidden_size), strict=False):
            wanted = (levels, x.shape[1], width)
            if tuple(state.shape) != wanted:
                raise RuntimeError(f"Expected hidden size {wanted}, got {list(state.shape)}")

    def extra_repr(self) -> str:
        plain = _Module.options._asdict()
        chosen = {name: value for name, value in self.options._asdict().items() if value != plain[name]}
        return ", ".join([super().extra_repr(), *(f"{name}={value}" for name, value in chosen.items())])


@torch.compiler.disable
def _uncompiled(module: _Module, input: Any, hx: Any) -> Any:
    """The pass in the middle of a compiled graph, which breaks here."""
    return module(input, hx)


def _parts(hx: Any) -> list[Tensor]:
    if hx is None:
        return []
    return list(hx) if isinstance(hx, (tuple, list)) else [hx]


def _cast(hx: Any, dtype: torch.dtype) -> Any:
    if hx is None:
        return None
    return tuple(part.to(dtype) for part in hx) if isinstance(hx, (tuple, list)) else hx.to(dtype)


class RNN(_Module, nn.RNN):
    """``torch.nn.RNN``, computed by rnncore on the CPU.

    Parameters
    ----------
    *args, **kwargs
        As in PyTorch.
    zoneout, recurrent_dropout
        Probabilities, in [0, 1): see `rnncore.layers.Recurrent`. ``torch.manual_seed`` decides what is drawn.
    clip_step
        Above 0: the largest norm of the gradient that a sample's step hands on to the step before.
    checkpoint_every
        Keep the tape in segments of so many steps, and run each again on the way back.
    """


class LSTM(_Module, nn.LSTM):
    """``torch.nn.LSTM``, computed by rnncore on the CPU.

    Parameters
    ----------
    *args, **kwargs
        As in PyTorch.
    zoneout, recurrent_dropout
        Probabilities, in [0, 1): see `rnncore.layers.Recurrent`. ``torch.manual_seed`` decides what is drawn.
    clip_step
        Above 0: the largest norm of the gradient that a sample's step hands on to the step before.
    checkpoint_every
        Keep the tape in segments of so many steps, and run each again on the way back.
    """


class GRU(_Module, nn.GRU):
    """``torch.nn.GRU``, computed by rnncore on the CPU.

    Parameters
    ----------
    *args, **kwargs
        As in PyTorch.
    zoneout, recurrent_dropout
        Probabilities, in [0, 1): see `rnncore.layers.Recurrent`. ``torch.manual_seed`` decides what is drawn.
    clip_step
        Above 0: the largest norm of the gradient that a sample's step hands on to the step before.
    checkpoint_every
        Keep the tape in segments of so many steps, and run each again on the way back.
    """
