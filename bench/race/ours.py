"""rnncore on its kernels, or on the NumPy reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import numpy as np

import rnncore
from race.problem import Arrays, Problem
from rnncore import kernels, reference
from rnncore.kernels import dispatch

CELLS = {"elman": rnncore.Elman, "lstm": rnncore.LSTM, "gru": rnncore.GRU}
# How long trained weights were trained, on so many rows and steps.
UPDATES, ROWS, STEPS = 300, 32, 50
BACKENDS: dict[str, ModuleType] = {"rnncore": kernels, "reference": reference}


def start(threads: int) -> dict[str, str]:
    """Set the number of threads (NumPy's BLAS has read it from the environment); returns versions."""
    rnncore.set_num_threads(threads)
    return {
        "rnncore": rnncore.__version__,
        "build": build(),
        "instruction set": dispatch.level(),
        "numpy": np.__version__,
    }


def build() -> str:
    """Tells one build of the kernels from another."""
    digest = hashlib.sha256()
    for path in sorted(Path(kernels.__file__).parent.glob("*.so")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Layer:
    """A network of one recurrent layer, used as a reader of the documentation would."""

    def __init__(self, library: str, problem: Problem) -> None:
        self.problem = problem
        layer = CELLS[problem.cell](problem.x.shape[2], problem.dy.shape[2])
        parts = [layer]
        named = {f"0.{name}": weight for name, weight in problem.weights.items()}
        if problem.reverse is not None:
            layer = rnncore.Bidirectional(layer)
            parts = [layer, layer.layer, layer.reverse]
            named |= {f"0.{name}_reverse": weight for name, weight in problem.reverse.items()}
        for part in parts:
            part.backend = BACKENDS[library]
        self.net = rnncore.Network(layer, initialize=False)
        for name, weight in named.items():
            self.net.params[name][...] = weight
        self.mode = ExitStack()
        # The reference has no stream of its own: what one computes, it computes as one sequence.
        self.runner = self.net.eval().stream() if library == "rnncore" and problem.reverse is None else None
        self.net.train()
        self.out = np.empty((len(problem.x), problem.dy.shape[2]), np.float32)

    def inference(self) -> np.ndarray:
        if not self.net.packed:
            self.mode.enter_context(self.net.inference_mode())
        if self.problem.reverse is not None:
            return self.net.infer(self.problem.x)
        return self.net.forward(self.problem.x)[0]

    def training(self) -> tuple[np.ndarray, np.ndarray]:
        self.net.zero_grad()
        y, _, tape = self.net.forward(self.problem.x)
        return y, self.net.backward(self.problem.dy, tape)[0]

    def stream(self) -> np.ndarray:
        if self.runner is None:
            return self.net.forward(self.problem.x)[0][:, 0]
        return self.runner.run(self.problem.x[:, 0], out=self.out)

    def arrays(self, mode: str) -> Arrays:
        """What a call computes, under the names that all libraries use."""
        if mode == "inference":
            return {"y": self.inference()}
        if mode == "stream":
            return {"y": self.stream()}
        y, dx = self.training()
        return {"y": y, "dx": dx, **{name: self.net.grads[f"0.{name}"] for name in self.problem.weights}}


def trained(problem: Problem) -> Arrays:
    """The weights after the layer has learned to hold on to what it reads: the mean of each row's first input
    over all steps is asked for at the last. Kernels compute the same bits at any number of threads."""
    inputs, units = problem.x.shape[2], problem.dy.shape[2]
    layers = CELLS[problem.cell](inputs, units), rnncore.LastStep(), rnncore.Dense(units, 1)
    net = rnncore.Network(*layers, seed=0)
    for name, weight in problem.weights.items():
        net.params[f"0.{name}"][...] = weight
    loss, clip, adam = rnncore.SquaredError(), rnncore.ClipNorm(1.0), rnncore.Adam(3e-3)
    rng = np.random.default_rng(0)
    for _ in range(UPDATES):
        x = rng.standard_normal((STEPS, ROWS, inputs), dtype=np.float32)
        net.zero_grad()
        y, _, tape = net.forward(x)
        _, dy = loss(y, STEPS**0.5 * x[:, :, :1].mean(0))
        net.backward(dy, tape, input_gradient=False)
        clip(net.grads.flat)
        adam.step(net.params.flat, net.grads.flat)
    return {name: net.params[f"0.{name}"].copy() for name in problem.weights}


def product(size: int) -> Callable[[], object]:
    """NumPy's sgemm of two square matrices."""
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)
