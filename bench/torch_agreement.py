"""Random configurations of rnncore.torch's modules against PyTorch's in float64: the largest difference.

    python bench/torch_agreement.py --tries 200
"""

import argparse
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnncore.torch


def draw(rng):
    """A kind, constructor arguments, and an input."""
    kind = rng.choice(["RNN", "LSTM", "GRU"])
    units = rng.randint(1, 40)
    options = {
        "input_size": rng.randint(1, 40),
        "hidden_size": units,
        "num_layers": rng.randint(1, 3),
        "bidirectional": rng.random() < 0.5,
        "batch_first": rng.random() < 0.5,
        "bias": rng.random() < 0.7,
        "dtype": torch.float64,
    }
    if kind == "RNN":
        options["nonlinearity"] = rng.choice(["tanh", "relu"])
    if kind == "LSTM" and units > 1 and rng.random() < 0.3:
        options["proj_size"] = rng.randint(1, units - 1)
    return kind, options


def draw_input(rng, options):
    steps, rows = rng.randint(1, 30), rng.randint(1, 20)
    sizes = (rows, steps) if options["batch_first"] else (steps, rows)
    form = rng.choice(["full", "packed", "alone"])
    if form == "alone":
        return torch.randn(steps, options["input_size"], dtype=torch.float64).requires_grad_(), None
    x = torch.randn(*sizes, options["input_size"], dtype=torch.float64).requires_grad_()
    lengths = torch.tensor([rng.randint(1, steps) for _ in range(rows)])
    return x, lengths if form == "packed" else None


def results(module, x, lengths):
    """Outputs and gradients of a loss that weighs every number differently."""
    given = x
    if lengths is not None:
        given = pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted=False)
    y, state = module(given)
    found = [y if lengths is None else y.data, *(state if isinstance(state, tuple) else (state,))]
    loss = sum((part * torch.arange(part.numel()).view(part.shape).cos()).sum() for part in found)
    return found + list(torch.autograd.grad(loss, [x, *module.parameters()]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    worst, where = 0.0, None
    for _ in range(arguments.tries):
        kind, options = draw(rng)
        theirs = getattr(nn, kind)(**options)
        ours = getattr(rnncore.torch, kind)(**options)
        ours.load_state_dict(theirs.state_dict())
        x, lengths = draw_input(rng, options)
        for a, b in zip(results(theirs, x, lengths), results(ours, x, lengths), strict=True):
            difference = ((a - b).abs() / (1 + a.abs())).max().item()
            if not difference <= worst:
                worst, where = difference, (kind, options)
    print(f"{arguments.tries} configurations: largest difference, by 1 + |value|, {worst:.1e}: {where}")


if __name__ == "__main__":
    main()
