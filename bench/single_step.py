"""One step with gradients against PyTorch: ``python bench/single_step.py [--threads 2] [--dtype float64]``.

Decoders with attention, reinforcement learning and online learning call a layer for one step at a time, so
that every weight is used B times and no more. Both libraries run in turn in one process: forward, and
backward with the gradients of x and of all parameters. With ``--gradients fresh``, as in the race, rnncore
sets its gradients to zero first and PyTorch makes new arrays; with ``added`` both add to the gradients they
have, as where a step is one of several calls. The table gives, for each H, the ratio of PyTorch's time to
ours: geometric mean, least, and where.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch
from race import ours, pytorch
from race.grid import Case
from race.machine import processor
from race.problem import Problem, draw
from ratios import race

from rnncore import Network

CELLS = ("elman", "lstm", "gru")
BATCH, INPUTS, UNITS = (1, 3, 20, 64), (1, 12, 300), (300, 650, 1500)


class Ours(ours.Layer):
    """A network of one layer, in either type."""

    def __init__(self, problem: Problem, dtype: str) -> None:
        super().__init__("rnncore", problem)
        if dtype == "float64":
            params = self.net.params
            layer = ours.CELLS[problem.cell](problem.x.shape[2], problem.dy.shape[2])
            self.net = Network(layer, initialize=False, dtype=dtype)
            for name, weight in params.items():
                self.net.params[name][...] = weight

    def added(self) -> None:
        _, _, tape = self.net.forward(self.problem.x)
        self.net.backward(self.problem.dy, tape)


class Theirs(pytorch.Layer):
    """PyTorch's module, in either type."""

    def __init__(self, problem: Problem, dtype: str) -> None:
        super().__init__("torch", problem)
        if dtype == "float64":
            self.layer.double()
            self.x, self.dy = self.x.detach().double().requires_grad_(), self.dy.double()
            self.sources = [self.x, *self.layer.parameters()]

    def added(self) -> None:
        self.x.grad = None
        self.layer(self.x)[0].backward(self.dy)


def ratio(case: Case, dtype: str, gradients: str, budget: float) -> float:
    """PyTorch's median time over ours."""
    problem = draw(case)
    theirs = Theirs(problem, dtype)
    problem.x, problem.dy = problem.x.astype(dtype), problem.dy.astype(dtype)
    name = "training" if gradients == "fresh" else "added"
    us, them = race([getattr(Ours(problem, dtype), name), getattr(theirs, name)], budget, 15)
    return them / us


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="B 1 and 20, I 12 only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--gradients", choices=["fresh", "added"], default="fresh")
    parser.add_argument("--budget", type=float, default=0.25, help="seconds a case")
    parser.add_argument("--units", type=int, nargs="+", default=UNITS)
    options = parser.parse_args(arguments)
    versions = ours.start(options.threads) | pytorch.start(options.threads)
    machine = f"{processor()}; rnncore at level {versions['instruction set']}; PyTorch {versions['torch']}"
    how = f"{options.dtype}; threads: {options.threads}; gradients {options.gradients}"
    print(f"{time.strftime('%Y-%m-%d')}; {machine}; {how}")
    batch, inputs = ((1, 20), (12,)) if options.quick else (BATCH, INPUTS)
    print(f"{'':6}{'':6}" + "".join(f"{f'B{B} I{I}':>9}" for B, I in itertools.product(batch, inputs)))
    for units in options.units:
        found = {}
        for cell in CELLS:
            row = []
            for B, I in itertools.product(batch, inputs):
                case = Case(cell, "training", 1, B, I, units)
                found[f"{cell} B{B} I{I}"] = ratio(case, options.dtype, options.gradients, options.budget)
                row.append(f"{found[f'{cell} B{B} I{I}']:9.2f}")
            print(f"{cell:6}{f'H{units}':6}" + "".join(row), flush=True)
        worst = min(found, key=found.__getitem__)
        print(f"H {units}: geometric mean {statistics.geometric_mean(found.values()):.2f}, "
              f"least {found[worst]:.2f} ({worst})", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
