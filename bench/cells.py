"""Cells written as their equations: ``python bench/cells.py [--quick] [own] [peers] [scans]``.

Training steps in float32 on one thread and one core, the contestants in turn within one process; processor
time, so that a busy machine disturbs it less. A training step is forward, backward from a gradient given for
every step of y, and the gradients of x and of all parameters.

own    an LSTM and a GRU as a user would write them against the built-in ones; with ``compile()`` too, where
       there is a C compiler
peers  the minimal gated unit and the LSTM with layer normalization against PyTorch (a loop over steps, and
       ``torch.compile`` of the step or of the whole sequence) and JAX (``lax.scan`` under ``jit``), with the
       time of their first calls; what is not installed is left out
scans  SRU, MinGRU and others without a recurrent product against our own LSTM of equal size, over many steps
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before BLAS and JAX are there: one core, one thread, as bench/race has it
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # a script, a module and the benchmarks find it alike

from ratios import processor, race
from workloads import MIDDLE, Shape, one_thread

from rnncore import GRU, LSTM, Network, cells
from rnncore.cells import Cell, sigmoid, tanh
from rnncore.kernels import dispatch

TOLERANCE = 1e-3  # of an array's largest magnitude, as in bench/race


class OwnLSTM(Cell):
    """What a user writes for an LSTM."""

    def step(self, x, h, c):
        i = sigmoid(self.linear("i", x, h))
        f = sigmoid(self.linear("f", x, h, bias=1.0))
        g = tanh(self.linear("g", x, h))
        o = sigmoid(self.linear("o", x, h))
        c = f * c + i * g
        return o * tanh(c), c


class OwnGRU(Cell):
    """What a user writes for a GRU."""

    def step(self, x, h):
        r = sigmoid(self.linear("r", x, h))
        z = sigmoid(self.linear("z", x, h))
        n = tanh(self.linear("n", x) + r * self.linear("hn", h))
        return (1 - z) * n + z * h


class Ours:
    """A network of one layer with its numbers."""

    def __init__(self, layer: Any, shape: Shape) -> None:
        rng = np.random.default_rng(0)
        self.net = Network(layer, seed=1)
        self.layer = self.net.layers[0]
        for name, value in self.layer.params.items():
            if name.startswith("gain_"):  # at 1, rounding grows from step to step, and no two libraries agree
                value *= 0.5
        self.x = rng.standard_normal((shape.T, shape.B, shape.I)).astype(np.float32)
        width = self.net.forward(self.x)[0].shape[-1]
        self.dy = rng.standard_normal((shape.T, shape.B, width)).astype(np.float32)

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        self.net.zero_grad()
        y, _, tape = self.net.forward(self.x)
        return y, self.net.backward(self.dy, tape)[0]

    def arrays(self) -> dict[str, np.ndarray]:
        y, dx = self.train()
        return {"y": y, "dx": dx, **dict(self.layer.grads)}


def compiled(layer: Any) -> Any:
    """The layer with its printed C in force, or None where it has no such thing or there is no compiler."""
    try:
        layer.compile()
    except (AttributeError, OSError, RuntimeError) as error:
        print(f"    no compile(): {error}", file=sys.stderr)
        return None
    return layer


OWN_SHAPES = (Shape(100, 1, 32, 32), Shape(100, 8, 128, 128), MIDDLE, Shape(50, 64, 512, 512))
OWN_AT_MOST = (1.5, 1.1, 1.1, 1.1)
COMPILED_AT_MOST = 1.05


def own_table(quick: bool) -> None:
    print("\nwritten by a user, against built in; ms a training step, and the ratio")
    print(f"{'':31}{'built in':>10}{'own':>10}{'ratio':>8}{'at most':>9}{'compiled':>10}{'ratio':>8}")
    for shape, most in zip(OWN_SHAPES[: 3 if quick else None], OWN_AT_MOST, strict=False):
        for built_in, own in ((LSTM, OwnLSTM), (GRU, OwnGRU)):
            layers = [built_in(shape.I, shape.H), own(shape.I, shape.H), compiled(own(shape.I, shape.H))]
            steps = [Ours(layer, shape).train for layer in layers if layer is not None]
            times = race(steps, 4.0 if quick else 12.0, 21 if quick else 51, time.process_time)
            first, second, *third = (1e3 * t for t in times)
            line = f"{built_in.__name__:6}{shape!s:25}{first:10.3f}{second:10.3f}{second / first:8.2f}"
            print(f"{line}{most:9.2f}" + "".join(f"{t:10.3f}{t / first:8.2f}" for t in third), flush=True)


def torch_functions(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """In PyTorch: all inputs' projection, and a step ``(weights, states, projected) -> states``."""
    import torch
    from torch.nn.functional import layer_norm

    def norm(w, part, v):
        return layer_norm(v, v.shape[-1:], w[f"gain_{part}"], w[f"bias_{part}"])

    def mgu(w, states, projected):
        (h,), (above_f, above_n) = states, projected.chunk(2, -1)
        f = torch.sigmoid(above_f + h @ w["weight_hh"].T)
        n = torch.tanh(above_n + (f * h) @ w["weight_n"].T)
        return ((1 - f) * h + f * n,)

    def layer_norm_lstm(w, states, projected):
        h, c = states
        below = (h @ w["weight_hh"].T).chunk(4, -1)
        gates = zip("ifgo", projected.chunk(4, -1), below, strict=True)
        i, f, g, o = (norm(w, f"{k}_x", a) + norm(w, f"{k}_h", b) for k, a, b in gates)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(norm(w, "c", c)), c

    def project(w, x):
        projected = x @ w["weight_ih"].T
        return projected + w["bias"] if "bias" in w else projected

    return project, {"MGU": mgu, "LayerNormLSTM": layer_norm_lstm}[name]


