"""Any recurrent layer as a module."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checks import check_lengths
from ..layers import Bidirectional
from ..layers.recurrent import Recurrent as Cell
from .passes import run_level
from .plans import Plan

DTYPES = (torch.float32, torch.float64)


class Recurrent(nn.Module):
    """A recurrent layer of rnncore, such as a cell of the gallery or of your own, as a PyTorch module.

    Parameters
    ----------
    layer
        A recurrent layer in no network yet, such as ``rnncore.cells.MGU(3, 5)`` or
        ``Bidirectional(GRU(3, 5))``. The module keeps a copy. Its options, such as ``zoneout``,
        ``checkpoint_every``, ``learn_initial_state`` and ``clip_step``, are those of the layer.
    batch_first
        Whether x and y are ``(B, T, F)`` instead of ``(T, B, F)``.
    dtype
        ``torch.float32`` or ``torch.float64``; None is PyTorch's default.

    Notes
    -----
    Parameters have the layer's names and initial values; ``torch.manual_seed`` decides what is drawn.
    """

    def __init__(self, layer: Any, batch_first: bool = False, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if not isinstance(layer, (Cell, Bidirectional)):
            came = type(layer).__name__
            raise TypeError(f"layer is a {came}; expected a recurrent layer, such as MGU(3, 5)")
        if layer.rng is not None:
            raise ValueError(f"layer, {layer}, belongs to a network; expected a new one")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in DTYPES:
            raise TypeError(f"dtype is {dtype}; expected torch.float32 or torch.float64")
        self.layer = copy.deepcopy(layer)
        self.batch_first = batch_first
        for name, shape in self.layer.parameter_shapes().items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the layer's initial values."""
        params = {name: parameter.detach().numpy() for name, parameter in self.named_parameters()}
        for array in params.values():
            array.fill(0)
        self.layer.initialize(params, np.random.default_rng(int(torch.randint(2**62, ()))))

    def forward(self, input: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """y and the final state.

        Parameters
        ----------
        input
            ``(T, B, I)``, or ``(B, T, I)`` with ``batch_first``.
        state
            The initial state: h, ``(B, H)``, or a tuple of states in the layer's order; for
            ``Bidirectional`` the pair of both directions'. None for zeros, or for the learned ones.
        lengths
            Steps of each row, ``(B,)``; None where all rows have T.

        Raises
        ------
        TypeError, ValueError
            If tensors are not on the CPU or not of the parameters' dtype, or shapes do not fit.
        """
        if torch.compiler.is_compiling():
            return _uncompiled(self, input, state, lengths)
        weights = [getattr(self, name) for name in self.layer.parameter_shapes()]
        dtype = weights[0].dtype
        plan = Plan("Recurrent", self.layer, np.dtype(str(dtype).removeprefix("torch.")))
        states = [] if state is None else plan.flat(state)
        if torch.is_autocast_enabled("cpu"):
            input, states = input.to(dtype), [part.to(dtype) for part in states]
        for name, tensor in (("a parameter", weights[0]), ("input", input), *(("state", s) for s in states)):
            if tensor.device.type != "cpu":
                raise TypeError(f"{name} of rnncore.torch.Recurrent is on {tensor.device}; expected the CPU")
            if tensor.dtype != dtype or dtype not in DTYPES:
                wanted = dtype if dtype in DTYPES else "torch.float32 or torch.float64"
                raise TypeError(f"{name} of rnncore.torch.Recurrent is {tensor.dtype}; expected {wanted}")
        if input.dim() != 3:
            raise ValueError(f"input has {input.dim()} axes; expected 3")
        x = input.transpose(0, 1) if self.batch_first else input
        lengths = lengths.numpy() if isinstance(lengths, Tensor) else lengths
        own = check_lengths(lengths, x.shape[0], x.shape[1], "input")
        y, finals = run_level(plan, self.training, own, x, states, weights)
        return y.transpose(0, 1) if self.batch_first else y, plan.state(finals)

    def extra_repr(self) -> str:
        return f"{self.layer!r}, batch_first={self.batch_first}"


@torch.compiler.disable
def _uncompiled(module: Recurrent, input: Tensor, state: Any, lengths: Any) -> Any:
    """The pass in the middle of a compiled graph, which breaks here."""
    return module(input, state, lengths)
