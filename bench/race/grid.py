"""What is run: cells, shapes, libraries, thread counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

GATES = {"elman": 1, "lstm": 4, "gru": 3}
MODES = ("training", "inference", "stream")
BATCH = (1, 8, 32, 128)
HIDDEN = (32, 128, 256, 512, 1024)
THREADS = (1, 2)

# What is asked of a layer beyond the grid, under the names of --kinds.
KINDS = {
    "every": "A loss at every step",
    "last": "A loss at the last step only",
    "trained": "A loss at the last step only, weights after training",
    "quiet": "Input times 1e-40",
    "silence": "Silence after 100 steps of sound",
    "both": "Sentences through a bidirectional layer",
    "stream": "A stream in blocks, and the exported C file",
}

# The module of this package that runs each library.
MODULES = {
    "reference": "ours",
    "rnncore": "ours",
    "torch": "pytorch",
    "jax": "jax_scan",
    "onnxruntime": "onnx_runtime",
    "c": "c_file",
}
NAMES = {
    "reference": "NumPy reference",
    "rnncore": "rnncore",
    "torch": "PyTorch",
    "jax": "JAX",
    "onnxruntime": "ONNX Runtime",
    "c": "C file",
}
PEERS = {"training": ("torch", "jax"), "inference": ("onnxruntime", "torch", "jax"), "stream": ("c",)}


@dataclass(frozen=True)
class Case:
    """A cell in training, inference or a stream over T steps, B rows, I inputs, H units; one of KINDS, or of
    the grid."""

    cell: str
    mode: str
    T: int
    B: int
    I: int
    H: int
    kind: str = "grid"

    @property
    def flops(self) -> int:
        """Floating-point operations of the products: two a weight and (step, row) forward, six in training.

        Backward has twice the forward products: the gradients of what came in, and those of the weights.
        """
        weights = GATES[self.cell] * self.H * (self.I + self.H)
        directions = 2 if self.kind == "both" else 1
        return (6 if self.mode == "training" else 2) * self.T * self.B * weights * directions

    def __str__(self) -> str:
        return f"{self.cell} {self.mode} T{self.T} B{self.B} I{self.I} H{self.H}" + (
            f" {self.kind}" if self.kind != "grid" else ""
        )

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
        """ONNX Runtime does not train; streams are ours, the reference's sequence and the C file."""
        if case.mode == "stream":
            return self.library in ("reference", "rnncore", "c") and self.threads == 1
        return self.library != "c" and (self.library != "onnxruntime" or case.mode == "inference")


def steps(batch: int, hidden: int) -> int:
    """100 steps; 20 at the largest shapes, where 100 would only take longer."""
    return 20 if hidden >= 1024 or batch * hidden >= 128 * 512 else 100


def cases(
    cells: Iterable[str] = tuple(GATES),
    modes: Iterable[str] = MODES[:2],
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
        if mode != "stream"
    ]


def further(
    cells: Iterable[str] = tuple(GATES), modes: Iterable[str] = MODES, kinds: Iterable[str] = tuple(KINDS)
) -> list[Case]:
    """What the grid does not show: gradients and signals that vanish, short sentences, the exported file."""
    found = []
    for kind in kinds:
        for cell in cells:
            if kind in ("every", "last", "trained"):
                found += [Case(cell, "training", T, 8, 16, 64, kind) for T in (100, 1000, 5000)]
            elif kind in ("quiet", "silence"):
                found.append(Case(cell, "inference", 1000, 8, 16, 64, kind))
            elif kind == "both":
                found += [Case(cell, "inference", T, 1, 50, 50, kind) for T in (1, 2, 4, 8, 16)]
            else:
                found += [Case(cell, "stream", 2048, 1, 1, H, kind) for H in (8, 16, 32, 64)]
    return [case for case in found if case.mode in modes]


def entrants(threads: Iterable[int], libraries: Iterable[str] = tuple(MODULES)) -> list[Entrant]:
    """Every library at every number of threads; at one only the reference, which is a yardstick and not a
    rival, and the C file, which has no threads."""
    return [
        Entrant(library, count)
        for library in libraries
        for count in (threads if library not in ("reference", "c") else (1,))
    ]
