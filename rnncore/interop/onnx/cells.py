"""Weights of one cell between our layout and that of ONNX's RNN, GRU and LSTM.

ONNX has the LSTM's gates in the order i o f c and the GRU's in the order z r h, where we have i f g o and
r z n; its z means what ours does, h[t] = (1 - z) n + z h[t-1]. It keeps two biases, B = [Wb, Rb].
"""

from __future__ import annotations

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
    "GRU": {"reset_after", "activation", "gate_activation"},
    "LSTM": {"peepholes", "coupled", "activation", "gate_activation"},
}


def functions(kind: str, given: Mapping[str, Any]) -> list[str]:
    """The activations in ONNX's order: the gates', the candidate's, the cell's."""
    activation, gate = given.get("activation", "tanh"), given.get("gate_activation", "sigmoid")
    return {"RNN": [activation], "GRU": [gate, activation], "LSTM": [gate, activation, activation]}[kind]


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
    names = functions(kind, given)
    if names != functions(kind, {}) or kind == "RNN":
        found["activations"] = [ACTIVATIONS[name] for name in names]
        if "identity" in names:  # alpha x + beta; one alpha and beta for each function that has them
            found["activation_alpha"] = [1.0] * names.count("identity")
            found["activation_beta"] = [0.0] * names.count("identity")
    return found


def to_onnx(cell: Recurrent, params: Mapping[str, Array], suffix: str) -> dict[str, Array]:
    """W (G*H, I), R (G*H, H), B (2*G*H,) and, where there are peepholes, P (3*H,) of one direction."""
    kind = OPERATORS[type(cell)]
    units = cell.hidden_size
    bias = params[f"bias{suffix}"]
    recurrent_bias = np.zeros_like(bias)
    if f"bias_hn{suffix}" in params:
        recurrent_bias[2 * units :] = params[f"bias_hn{suffix}"]
    coupled = kind == "LSTM" and cell.gates == 3

    def arrange(array: Array) -> Array:
        """ONNX's blocks from ours; of a forget gate that is 1 - i there are none here, and zeros there."""
        if coupled:
            i, g, o = np.split(array, 3)
            return np.concatenate([i, o, np.zeros_like(i), g])
        return reorder(array, ORDER[kind])

    found = {
        "W": arrange(params[f"weight_ih{suffix}"]),
        "R": arrange(params[f"weight_hh{suffix}"]),
        "B": np.concatenate([arrange(bias), arrange(recurrent_bias)]),
    }
    if f"weight_ci{suffix}" in params:
        absent = np.zeros_like(params[f"weight_ci{suffix}"])
        found["P"] = np.concatenate([params.get(f"{name}{suffix}", absent) for name in PEEPHOLES])
    return found


def from_onnx(
    kind: str, weights: Mapping[str, Array], names: Mapping[str, tuple[int, ...]], suffix: str
) -> dict[str, Array]:
    """Our parameters of one direction; ``names`` are those that the layer has, with their shapes."""
    order = tuple(int(block) for block in np.argsort(ORDER[kind]))
    units = weights["R"].shape[1]

    def arrange(array: Array) -> Array:
        """Our blocks from ONNX's; the forget gate's are left out where it is 1 - i."""
        ours = reorder(array, order)
        if names[f"bias{suffix}"] == (3 * units,) and kind == "LSTM":
            i, _, g, o = np.split(ours, 4)
            return np.concatenate([i, g, o])
        return ours

    zeros = np.zeros(2 * GATES[kind] * units, weights["W"].dtype)
    bias, recurrent_bias = (arrange(half) for half in np.split(weights.get("B", zeros), 2))
    total = bias + recurrent_bias
    found = {f"weight_ih{suffix}": arrange(weights["W"]), f"weight_hh{suffix}": arrange(weights["R"])}
    if f"bias_hn{suffix}" in names:
        total[2 * units :] = bias[2 * units :]
        found[f"bias_hn{suffix}"] = recurrent_bias[2 * units :]
    found[f"bias{suffix}"] = total
    if f"weight_ci{suffix}" in names:
        vectors = zip(PEEPHOLES, np.split(weights["P"], 3), strict=True)
        found |= {f"{name}{suffix}": vector for name, vector in vectors if f"{name}{suffix}" in names}
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
    given = [name.decode().lower() for name in attributes.get("activations", [])]
    usual = [ACTIVATIONS[name].lower() for name in functions(kind, {})]
    given = given or usual * directions
    count = len(usual)
    if len(given) != count * directions or given[:count] * directions != given:
        raise ValueError(f"its activations {given} are not those of {directions} equal directions")
    known = {theirs.lower(): ours for ours, theirs in ACTIVATIONS.items()}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"its activation {unknown[0][:80]!r} is not known; known are {', '.join(known)}")
    if "affine" in given:
        straight = {*attributes.get("activation_alpha", [0.0]), -1.0} == {1.0, -1.0}
        if not straight or any(attributes.get("activation_beta", [0.0])):
            raise ValueError("its activation is affine and not the identity")
    names = [known[name] for name in given[:count]]
    if kind == "RNN":
        return Elman(features, units, names[0])
    if names[-1] != names[1]:
        raise ValueError(f"its activations {names[1]} of the candidate and {names[-1]} of the cell differ")
    chosen: dict[str, Any] = {"gate_activation": names[0], "activation": names[1]}
    if kind == "GRU":
        return GRU(features, units, reset_after=bool(attributes.get("linear_before_reset", 0)), **chosen)
    coupled = bool(attributes.get("input_forget", 0))
    return LSTM(features, units, peepholes=peepholes, coupled=coupled, **chosen)
