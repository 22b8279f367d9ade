"""Weights of one cell between our layout and that of ONNX's RNN, GRU and LSTM.

ONNX has the LSTM's gates in the order i o f c and the GRU's in the order z r h, where we have i f g o and
r z n; its z means what ours does, h[t] = (1 - z) n + z h[t-1]. It keeps two biases, B = [Wb, Rb].
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers import GRU, LSTM, Elman
from ...layers.recurrent import Recurrent
from ..cells import options, reorder

Array = NDArray[Any]

OPERATORS: dict[type[Recurrent], str] = {Elman: "RNN", GRU: "GRU", LSTM: "LSTM"}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Block k of ONNX's order is our block ORDER[k].
ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
PEEPHOLES = ("weight_ci", "weight_co", "weight_cf")  # in ONNX's order
# Ours, and ONNX's with its alpha and beta.
ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "identity": "Affine"}
EXPRESSIBLE = {
    "RNN": {"activation"},
    "GRU": {"reset_after"},
    "LSTM": {"peepholes", "coupled", "activation", "gate_activation"},
}


def attributes(cell: Recurrent) -> dict[str, Any]:
    """The node's attributes beside hidden_size and direction; activations are those of one direction.

    Raises
    ------
    ValueError
        If the cell has an option that ONNX cannot express.
    """
    kind = OPERATORS.get(type(cell))
    if kind is None:
        raise ValueError(f"{cell} cannot be expressed in ONNX: it has no such operator")
    given = options(cell, EXPRESSIBLE[kind], "ONNX")
    found: dict[str, Any] = {}
    if kind == "GRU":
        found["linear_before_reset"] = int(given.get("reset_after", True))
    if given.get("coupled"):
        found["input_forget"] = 1
    names = [given.get("activation", "tanh")]
    if kind == "LSTM":
        names = [given.get("gate_activation", "sigmoid"), names[0], names[0]]
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown:
        raise ValueError(f"{cell} cannot be expressed in ONNX: it has activation {unknown[0]!r}")
    if kind == "RNN" or names != ["sigmoid", "tanh", "tanh"]:
        if kind == "GRU":
            names = ["sigmoid", "tanh"]
        found["activations"] = [ACTIVATIONS[name] for name in names]
        if "identity" in names:  # alpha x + beta; one alpha and beta for each function that has them
            found["activation_alpha"] = [1.0] * names.count("identity")
            found["activation_beta"] = [0.0] * names.count("identity")
    return found


def to_onnx(cell: Recurrent, params: Mapping[str, Array], suffix: str) -> dict[str, Array]:
    """W (G*H, I), R (G*H, H), B (2*G*H,) and, where there are peepholes, P (3*H,) of one direction."""
    kind = OPERATORS[type(cell)]
    order, units = ORDER[kind], cell.hidden_size
    bias = params[f"bias{suffix}"]
    rows = GATES[kind] * units
    if len(bias) < rows:  # coupled gates: ours keep no input gate
        raise ValueError(f"{cell} cannot be expressed in ONNX: its bias has {len(bias)} entries, not {rows}")
    recurrent_bias = np.zeros_like(bias)
    if f"bias_hn{suffix}" in params:
        recurrent_bias[2 * units :] = params[f"bias_hn{suffix}"]
    found = {
        "W": reorder(params[f"weight_ih{suffix}"], order),
        "R": reorder(params[f"weight_hh{suffix}"], order),
        "B": np.concatenate([reorder(bias, order), reorder(recurrent_bias, order)]),
    }
    if f"weight_ci{suffix}" in params:
        found["P"] = np.concatenate([params[f"{name}{suffix}"] for name in PEEPHOLES])
    return found


def from_onnx(
    kind: str, weights: Mapping[str, Array], names: Mapping[str, Any], suffix: str
) -> dict[str, Array]:
    """Our parameters of one direction; ``names`` are those that the layer has."""
    order = tuple(int(block) for block in np.argsort(ORDER[kind]))
    units = weights["R"].shape[1]
    rows = GATES[kind] * units
    bias, recurrent_bias = (
        (reorder(half, order) for half in np.split(weights["B"], 2))
        if "B" in weights
        else np.zeros((2, rows), weights["W"].dtype)
    )
    total = bias + recurrent_bias
    found = {
        f"weight_ih{suffix}": reorder(weights["W"], order),
        f"weight_hh{suffix}": reorder(weights["R"], order),
    }
    if f"bias_hn{suffix}" in names:
        total[2 * units :] = bias[2 * units :]
        found[f"bias_hn{suffix}"] = recurrent_bias[2 * units :]
    found[f"bias{suffix}"] = total
    if f"weight_ci{suffix}" in names:
        peepholes = zip(PEEPHOLES, np.split(weights["P"], 3), strict=True)
        found |= {f"{name}{suffix}": vector for name, vector in peepholes}
    return found


def check_sizes(kind: str, weights: Mapping[str, Array], units: int) -> None:
    """Raise ValueError unless the arrays W, R, B and P of all directions have the shapes of ONNX."""
    directions, _, features = weights["W"].shape
    wanted = {
        "W": (directions, GATES[kind] * units, features),
        "R": (directions, GATES[kind] * units, units),
        "B": (directions, 2 * GATES[kind] * units),
        "P": (directions, 3 * units),
    }
    for name, array in weights.items():
        if array.shape != wanted[name] or not array.size:
            raise ValueError(f"{name} has shape {array.shape}, but {wanted[name]} is wanted")


def make_cell(
    kind: str, features: int, units: int, attributes: dict[str, Any], directions: int, peepholes: bool
) -> Any:
    """The layer of one direction; ValueError if we have none with these attributes."""
    if attributes.get("clip"):
        raise ValueError("it clips its gates (clip), which no layer here does")
    functions = [name.decode().lower() for name in attributes.get("activations", [])]
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[kind]
    functions = (
        functions
        or {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}[kind]
        * directions
    )
    if len(functions) != count * directions or functions[:count] * directions != functions:
        raise ValueError(f"its activations {functions} are not those of {directions} equal directions")
    known = {theirs.lower(): ours for ours, theirs in ACTIVATIONS.items()}
    unknown = [name for name in functions if name not in known]
    if unknown:
        raise ValueError(f"its activation {unknown[0][:80]!r} is not known; known are {', '.join(known)}")
    if "affine" in functions:
        straight = {*attributes.get("activation_alpha", [0.0]), -1.0} == {1.0, -1.0}
        if not straight or any(attributes.get("activation_beta", [0.0])):
            raise ValueError("its activation is affine and not the identity")
    names = [known[name] for name in functions[:count]]
    if kind == "RNN":
        return Elman(features, units, names[0])
    options: dict[str, Any] = {}
    if kind == "GRU":
        if names != ["sigmoid", "tanh"]:
            raise ValueError(f"its activations are {', '.join(names)}, and ours are sigmoid and tanh")
        if not attributes.get("linear_before_reset", 0):
            options["reset_after"] = False
        return _construct(GRU, features, units, options)
    if names[1] != names[2]:
        raise ValueError(f"its activations {names[1]} of the candidate and {names[2]} of the cell differ")
    if names[0] != "sigmoid":
        options["gate_activation"] = names[0]
    if names[1] != "tanh":
        options["activation"] = names[1]
    if attributes.get("input_forget"):
        options["coupled"] = True
    if peepholes:
        options["peepholes"] = True
    return _construct(LSTM, features, units, options)


def _construct(layer: Any, features: int, units: int, options: dict[str, Any]) -> Any:
    unknown = [name for name in options if name not in inspect.signature(layer).parameters]
    if unknown:
        what = f"{unknown[0]}={options[unknown[0]]!r}"
        raise ValueError(f"it would need {layer.__name__}({what}), which is not there")
    return layer(features, units, **options)
