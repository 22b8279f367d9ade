"""Recurrent layers as other tools see them: one or two directions of a plain cell, or a reason why not."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Bidirectional, Layer
from ..layers.recurrent import Recurrent

Array = NDArray[Any]

# Arguments that leave the equation as it is: sizes, memory, initial values.
HARMLESS = {
    "input_size",
    "hidden_size",
    "checkpoint_every",
    "recurrent_init",
    "forget_bias",
    "chrono",
    "limit",
}
REVERSE = "_reverse"


def directions(layer: Layer) -> list[tuple[Recurrent, str]]:
    """The cells of a recurrent layer, each with the suffix of its parameters; empty for other layers."""
    if isinstance(layer, Recurrent):
        return [(layer, "")]
    if isinstance(layer, Bidirectional):
        return [(layer.layer, ""), (layer.reverse, REVERSE)]
    return []


def options(layer: Recurrent, known: set[str], tool: str) -> dict[str, Any]:
    """The options of a cell that change its equation, checked to be ``known``, defaults filled in.

    Raises
    ------
    ValueError
        If one that ``tool`` cannot express differs from its default.
    """
    given = layer.config()
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(layer)).parameters.items():
        if name in HARMLESS:
            continue
        value = given.get(name, parameter.default)
        if name in known:
            found[name] = value
        elif value != parameter.default:
            raise ValueError(f"{layer} cannot be expressed in {tool}: it has {name}={value!r}")
    return found


def fill(params: Mapping[str, Array], values: Mapping[str, Array], place: str) -> None:
    """Copy values into a layer's parameters; all names, shapes and dtypes are compared before one is changed.

    Raises
    ------
    ValueError
        If they differ; the message opens with ``place``.
    """
    if params.keys() != values.keys():
        raise ValueError(f"{place} has parameters {', '.join(params)}, but {', '.join(values)} came")
    for name, value in values.items():
        if value.shape != params[name].shape:
            wanted = params[name].shape
            raise ValueError(f"{place} wants {name} of shape {wanted}, but {value.shape} came")
        if value.dtype != params[name].dtype:
            came = f"{name} is {value.dtype}: convert it first"
            raise ValueError(f"{place} computes in {params[name].dtype}, but {came}")
    for name, value in values.items():
        params[name][...] = value


def reorder(array: Array, order: tuple[int, ...]) -> Array:
    """Blocks of rows in another order: block k of the result is block ``order[k]``."""
    return np.concatenate([np.split(array, len(order))[block] for block in order])
