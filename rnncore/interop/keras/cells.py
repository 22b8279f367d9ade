"""Keras's recurrent layers: attributes to one of our cells, arrays to its parameters.

Keras has the LSTM's gates in our order (i f c o) and the GRU's as z r h, where we have r z n.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...layers import GRU, LSTM, Elman, Layer
from ..cells import options, reorder
from .attributes import Attributes

Array = NDArray[Any]

CELLS: dict[str, Any] = {"SimpleRNN": Elman, "GRU": GRU, "LSTM": LSTM}
CUDNN = {"CuDNNGRU": "GRU", "CuDNNLSTM": "LSTM"}
RECURRENT = {*CELLS, *CUDNN}
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "linear": "identity"}
# The gates' names in Keras 1, which kept an array for each, in the order of the later joint array.
OLD_GATES = {"GRU": "zrh", "LSTM": "ifco"}


class Direction(NamedTuple):
    """A cell, its arrays as Keras 2 and 3 have them, and what the layer returns."""

    cell: Any
    arrays: list[Array]
    steps: bool
    states: bool


def read_direction(
    kind: str, given: Attributes, arrays: Mapping[str, Array], version: int | None, backwards: bool = False
) -> Direction:
    """The cell of a layer that reads forwards, or of the half of a Bidirectional one that does not."""
    label = given.label
    if given.flag("go_backwards", False) != backwards:
        way = "forwards, as the half that should not" if backwards else "backwards only (go_backwards)"
        raise ValueError(f"{label} reads {way}, which no layer here does")
    steps, states = given.flag("return_sequences", False), given.flag("return_state", False)
    given.expect("time_major", False)
    given.take("zero_output_for_mask", default=None)  # of what comes out of padding
    plain = plain_arrays(kind, arrays, label)
    inputs, units = plain[0].shape[0], plain[1].shape[0]
    claimed = given.size("units", "output_dim", default=units)
    biased = given.flag("use_bias", len(plain) == 3)
    if claimed != units or biased != (len(plain) == 3):
        raise ValueError(
            f"{label} has units={claimed}, use_bias={biased}, but {len(plain)} arrays of {units} units"
        )
    chosen = _options(kind, given, version)
    given.close()
    return Direction(CELLS[CUDNN.get(kind, kind)](inputs, units, **chosen), plain, steps, states)


def _options(kind: str, given: Attributes, version: int | None) -> dict[str, Any]:
    """What the constructor of the cell is given."""
    if kind in CUDNN:
        return {}
    activation = _activation(given.take("activation", default="tanh"), given.label, version)
    if kind == "SimpleRNN":
        return {"activation": activation}
    gate = _activation(given.take("recurrent_activation", "inner_activation"), given.label, version)
    chosen: dict[str, Any] = {}
    if activation != "tanh":
        chosen["activation"] = activation
    if gate != "sigmoid":
        chosen["gate_activation"] = gate
    if kind == "GRU" and not given.flag("reset_after", False):  # Keras before 2.2 did not say, and meant this
        chosen["reset_after"] = False
    return chosen


def _activation(name: Any, label: str, version: int | None) -> str:
    if name == "hard_sigmoid":
        known = {1: "clip(0.2 x + 0.5, 0, 1)", 2: "clip(0.2 x + 0.5, 0, 1)", 3: "clip(x / 6 + 0.5, 0, 1)"}
        meant = f", which is {known[version]} in Keras {version}" if version in known else ""
        raise ValueError(f"{label} has activation 'hard_sigmoid'{meant}: no cell here has it")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"{label} has activation {reprlib.repr(name)}, which no cell here has")
    return ACTIVATIONS[name]


def plain_arrays(kind: str, arrays: Mapping[str, Array], label: str) -> list[Array]:
    """Kernel (I, G*H), recurrent kernel (H, G*H) and bias, of whatever version and layout."""
    own = CUDNN.get(kind, kind)
    gates = GATES[own]
    if own in OLD_GATES and len(arrays) == 3 * gates:
        return _join(own, arrays, label)
    found = list(arrays.values())
    ranks = [array.ndim for array in found]
    if len(found) not in (2, 3) or ranks[:2] != [2, 2] or not found[0].size or not found[1].size:
        raise ValueError(f"{label} has arrays with {ranks} axes")
    units = found[1].shape[0]
    doubled = len(found) == 3 and found[2].shape == (2 * gates * units,) and own in CUDNN.values()
    if kind in CUDNN and not doubled:
        came = found[-1].shape
        raise ValueError(f"{label} has a bias of shape {came}, but ({2 * gates * units},) is expected")
    return _from_cudnn(own, found, gates, label) if doubled else found


def _from_cudnn(kind: str, arrays: list[Array], gates: int, label: str) -> list[Array]:
    """CuDNN's layout: square blocks transposed, input blocks read row by row as columns, two biases."""
    kernel, recurrent, bias = arrays
    if kernel.shape[1] % gates or recurrent.shape[1] != kernel.shape[1]:
        raise ValueError(f"{label} has kernels of shapes {kernel.shape} and {recurrent.shape}")
    inputs = [block.T.reshape(block.shape, order="F") for block in np.split(kernel, gates, axis=1)]
    squares = [block.T for block in np.split(recurrent, gates, axis=1)]
    if any(block.shape[0] != block.shape[1] for block in squares):
        raise ValueError(f"{label} has kernels of shapes {kernel.shape} and {recurrent.shape}")
    both = bias.reshape(2, -1)
    with np.errstate(all="ignore"):  # numbers are taken as they come, infinities too
        joint = both if kind == "GRU" else both[0] + both[1]
    return [np.concatenate(inputs, axis=1), np.concatenate(squares, axis=1), joint]


