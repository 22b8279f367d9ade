"""A layer as a function that autograd knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .plans import LevelPlan, Plan

_UNUSED = np.random.default_rng(0)  # for passes that draw nothing


def run_level(
    plan: Plan, training: bool, lengths: Any, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """y and the final states of one layer.

    Parameters
    ----------
    plan
        Of the layer.
    training
        Whether recurrent dropout and zoneout draw.
    lengths
        ``intp (B,)``, or None.
    x
        ``(T, B, I)``.
    states
        For each direction each initial state, ``(B, H)``; none where all are zero.
    weights
        In the plan's order.
    """
    tensors = [tensor.contiguous() for tensor in (x, *states, *weights)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        y, *finals = _Level.apply(plan, training, lengths, len(states), *tensors)
        return y, finals
    arrays, params = _split(plan, len(states), tensors)
    y, finals, _ = _forward(plan, training, lengths, arrays, params, record=False)
    return y, finals


def _split(plan: Plan, count: int, tensors: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
    """Arrays on the memory of x and the states, and the layer's parameters."""
    arrays = [tensor.detach().numpy() for tensor in tensors[: count + 1]]
    return arrays, plan.params(tensors[count + 1 :])


def _forward(
    plan: Plan, training: bool, lengths: Any, arrays: list[Any], params: dict[str, Any], record: bool
) -> tuple[Tensor, list[Tensor], Any]:
    rng = _UNUSED
    if training and plan.random:  # torch.manual_seed decides
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
    layer = plan.bound(params, params, training, rng)  # forward writes no gradients
    y, state, tape = layer.forward(arrays[0], plan.state(arrays[1:]), lengths, record)
    return torch.from_numpy(y), [torch.from_numpy(part) for part in plan.flat(state)], tape


class _Level(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, training: bool, lengths: Any, count: int, *tensors: Tensor) -> Any:
        arrays, params = _split(plan, count, tensors)
        y, finals, tape = _forward(plan, training, lengths, arrays, params, record=True)
        ctx.set_materialize_grads(False)
        # The tape holds their memory; saved, autograd refuses to go back once they were changed in place.
        ctx.save_for_backward(y, *tensors)
        ctx.call = plan, training, count, params, tape
        return y, *finals

    @staticmethod
    def backward(ctx: Any, *received: Tensor | None) -> Any:
        with torch.no_grad():
            found = _backward(ctx, *received)
        if not torch.is_grad_enabled():
            return found
        plan = ctx.call[0]
        advice = f": use torch.nn.{plan.name}, or restore(model)" if isinstance(plan, LevelPlan) else ""
        message = f"rnncore.torch.{plan.name} has no second derivative{advice}"
        refuse = torch._C._functions.DelayedError(message.encode(), len(found))
        fresh = [None if part is None else part.detach().requires_grad_() for part in found]
        return refuse(*fresh)


def _backward(ctx: Any, dy: Tensor | None, *dstates: Tensor | None) -> tuple[Tensor | None, ...]:
    plan, training, count, params, tape = ctx.call
    y, x, *rest = ctx.saved_tensors
    wanted = ctx.needs_input_grad[4:]
    tensors, grads = plan.gradients(rest[count:])
    layer = plan.bound(params, grads, training, _UNUSED)
    dy = torch.zeros_like(y) if dy is None else dy.contiguous()
    parts: list[Any] = [None] * len(dstates)
    if any(part is not None for part in dstates):
        shapes = plan.state_shapes(x.shape[1])
        parts = [
            np.zeros(shape, plan.dtype) if part is None else part.contiguous().numpy()
            for part, shape in zip(dstates, shapes, strict=True)
        ]
    dx, dinitial = layer.backward(dy.numpy(), tape, plan.state(parts), wanted[0])
    initial = plan.flat(dinitial)[:count]
    found: list[Tensor | None] = [None if dx is None else torch.from_numpy(dx)]
    found += [torch.from_numpy(part) for part in initial]
    found += plan.finish(tensors, grads)
    return (None,) * 4 + tuple(part if want else None for part, want in zip(found, wanted, strict=True))
