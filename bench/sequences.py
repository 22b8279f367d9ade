"""Rows of different length, and both directions: ``python -m bench.sequences [--quick]``.

Training steps of one layer (forward, squared error, backward, norm clipping, Adam) at T100 B32 I64 H128,
float32, on one thread, the contestants in turn within one process; x is data, so that neither library is
asked for its gradient. Three tables: rows of lengths drawn
uniformly from 1 to T against rows that all have T; the same ragged rows against PyTorch's packed path, where
PyTorch is installed; a Bidirectional layer against two plain ones, and recurrent dropout and zoneout against
neither.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # a script, a module and the benchmarks find it alike

from ratios import processor, race
from workloads import CELLS, MIDDLE, Shape, Step, one_thread

from rnncore import Bidirectional, Network, SquaredError
from rnncore.kernels import dispatch

RAGGED_AT_MOST = 0.6  # of the step on full rows
PACKED_AT_LEAST = 8.0  # times the speed of PyTorch's packed path


def uniform_lengths(shape: Shape, seed: int = 0) -> np.ndarray:
    """Lengths drawn uniformly from 1 to T, unsorted."""
    return np.random.default_rng(seed).integers(1, shape.T + 1, shape.B)


def training_step(layer, shape: Shape, lengths=None) -> Callable[[], None]:
    """One training step of the layer, drawn to random targets."""
    rng = np.random.default_rng(0)
    net = Network(layer)
    x = rng.standard_normal((shape.T, shape.B, shape.I)).astype(np.float32)
    target = rng.standard_normal((shape.T, shape.B, net.layers[0].features()[1])).astype(np.float32)
    return Step(net, SquaredError(), x, target, "kernels", lengths, input_gradient=False).train


def torch_step(cell: str, shape: Shape, lengths: np.ndarray) -> Callable[[], None]:
    """The same in PyTorch on a packed sequence; the loss is taken on its outputs as they are, packed."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    torch.set_num_threads(1)
    torch.manual_seed(0)
    peer = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](shape.I, shape.H)
    optimizer = torch.optim.Adam(peer.parameters(), lr=0.0)
    x, counts = torch.randn(shape.T, shape.B, shape.I), torch.tensor(lengths)
    target = torch.randn(int(lengths.sum()), shape.H)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        y, _ = peer(pack_padded_sequence(x, counts, enforce_sorted=False))
        loss = 0.5 * (y.data - target).square().sum() / len(target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()

    return step


def ragged_table(shape: Shape, budget: float, rounds: int) -> None:
    print(f"\nrows of lengths 1 ... T against full rows, {shape}; ms a training step")
    share = uniform_lengths(shape).mean() / shape.T
    print(f"{'':8}{'full':>9}{'ragged':>9}{'ratio':>8}   ({share:.2f} of the steps are there)")
    for cell, layer in CELLS.items():
        steps = [
            training_step(layer(shape.I, shape.H), shape, lengths)
            for lengths in (None, uniform_lengths(shape))
        ]
        full, ragged = race(steps, budget, rounds)
        print(
            f"{cell:8}{1e3 * full:9.3f}{1e3 * ragged:9.3f}{ragged / full:8.2f}   "
            f"(at most {RAGGED_AT_MOST})",
            flush=True,
        )


def packed_table(shape: Shape, budget: float, rounds: int) -> None:
    try:
        import torch
    except ImportError:
        print("\nPyTorch is not installed: no comparison with its packed path")
        return
    print(f"\nthe same ragged rows against PyTorch {torch.__version__}'s packed path; ms a training step")
    print(f"{'':8}{'rnncore':>9}{'PyTorch':>9}{'ratio':>8}")
    lengths = uniform_lengths(shape)
    for cell, layer in CELLS.items():
        steps = [training_step(layer(shape.I, shape.H), shape, lengths), torch_step(cell, shape, lengths)]
        ours, theirs = race(steps, budget, rounds)
        print(
            f"{cell:8}{1e3 * ours:9.3f}{1e3 * theirs:9.3f}{theirs / ours:8.1f}   "
            f"(at least {PACKED_AT_LEAST:.0f})",
            flush=True,
        )


def direction_table(shape: Shape, budget: float, rounds: int) -> None:
    print(f"\nboth directions against two plain layers, masks against none, {shape}; times the plain step")
    print(f"{'':8}{'plain ms':>9}{'concat/2':>10}{'sum/2':>8}{'dropout':>9}{'zoneout':>9}")
    for cell, layer in CELLS.items():
        layers = [
            layer(shape.I, shape.H),
            Bidirectional(layer(shape.I, shape.H)),
            Bidirectional(layer(shape.I, shape.H), merge="sum"),
            layer(shape.I, shape.H, recurrent_dropout=0.25),
            layer(shape.I, shape.H, zoneout=0.1),
        ]
        plain, concat, added, dropout, zoneout = race(
            [training_step(layer, shape) for layer in layers], budget, rounds
        )
        print(
            f"{cell:8}{1e3 * plain:9.3f}{concat / plain / 2:10.2f}{added / plain / 2:8.2f}"
            f"{dropout / plain:9.2f}{zoneout / plain:9.2f}",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args(arguments)
    budget, rounds = (2.0, 9) if options.quick else (10.0, 51)
    print(f"{time.strftime('%Y-%m-%d')}; {processor()}; level {dispatch.level()}; float32; one thread")
    with one_thread():
        for table in (ragged_table, packed_table, direction_table):
            table(MIDDLE, budget, rounds)


if __name__ == "__main__":
    main()
