"""Expressions of learned vectors alone, which NumPy computes once a pass and not in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .derivative import gradients, reachable
from .operations import OPERATIONS
from .rewriting import rebuild
from .tracing import Array
from .values import Value


def evaluate(value: Value, known: Mapping[int, Array], made: dict[int, Array] | None = None) -> Array:
    """The value in NumPy, from arrays of those that it is made of, by their order."""
    made = {} if made is None else made
    for part in reachable([value]):
        if part.order in known:
            made[part.order] = known[part.order]
        elif part.order not in made:
            if part.op == "constant":
                made[part.order] = np.array([part.data])
            else:
                made[part.order] = OPERATIONS[part.op].evaluate(*(made[arg.order] for arg in part.args))
    return made[value.order]


@dataclass(slots=True)
class Hoisted:
    """The expressions, each a leaf ``hoisted`` in the step, and where it is in the row of all of them."""

    values: list[Value] = field(default_factory=list)
    leaves: list[Value] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    width: int = 0

    def add(self, value: Value) -> Value:
        """The leaf of an expression."""
        for place, known in enumerate(self.values):
            if known is value:
                return self.leaves[place]
        leaf = value.graph.leaf("hoisted", value, value.width, value.uniform)
        self.values.append(value)
        self.leaves.append(leaf)
        self.columns.append(self.width)
        self.width += value.width
        return leaf

    def column(self, leaf: Value) -> int:
        """Where a leaf's numbers begin."""
        return next(c for known, c in zip(self.leaves, self.columns, strict=True) if known is leaf)

    def evaluate(self, params: Mapping[str, Array], dtype: np.dtype[np.generic]) -> Array:
        """All of them side by side, (width,)."""
        if not self.values:
            return np.zeros(1, dtype)
        known = _vectors(self.values, params)
        with np.errstate(all="ignore"):
            parts = [
                np.broadcast_to(evaluate(value, known), (value.width,)).astype(dtype) for value in self.values
            ]
        return np.concatenate(parts)

    def add_gradients(self, params: Mapping[str, Array], grads: Mapping[str, Array], row: Array) -> None:
        """Hand the gradients of the expressions (width,) on to the learned vectors."""
        known = _vectors(self.values, params)
        for value, column in zip(self.values, self.columns, strict=True):
            seed = value.graph.leaf("seed", value, value.width, value.uniform)
            found = gradients([value], [seed])
            part = np.asarray(row[column : column + value.width], np.float64)
            with np.errstate(all="ignore"):
                for vector in reachable([value]):
                    if vector.op == "vector" and vector.order in found:
                        own = known | {seed.order: part}
                        grads[vector.data.name][...] += np.broadcast_to(
                            evaluate(found[vector.order], own), (vector.width,)
                        )


def _vectors(values: Sequence[Value], params: Mapping[str, Array]) -> dict[int, Array]:
    found = [part for part in reachable(values) if part.op == "vector"]
    return {part.order: np.asarray(params[part.data.name], np.float64) for part in found}


def hoist(outputs: Sequence[Value]) -> tuple[tuple[Value, ...], Hoisted]:
    """The outputs with the largest expressions of vectors and numbers alone as leaves."""
    hoisted = Hoisted()
    fixed: dict[int, bool] = {}
    for value in reachable(outputs):
        own = value.op in ("vector", "constant")
        inner = bool(value.args) and value.op in OPERATIONS
        fixed[value.order] = own or (inner and all(fixed[arg.order] for arg in value.args))

    def replace(value: Value) -> Value | None:
        return hoisted.add(value) if fixed[value.order] and value.op != "constant" else None

    made: dict[int, Value] = {}
    return tuple(rebuild(output, replace, made) for output in outputs), hoisted
