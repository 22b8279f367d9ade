"""What the benchmarks time: one network at one shape, whose kernels can be exchanged for the NumPy reference.

Both go through the same layers, losses and optimizers; only their ``backend`` differs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from threadpoolctl import threadpool_limits

from rnncore import kernels, reference
from rnncore.clipping import ClipNorm
from rnncore.kernels import threads
from rnncore.layers import GRU, LSTM, Dense, Elman, Embedding
from rnncore.losses import CrossEntropy, SquaredError
from rnncore.network import Network
from rnncore.optimizers import Adam

BACKENDS: dict[str, ModuleType] = {"kernels": kernels, "reference": reference}
CELLS = {"elman": Elman, "lstm": LSTM, "gru": GRU}


@dataclass(frozen=True)
class Shape:
    """T steps, B rows, I inputs, H units."""

    T: int
    B: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"T{self.T} B{self.B} I{self.I} H{self.H}"


# The two shapes whose ratio has a target, in a grid from the smallest to the largest; these have fewer steps,
# because a second of reference time is enough to know a ratio.
SMALL = Shape(100, 1, 32, 32)
MIDDLE = Shape(100, 32, 64, 128)
GRID = [
    Shape(100, 1, 16, 16),
    SMALL,
    Shape(100, 1, 128, 128),
    Shape(100, 8, 64, 64),
    MIDDLE,
    Shape(50, 32, 256, 256),
    Shape(20, 64, 512, 512),
    Shape(10, 128, 1024, 1024),
]


@contextmanager
def one_thread():
    """BLAS and the kernels on one thread."""
    before = threads.get_num_threads()
    threads.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        threads.set_num_threads(before)


class Step:
    """A network with all that one training step needs: forward, loss, backward, clip, update.

    ``forward`` and ``backward`` can be timed alone; each leaves behind what the next one wants.
    ``input_gradient``: whether a training step makes dx.
    """

    def __init__(
        self,
        net: Network,
        loss,
        x: np.ndarray,
        target: np.ndarray,
        backend: str,
        lengths=None,
        input_gradient: bool = True,
    ) -> None:
        self.input_gradient = input_gradient
        self.net, self.loss, self.x, self.target, self.lengths = net, loss, x, target, lengths
        # A rate of 0 costs what any other does, and the thousandth step meets the numbers of the first.
        self.clip, self.optimizer = ClipNorm(1.0), Adam(lr=0.0)
        for part in (*net.layers, self.loss, self.clip, self.optimizer):
            if hasattr(part, "backend"):
                part.backend = BACKENDS[backend]
        self.forward()
        self.dy = self.loss(self.y, target, lengths)[1]

    def forward(self) -> None:
        self.y, _, self.tape = self.net.forward(self.x, None, self.lengths)

    def backward(self) -> None:
        self.net.backward(self.dy, self.tape)

    def train(self) -> None:
        self.net.zero_grad()
        y, _, tape = self.net.forward(self.x, None, self.lengths)
        _, dy = self.loss(y, self.target, self.lengths)
        self.net.backward(dy, tape, input_gradient=self.input_gradient)
        self.clip(self.net.grads.flat)
        self.optimizer.step(self.net.params.flat, self.net.grads.flat)


def cell_step(cell: str, shape: Shape, backend: str, dtype: str = "float32") -> Step:
    """One recurrent layer, its output drawn to random targets by the squared error."""
    rng = np.random.default_rng(0)
    net = Network(CELLS[cell](shape.I, shape.H), dtype=dtype)
    x = rng.standard_normal((shape.T, shape.B, shape.I)).astype(dtype)
    target = rng.standard_normal((shape.T, shape.B, shape.H)).astype(dtype)
    return Step(net, SquaredError(), x, target, backend)


def text_step(cell: str, shape: Shape, backend: str, characters: int = 65) -> Step:
    """A character model: embedding of I, one recurrent layer, a dense layer, softmax cross-entropy."""
    rng = np.random.default_rng(0)
    net = Network(Embedding(characters, shape.I), CELLS[cell](shape.I, shape.H), Dense(shape.H, characters))
    ids = rng.integers(0, characters, (shape.T + 1, shape.B)).astype(np.int32)
    return Step(net, CrossEntropy(), ids[:-1], ids[1:], backend)
