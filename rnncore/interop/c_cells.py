"""The cells of an exported file: which products are summed, and the equations over one unit.

A line of a cell is an assignment in C99 whose names `c_layers` resolves: ``s0``, ``s1``... are the sums of a
unit, in the order of `Cell.biases`; names of states and vectors mean the unit's entry; `FUNCTIONS` of
`c_functions` may be called; any other name is a local constant. A state keeps its old value until its line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layers.activation import ALPHAS, FUNCTIONS
from ..layers.recurrent import ACTIVATIONS
from ..stream import Stage
from .c_functions import hexadecimal

Array = NDArray[Any]


OVER_ROWS = "softmax", "log_softmax"


class Product(NamedTuple):
    """A matrix times a vector, added to consecutive sums."""

    name: str
    matrix: Array  # (number of sums times units, length of the vector)
    vector: str  # "x", a state or a vector of an earlier pass
    first: int  # number of the first sum
    delay: int = 1  # of a state: how many steps back


class Pass(NamedTuple):
    """Products, then one loop over the units."""

    products: list[Product]
    lines: list[str]


class Cell(NamedTuple):
    """A layer's step over all of its units."""

    biases: list[Array]  # (units,) each: what the sums start from
    passes: list[Pass]
    states: tuple[str, ...] = ("h",)  # the first is the output
    vectors: dict[str, Array] = {}  # noqa: RUF012  a constant
    depth: int = 1  # how many past steps the first state holds


def cell(stage: Stage) -> Cell:
    """The cell of a recurrent or dense stage."""
    return CELLS[stage.kind](stage)


def _dense(stage: Stage) -> Cell:
    product = Product("weight", stage.arrays["weight"], "x", 0)
    lines = [f"y = {applied(stage, 's0')}"]
    vectors = {"slope": stage.arrays["slope"]} if "slope" in stage.arrays else {}
    return Cell([stage.arrays["bias"]], [Pass([product], lines)], states=("y",), vectors=vectors)


def applied(stage: Stage, value: str) -> str:
    """The activation of a stage's sum; a softmax is a layer of its own."""
    function = FUNCTIONS[stage.function]
    if function in ("identity", *OVER_ROWS):
        return value
    if function == "prelu":
        return f"leaky_relu({value}, slope)"
    more = f", {literal(stage.alpha)}" if function in ALPHAS else ""
    return f"{function}({value}{more})"


def _elman(stage: Stage) -> Cell:
    new = _state(stage, "s0")
    if stage.kind == "leaky":
        new = f"h + leak * ({new} - h)"
    vectors = {"leak": stage.arrays["leak"]} if stage.kind == "leaky" else {}
    lines = [f"h = {_mixed(stage, 0, 'h', new)}"]
    return Cell([stage.arrays["bias"]], [Pass(_both(stage), lines)], vectors=vectors)


def _skip(stage: Stage) -> Cell:
    delays = stage.arrays["delays"].tolist()
    products = [Product("weight_ih", stage.arrays["weight_ih"], "x", 0)]
    matrices = [stage.arrays["weight_hh"], *stage.arrays.get("weight_skip", ())]
    for delay, matrix in zip(delays, matrices, strict=True):
        products.append(Product(f"weight_delay_{delay}", matrix, "h", 0, delay))
    lines = [f"h = {_state(stage, 's0')}"]
    return Cell([stage.arrays["bias"]], [Pass(products, lines)], depth=delays[-1])


def _lstm(stage: Stage) -> Cell:
    units = stage.arrays["weight_hh"].shape[1]
    biases = np.split(stage.arrays["bias"], len(stage.arrays["bias"]) // units)
    coupled, last = len(biases) == 3, len(biases) - 1
    vectors = {name: array for name, array in stage.arrays.items() if name.startswith("weight_c")}

    def seen(cell: str, weight: str) -> str:
        return f" + {weight} * {cell}" if weight in vectors else ""

    lines = [
        f"in = {_gate(stage, 's0' + seen('c', 'weight_ci'))}",
        "forget = 1 - in" if coupled else f"forget = {_gate(stage, 's1' + seen('c', 'weight_cf'))}",
        f"g = {_factor(stage, _state(stage, f's{last - 1}'))}",
        f"next = {_factor(stage, 'multiply_add(forget, c, in * g)')}",
        f"out = {_gate(stage, f's{last}' + seen('next', 'weight_co'))}",
        f"h = {_mixed(stage, 0, 'h', 'out * ' + _factor(stage, _state(stage, 'next')))}",
        f"c = {_mixed(stage, 1, 'c', 'next')}",
    ]
    return Cell(biases, [Pass(_both(stage), lines)], ("h", "c"), vectors)


def _gru(stage: Stage) -> Cell:
    """The candidate's sum is s0, so that the columns of each product are next to each other.

    With the reset after its product, s3 is that product; before it, a second pass adds the product of r h.
    """
    arrays, after = stage.arrays, "bias_hn" in stage.arrays
    in_r, in_z, in_n = np.split(arrays["weight_ih"], 3)
    r, z, n = np.split(arrays["weight_hh"], 3)
    bias_r, bias_z, bias_n = np.split(arrays["bias"], 3)
    from_x = Product("weight_ih", np.concatenate([in_n, in_r, in_z]), "x", 0)
    from_h = Product("weight_hh", np.concatenate([r, z, n] if after else [r, z]), "h", 1)
    last = [
        f"z = {_gate(stage, 's2')}",
        f"n = {_state(stage, 's0 + r * ' + _factor(stage, 's3') if after else 's0')}",
        f"h = {_mixed(stage, 0, 'h', 'n + z * ' + _factor(stage, '(h - n)'))}",
    ]
    reset = _gate(stage, "s1")
    if after:
        biases = [bias_n, bias_r, bias_z, arrays["bias_hn"]]
        return Cell(biases, [Pass([from_x, from_h], [f"r = {reset}", *last])])
    candidate = Product("weight_hn", n, "kept", 0)
    passes = [Pass([from_x, from_h], [f"kept = {reset} * h"]), Pass([candidate], last)]
    return Cell([bias_n, bias_r, bias_z], passes)


CELLS = {"dense": _dense, "elman": _elman, "leaky": _elman, "skip": _skip, "lstm": _lstm, "gru": _gru}


def _both(stage: Stage) -> list[Product]:
    """Input and state into all sums."""
    names = {"weight_ih": "x", "weight_hh": "h"}
    return [Product(name, stage.arrays[name], vector, 0) for name, vector in names.items()]


def _call(activation: int, value: str) -> str:
    function = ACTIVATIONS[activation]
    return f"({value})" if function == "identity" else f"{function}({value})"


def _gate(stage: Stage, value: str) -> str:
    return _factor(stage, _call(stage.gate_activation, value))


def _factor(stage: Stage, value: str) -> str:
    """A gate, or what goes with gates. Other than a sigmoid a gate may be tiny, and its products denormal."""
    return value if ACTIVATIONS[stage.gate_activation] == "sigmoid" else f"flush({value})"


def _state(stage: Stage, value: str) -> str:
    return _call(stage.activation, value)


def _mixed(stage: Stage, place: int, before: str, new: str) -> str:
    """The expression of a state, of which zoneout keeps a part."""
    if not stage.zoneout:
        return new
    keep = stage.zoneout[place]
    return f"{literal(1 - keep)} * ({new}) + {literal(keep)} * {before}"


def literal(value: Any) -> str:
    """A constant of the file's type."""
    return hexadecimal(value) + "${f}"
