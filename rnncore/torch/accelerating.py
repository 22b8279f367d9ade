"""Make the recurrent modules of a model ours, and PyTorch's again."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .modules import GRU, LSTM, RNN

_OURS: dict[type, type] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


def accelerate(model: nn.Module) -> dict[str, str]:
    """Make every ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` of a model compute with rnncore.

    The modules stay the same objects, with the same parameters, hooks and buffers; only their class changes.
    Optimizers and references to them go on working.

    Parameters
    ----------
    model
        On the CPU; itself one of these modules, or with some inside.

    Returns
    -------
    dict
        For each recurrent module, by its name in the model, what was done: ``"accelerated"``, or
        ``"left: ..."`` with the reason.
    """
    return {
        name: _accelerate(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.RNNBase) and type(module) not in _THEIRS
    }


def _accelerate(module: Any) -> str:
    kind = type(module)
    if kind not in _OURS:
        return f"left: {kind.__name__} is a subclass with a forward pass of its own"
    for parameter in module.parameters():
        if parameter.device.type != "cpu":
            return f"left: its parameters are on {parameter.device}"
        if parameter.dtype not in (torch.float32, torch.float64):
            return f"left: its parameters are {parameter.dtype}"
    module.__class__ = _OURS[kind]
    return "accelerated"


def restore(model: nn.Module) -> dict[str, str]:
    """Make the modules that ``accelerate`` changed PyTorch's again.

    Parameters
    ----------
    model
        As given to ``accelerate``.

    Returns
    -------
    dict
        ``"restored"`` for each of them, by its name in the model, or ``"left: ..."`` for a module with
        options that PyTorch does not have.
    """
    found = {}
    for name, module in model.named_modules():
        theirs = _THEIRS.get(type(module))
        if theirs is None:
            continue
        if module.options != type(module).options:
            found[name] = f"left: PyTorch has no {module.options}"
        else:
            module.__class__ = theirs
            found[name] = "restored"
    return found
