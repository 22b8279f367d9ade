"""rnncore.torch's modules beside PyTorch's, in one process, turn by turn: medians of microseconds a call.

    python bench/torch_modules.py --threads 1
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import rnncore
import rnncore.torch

SHAPES = [  # T, B, I, H
    (1, 1, 32, 32),
    (100, 1, 64, 64),
    (50, 16, 32, 32),
    (100, 32, 64, 128),
]


def seconds(call, times):
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def compare(calls, rounds):
    """The median time of each call."""
    single = [min(seconds(call, 1) for _ in range(3)) for call in calls]
    times = max(1, round(0.02 / max(single)))
    found = [[seconds(call, times) for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*found, strict=True)]


def step(module, x):
    def call():
        module.zero_grad()
        output = module(x)[0]
        (output.data if isinstance(output, PackedSequence) else output).sum().backward()

    return call


def inference(module, x):
    def call():
        with torch.no_grad():
            module(x)

    return call


def inputs(steps, rows, features):
    """One batch of full length, and one packed with lengths spread evenly from 1 to T."""
    x = torch.randn(steps, rows, features)
    yield "", x
    if rows > 1:
        lengths = torch.linspace(steps, 1, rows).long()
        yield "packed", pack_padded_sequence(x, lengths)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rnncore.set_num_threads(options.threads)
    print("| module | T, B, I, H | call | PyTorch us | rnncore us | times as fast |")
    print("|---|---|---|---|---|---|")
    for kind in ("LSTM", "GRU", "RNN"):
        ratios = {"": [], "packed": []}
        for shape in SHAPES:
            steps, rows, features, units = shape
            theirs = getattr(nn, kind)(features, units)
            ours = getattr(rnncore.torch, kind)(features, units)
            ours.load_state_dict(theirs.state_dict())
            for label, x in inputs(steps, rows, features):
                for name, make in (("step", step), ("inference", inference)):
                    a, b = compare([make(theirs, x), make(ours, x)], options.rounds)
                    ratios[label].append(a / b)
                    call = f"{kind} | {', '.join(map(str, shape))} | {label} {name}"
                    print(f"| {call} | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f} |")
        for label, found in ratios.items():
            mean = statistics.geometric_mean(found)
            print(f"| {kind} | geometric mean | {label or 'full'} | | | {mean:.2f} |", flush=True)


if __name__ == "__main__":
    main()