class Torch:
    """PyTorch on the same numbers: a loop, the step compiled, or the whole sequence compiled."""

    def __init__(self, name: str, ours: Ours, states: int, mode: str) -> None:
        import torch

        torch.set_num_threads(1)
        project, step = torch_functions(name)
        self.weights = {k: torch.tensor(v, requires_grad=True) for k, v in ours.layer.params.items()}
        self.x = torch.tensor(ours.x, requires_grad=True)
        self.dy = torch.tensor(ours.dy)
        zero = torch.zeros(ours.x.shape[1], ours.dy.shape[2])
        one = torch.compile(step) if mode == "step" else step

        def sequence(w, x):
            h, y = (zero,) * states, []
            for projected in project(w, x):
                h = one(w, h, projected)
                y.append(h[0])
            return torch.stack(y)

        self.sequence = torch.compile(sequence) if mode == "sequence" else sequence
        self.sources = [self.x, *self.weights.values()]
        self.gradients = torch.autograd.grad

    def train(self) -> Any:
        y = self.sequence(self.weights, self.x)
        return y, self.gradients(y, self.sources, self.dy)

    def arrays(self) -> dict[str, np.ndarray]:
        y, (dx, *rest) = self.train()
        named = {name: grad.numpy() for name, grad in zip(self.weights, rest, strict=True)}
        return {"y": y.detach().numpy(), "dx": dx.numpy(), **named}


class Jax:
    """JAX on the same numbers: ``lax.scan`` under ``jit``, the projection one product before the scan."""

    def __init__(self, name: str, ours: Ours, states: int) -> None:
        import jax
        import jax.numpy as jnp

        def times(v, w):  # v @ w.T without a copy of w
            return jax.lax.dot_general(v, w, (((1,), (1,)), ((), ())))

        def norm(w, part, v):
            v = v - v.mean(-1, keepdims=True)
            scale = jax.lax.rsqrt((v * v).mean(-1, keepdims=True) + 1e-5)
            return w[f"gain_{part}"] * v * scale + w[f"bias_{part}"]

        def mgu(w, h, projected):
            above_f, above_n = jnp.split(projected, 2, -1)
            f = jax.nn.sigmoid(above_f + times(h[0], w["weight_hh"]))
            n = jnp.tanh(above_n + times(f * h[0], w["weight_n"]))
            return ((1 - f) * h[0] + f * n,)

        def layer_norm_lstm(w, states, projected):
            h, c = states
            below = jnp.split(times(h, w["weight_hh"]), 4, -1)
            gates = zip("ifgo", jnp.split(projected, 4, -1), below, strict=True)
            i, f, g, o = (norm(w, f"{k}_x", a) + norm(w, f"{k}_h", b) for k, a, b in gates)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return jax.nn.sigmoid(o) * jnp.tanh(norm(w, "c", c)), c

        step = {"MGU": mgu, "LayerNormLSTM": layer_norm_lstm}[name]
        self.weights = {k: jnp.asarray(v) for k, v in ours.layer.params.items()}
        self.x, self.dy = jnp.asarray(ours.x), jnp.asarray(ours.dy)
        zero = jnp.zeros((ours.x.shape[1], ours.dy.shape[2]))

        def sequence(w, x):
            projected = x @ w["weight_ih"].T + w.get("bias", 0)

            def scanned(h, row):
                h = step(w, h, row)
                return h, h[0]

            return jax.lax.scan(scanned, (zero,) * states, projected)[1]

        @jax.jit
        def value_and_gradients(w, x, dy):
            y, pull_back = jax.vjp(sequence, w, x)
            return y, *pull_back(dy)

        self.function, self.wait = value_and_gradients, jax.block_until_ready

    def train(self) -> Any:
        return self.wait(self.function(self.weights, self.x, self.dy))

    def arrays(self) -> dict[str, np.ndarray]:
        y, weights, dx = self.train()
        named = {name: np.asarray(grad) for name, grad in weights.items()}
        return {"y": np.asarray(y), "dx": np.asarray(dx), **named}