def _join(kind: str, arrays: Mapping[str, Array], label: str) -> list[Array]:
    """The arrays of Keras 1, W_i, U_i, b_i, ..., side by side."""
    found = []
    for stem in "WUb":
        parts = []
        for gate in OLD_GATES[kind]:
            named = [array for name, array in arrays.items() if f"_{name}".endswith(f"_{stem}_{gate}")]
            if len(named) != 1 or named[0].ndim != (1 if stem == "b" else 2):
                came = ", ".join(arrays)[:200]
                raise ValueError(f"{label} has arrays {came}, but no {stem}_{gate} among them")
            parts.append(named[0])
        found.append(np.concatenate(parts, axis=-1))
    return found


def cell_values(cell: Any, arrays: list[Array], label: str) -> dict[str, Array]:
    """The parameters of one direction from plain arrays."""
    options(cell, {"activation", "gate_activation", "reset_after"}, "Keras")
    order = (1, 0, 2) if isinstance(cell, GRU) else tuple(range(cell.gates))
    rows = cell.gates * cell.hidden_size
    both = "bias_hn" in cell.parameter_shapes()  # reset_after: a second row, for the recurrent product
    bias = arrays[2] if len(arrays) > 2 else np.zeros((2, rows) if both else rows, arrays[0].dtype)
    expected = ((cell.input_size, rows), (cell.hidden_size, rows), (2, rows) if both else (rows,))
    came = (arrays[0].shape, arrays[1].shape, bias.shape)
    if came != expected:
        raise ValueError(f"{label} wants arrays of shapes {expected}, but {came} came")
    values = {"weight_ih": reorder(arrays[0].T, order), "weight_hh": reorder(arrays[1].T, order)}
    if not both:
        return values | {"bias": reorder(bias, order)}
    own, recurrent = (reorder(row, order) for row in bias)
    candidate = slice(2 * cell.hidden_size, None)
    with np.errstate(all="ignore"):
        total = own + recurrent
    total[candidate] = own[candidate]
    return values | {"bias": total, "bias_hn": recurrent[candidate]}


def kind_of(layer: Layer) -> str:
    """The class in Keras that a cell is; "" for other layers."""
    return next((kind for kind, ours in CELLS.items() if type(layer) is ours), "")
