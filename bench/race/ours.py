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
        layer.backend = BACKENDS[library]
        self.net = rnncore.Network(layer, initialize=False)
        for name, weight in problem.weights.items():
            self.net.params[f"0.{name}"][...] = weight
        self.mode = ExitStack()

    def inference(self) -> np.ndarray:
        if not self.net.packed:
            self.mode.enter_context(self.net.inference_mode())
        return self.net.forward(self.problem.x)[0]

    def training(self) -> tuple[np.ndarray, np.ndarray]:
        self.net.zero_grad()
        y, _, tape = self.net.forward(self.problem.x)
        return y, self.net.backward(self.problem.dy, tape)[0]

    def arrays(self, mode: str) -> Arrays:
        """What a call computes, under the names that all libraries use."""
        if mode == "inference":
            return {"y": self.inference()}
        y, dx = self.training()
        return {"y": y, "dx": dx, **{name: self.net.grads[f"0.{name}"] for name in self.problem.weights}}


def product(size: int) -> Callable[[], object]:
    """NumPy's sgemm of two square matrices."""
    a, b = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)
