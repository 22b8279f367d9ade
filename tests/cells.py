"""Cells as tests draw them: shapes for hypothesis, and one call of a cell's kernels with all its arrays."""

import dataclasses
import math

import numpy as np
from hypothesis import strategies as st

GATES = {"elman": 1, "leaky": 1, "skip": 1, "clockwork": 1, "lstm": 4, "gru": 3}
ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")
# A kernel's name, and behind hyphens what is chosen of it.
CELLS = (
    *(f"elman-{activation}" for activation in ACTIVATIONS),
    *("leaky-tanh", "leaky-relu-noise"),
    *("clockwork-1", "clockwork-124", "clockwork-235"),  # periods
    *("skip-tanh-13", "skip-relu-2", "skip-sigmoid-125"),  # the digits are delays
    *("lstm", "lstm-peepholes", "lstm-coupled", "lstm-coupled-peepholes", "lstm-activations"),
    *("gru", "gru-before", "gru-activations", "gru-before-activations"),
)
PEEPHOLES = ("weight_ci", "weight_cf", "weight_co")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

# One, a few, and the neighbours of every vector width (2 to 16 lanes) and tile.
SIZES = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 47, 49, 65])


@dataclasses.dataclass(frozen=True)
class Shape:
    """Steps T, rows B, inputs I, units H, and the rows' lengths (None: all T)."""

    T: int
    B: int
    I: int
    H: int
    lengths: tuple[int, ...] | None = None

    def array(self):
        return None if self.lengths is None else np.array(self.lengths, dtype=np.intp)

    def padding(self):
        """True beyond the rows' lengths, (T, B)."""
        lengths = (self.T,) * self.B if self.lengths is None else self.lengths
        return np.arange(self.T)[:, None] >= np.array(lengths)


@st.composite
def shapes(draw, steps=9, rows=SIZES, sizes=SIZES):
    T, B = draw(st.integers(1, steps)), draw(rows)
    ragged = st.lists(st.integers(1, T), min_size=B, max_size=B).map(tuple)
    return Shape(T, B, draw(sizes), draw(sizes), draw(st.none() | ragged))


seeds = st.integers(0, 2**32 - 1)


