"""PyTorch: its fused recurrent modules, gradients by autograd, inference in inference mode."""

from __future__ import annotations

from collections.abc import Callable

import torch

from race.problem import Arrays, Problem

CELLS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def start(threads: int) -> dict[str, str]:
    """Set the number of threads; returns versions."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    return {"torch": torch.__version__}


class Layer:
    """nn.RNN (tanh), nn.LSTM or nn.GRU. PyTorch has two biases: the second holds bias_hn, and zeros."""

    def __init__(self, library: str, problem: Problem) -> None:
        self.cell, self.units = problem.cell, problem.dy.shape[2]
        both = problem.reverse is not None
        self.layer = CELLS[problem.cell](problem.x.shape[2], self.units, bidirectional=both)
        self.take("_l0", problem.weights)
        if problem.reverse is not None:
            self.take("_l0_reverse", problem.reverse)
        self.fixed = torch.from_numpy(problem.x)
        self.x = self.fixed.clone().requires_grad_()
        self.dy = torch.from_numpy(problem.dy)
        self.sources = [self.x, *self.layer.parameters()]

    def take(self, suffix: str, arrays: Arrays) -> None:
        """Give the parameters with this suffix these values."""
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.no_grad():
            getattr(self.layer, f"weight_ih{suffix}").copy_(weights["weight_ih"])
            getattr(self.layer, f"weight_hh{suffix}").copy_(weights["weight_hh"])
            getattr(self.layer, f"bias_ih{suffix}").copy_(weights["bias"])
            bias = getattr(self.layer, f"bias_hh{suffix}").zero_()
            if "bias_hn" in weights:
                bias[-self.units :] = weights["bias_hn"]

    def inference(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.layer(self.fixed)[0]

    def training(self) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        y, _ = self.layer(self.x)
        return y, torch.autograd.grad(y, self.sources, self.dy)

    def arrays(self, mode: str) -> Arrays:
        if mode == "inference":
            return {"y": self.inference().numpy()}
        y, gradients = self.training()
        dx, weight_ih, weight_hh, bias, bias_hh = (gradient.numpy() for gradient in gradients)
        named = {"dx": dx, "weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
        named["y"] = y.detach().numpy()
        return {**named, "bias_hn": bias_hh[-self.units :]} if self.cell == "gru" else named


def product(size: int) -> Callable[[], object]:
    """PyTorch's sgemm of two square matrices."""
    a, b = torch.rand(2, size, size)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