def check_agreement(contestant: str, came: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Leave with a message if another array than ours came out."""
    for name, array in wanted.items():
        error = np.abs(came[name] - array).max() / np.abs(array).max()
        if not error <= TOLERANCE:
            sys.exit(f"{contestant} computes another {name}: off by {error:.2g} of its largest magnitude")


PEERS = {
    "PyTorch, loop": lambda *case: Torch(*case, "loop"),
    "torch.compile, step": lambda *case: Torch(*case, "step"),
    "torch.compile, sequence": lambda *case: Torch(*case, "sequence"),
    "JAX, lax.scan": Jax,
}
PEERS_AT_LEAST = {"MGU": 1.5, "LayerNormLSTM": 3.5}


def peers_table(quick: bool) -> None:
    for name, states in (("MGU", 1), ("LayerNormLSTM", 2)):
        print(f"\n{name}, {MIDDLE}: ms a training step, times ours, seconds of the first call")
        began = time.perf_counter()
        ours = Ours(getattr(cells, name)(MIDDLE.I, MIDDLE.H), MIDDLE)
        wanted = ours.arrays()
        contestants, firsts = {"rnncore": ours}, {"rnncore": time.perf_counter() - began}
        for peer, make in PEERS.items():
            if quick and "sequence" in peer:
                continue
            try:
                importlib.import_module("jax" if peer.startswith("JAX") else "torch")
                began = time.perf_counter()
                contestant = make(name, ours, states)
                came = contestant.arrays()
            except Exception as error:  # not installed, no compiler: whatever a peer says
                print(f"    left out: {peer}: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
                continue
            firsts[peer], contestants[peer] = time.perf_counter() - began, contestant
            check_agreement(peer, came, wanted)
        contestants["rnncore's " + ("GRU" if name == "MGU" else "LSTM")] = Ours(
            (GRU if name == "MGU" else LSTM)(MIDDLE.I, MIDDLE.H), MIDDLE
        )
        steps = [contestant.train for contestant in contestants.values()]
        found = race(steps, 10.0 if quick else 30.0, 9 if quick else 21, time.process_time)
        for contestant, seconds in zip(contestants, found, strict=True):
            first = f"{firsts[contestant]:9.2f}" if contestant in firsts else ""
            print(f"{contestant:26}{1e3 * seconds:9.2f}{seconds / found[0]:8.2f}{first}", flush=True)
        peers = [t for c, t in zip(contestants, found, strict=True) if not c.startswith("rnncore")]
        if peers:
            least = PEERS_AT_LEAST[name]
            print(f"the fastest peer over ours: {min(peers) / found[0]:.2f} (at least {least})")


SCAN_SHAPES = (Shape(500, 32, 128, 128), Shape(1000, 8, 128, 128), Shape(1000, 32, 64, 256))
SCANS = ("SRU", "MinGRU", "MinLSTM", "IndRNN", "DiagonalLRU")
SCANS_AT_LEAST = 3.0


def scans_table(quick: bool) -> None:
    print(f"\nno recurrent product: ms a training step, the LSTM's over it (at least {SCANS_AT_LEAST:.0f})")
    print(f"{'':22}{'LSTM':>8}" + "".join(f"{name:>18}" for name in SCANS))
    for shape in SCAN_SHAPES[: 2 if quick else None]:
        layers = [LSTM(shape.I, shape.H), *(getattr(cells, name)(shape.I, shape.H) for name in SCANS)]
        steps = [Ours(layer, shape).train for layer in layers]
        times = race(steps, 10.0 if quick else 25.0, 9 if quick else 15, time.process_time)
        ours = "".join(f"{1e3 * t:10.2f}{times[0] / t:8.2f}" for t in times[1:])
        print(f"{shape!s:22}{1e3 * times[0]:8.2f}{ours}", flush=True)


TABLES = {"own": own_table, "peers": peers_table, "scans": scans_table}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shapes and peers")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default all")
    options = parser.parse_args(arguments)
    for table in options.tables:
        if table not in TABLES:
            parser.error(f"TABLE is {table!r}; expected {', '.join(TABLES)}")
    print(f"{time.strftime('%Y-%m-%d')}; {processor()}; level {dispatch.level()}; float32; one thread")
    with one_thread():
        for table in options.tables or TABLES:
            TABLES[table](options.quick)


if __name__ == "__main__":
    main()