class Call:
    """One forward and one backward call of a cell's kernels, on arrays drawn from a seed.

    Padding of what goes in is NaN, and so is all that a kernel has to write, its working memory included: a
    number that is read but not meant, or meant but not written, spreads. Gradients start non-zero.
    """

    def __init__(self, cell, shape, dtype, seed, clip_step=math.inf):
        self.cell, *self.choices = cell.split("-")
        self.shape, self.dtype, self.clip_step = shape, np.dtype(dtype), clip_step
        self.gates = GATES[self.cell] - ("coupled" in self.choices)
        rng = np.random.default_rng(seed)
        T, B, I, H = shape.T, shape.B, shape.I, shape.H
        G = self.gates * H

        def draw(*size, scale=1.0):
            return (scale * rng.standard_normal(size)).astype(dtype)

        self.weights = {
            "weight_ih": draw(G, I, scale=I**-0.5),
            "weight_hh": draw(G, H, scale=H**-0.5),
            "bias": draw(G, scale=0.5),
        }
        if self.cell == "gru":
            self.weights["bias_hn"] = None if "before" in self.choices else draw(H, scale=0.5)
        if "peepholes" in self.choices:
            names = ("weight_ci", "weight_co") if "coupled" in self.choices else PEEPHOLES
            self.weights |= {name: draw(H, scale=0.5) for name in names}
        if self.cell == "leaky":
            self.weights["leak"] = rng.uniform(0.05, 1, H).astype(dtype)
        self.delays = [int(digit) for digit in self.choices[1]] if self.cell == "skip" else [1]
        if self.cell == "skip":
            further = len(self.delays) - 1
            self.weights["weight_skip"] = draw(further, H, H, scale=H**-0.5) if further else None
        if self.cell == "clockwork":
            self.periods = [int(digit) for digit in self.choices[0][:H]]
        self.noise = draw(T, B, H, scale=0.1) if "noise" in self.choices else None
        self.x, self.dy = draw(T, B, I), draw(T, B, H)
        self.x[shape.padding()] = np.nan
        self.dy[shape.padding()] = np.nan
        self.states = ("hidden", "cells") if self.cell == "lstm" else ("hidden",)
        self.past = self.delays[-1]  # states before the first step
        state = (self.past, B, H) if self.cell == "skip" else (B, H)
        self.initial = {name: draw(*state) for name in self.states}
        self.dfinal = {name: draw(*state) for name in (("dh", "dc") if self.cell == "lstm" else ("dh",))}
        self.start = {
            f"d{name}": None if weight is None else draw(*weight.shape)
            for name, weight in self.weights.items()
        }

    def forward(self, backend, record=True):
        """Every array that the forward kernel writes, by name."""
        s = self.shape
        out = {name: self._unwritten(self.past + s.T, s.B, s.H) for name in self.states}
        for name in self.states:
            out[name][: self.past] = self.initial[name]
        tape = {}
        if self.cell not in ("elman", "skip", "clockwork"):
            tape["gates"] = self._unwritten(s.T, s.B, self.gates * s.H) if record else None
        if self.cell == "gru":
            tape["candidates"] = self._unwritten(s.T, s.B, s.H) if record else None
        if self.cell == "leaky":
            tape["noise"] = self.noise
        getattr(backend, f"{self.cell}_forward")(**self._common(backend), **self.weights, **out, **tape)
        tape.pop("noise", None)
        if tape.get("gates") is not None:  # of whose padding nothing is said
            tape["gates"][self.shape.padding()] = 0
        return {**out, **{name: array for name, array in tape.items() if array is not None}}

    def backward(self, backend, tape, record=False, dx=True):
        """Every array that the backward kernel writes, by name, and what it returns."""
        out = {name: array.copy() for name, array in (self.dfinal | self.start).items() if array is not None}
        if dx:
            out["dx"] = self._unwritten(*self.x.shape)
        if record:
            s = self.shape
            out |= {f"d{name}": self._unwritten(s.T + 1, s.B, s.H) for name in self.states}
            out |= {name: self._unwritten(s.T, s.B, self.gates * s.H) for name in ("dgates", "drecurrent")}
        weights = {name: self.weights[name] for name in self.weights if not name.startswith("bias")}
        none = {name: None for name, array in self.start.items() if array is None}
        none |= {} if dx else {"dx": None}
        kept = {name: array.copy() for name, array in tape.items()}
        if "gates" in kept:
            kept["gates"][self.shape.padding()] = np.nan
        before = {name: array.copy() for name, array in kept.items()}
        clipped = getattr(backend, f"{self.cell}_backward")(
            dy=self.dy, **self._common(backend), **weights, clip_step=self.clip_step, **kept, **out, **none
        )
        for name, array in before.items():
            same = np.array_equal(kept[name], array, equal_nan=True)
            assert same, f"backward has changed the tape's {name}"
        return out, clipped

    def scale(self, name):
        """Natural size of an array, whatever cancels in it: a gradient of weights is a sum of T*B numbers."""
        return (self.shape.T * self.shape.B) ** 0.5 if name in self.start else 0.1

    def _unwritten(self, *shape):
        return np.full(shape, np.nan, self.dtype)

    def _common(self, backend):
        s = self.shape
        before = "before" in self.choices
        more = self.cell == "leaky", len(self.delays) - 1, self.cell == "gru" and not before, before
        size = backend.scratch_size(s.T, s.B, s.I, s.H, self.gates, self.dtype, *more)
        if self.cell == "clockwork":
            size = backend.clockwork_scratch_size(s.T, s.B, s.I, s.H, np.array(self.periods), self.dtype)
        arguments = {"x": self.x, "lengths": s.array(), "scratch": self._unwritten(size)}
        if self.cell in ("elman", "leaky", "skip"):
            arguments["activation"] = self.choices[0]
        if self.cell == "clockwork":
            arguments["periods"] = np.array(self.periods)
        if self.cell == "skip":
            arguments["delays"] = np.array(self.delays)
        if "activations" in self.choices:
            arguments |= {"gate_activation": "tanh", "activation": "sigmoid"}
        return arguments
