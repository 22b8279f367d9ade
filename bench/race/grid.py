"""What is run: cells, shapes, libraries, thread counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

GATES = {"elman": 1, "lstm": 4, "gru": 3}
MODES = ("training", "inference")
BATCH = (1, 8, 32, 128)
HIDDEN = (32, 128, 256, 512, 1024)
THREADS = (1, 2)

# The module of this package that runs each library.
MODULES = {
    "reference": "ours",
    "rnncore": "ours",
    "torch": "pytorch",
    "jax": "jax_scan",
    "onnxruntime": "onnx_runtime",
}
NAMES = {
    "reference": "NumPy reference",
    "rnncore": "rnncore",
    "torch": "PyTorch",
    "jax": "JAX",
    "onnxruntime": "ONNX Runtime",
}
PEERS = {"training": ("torch", "jax"), "inference": ("onnxruntime", "torch", "jax")}


@dataclass(frozen=True)
class Case:
    """A cell in training or inference over T steps, B rows, I inputs, H units."""

    cell: str
    mode: str
    T: int
    B: int
    I: int
    H: int

    @property
    def flops(self) -> int:
        """Floating-point operations of the products: two a weight and (step, row) forward, six in training.

        Backward has twice the forward products: the gradients of what came in, and those of the weights.
        """
        weights = GATES[self.cell] * self.H * (self.I + self.H)
        return (6 if self.mode == "training" else 2) * self.T * self.B * weights

    def __str__(self) -> str:
        return f"{self.cell} {self.mode} T{self.T} B{self.B} I{self.I} H{self.H}"

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Entrant:
    """A library at a number of threads."""

    library: str
    threads: int

    def __str__(self) -> str:
        return f"{NAMES.get(self.library, self.library)}, {self.threads} thread{'s' * (self.threads > 1)}"

    def takes(self, case: Case) -> bool:
        """ONNX Runtime does not train."""
        return self.library != "onnxruntime" or case.mode == "inference"


def steps(batch: int, hidden: int) -> int:
    """100 steps; 20 at the largest shapes, where 100 would only take longer."""
    return 20 if hidden >= 1024 or batch * hidden >= 128 * 512 else 100


def cases(
    cells: Iterable[str] = tuple(GATES),
    modes: Iterable[str] = MODES,
    batch: Iterable[int] = BATCH,
    hidden: Iterable[int] = HIDDEN,
) -> list[Case]:
    """The grid, with as many inputs as units."""
    return [
        Case(cell, mode, steps(B, H), B, H, H)
        for B in batch
        for H in hidden
        for cell in cells
        for mode in modes
    ]


def entrants(threads: Iterable[int], libraries: Iterable[str] = tuple(MODULES)) -> list[Entrant]:
    """Every library at every number of threads; the reference at one only: it is a yardstick, not a rival."""
    return [
        Entrant(library, count)
        for library in libraries
        for count in (threads if library != "reference" else (1,))
    ]
