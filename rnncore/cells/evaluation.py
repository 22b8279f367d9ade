"""The values of an equation in NumPy, at every step of a pass at once: for a look into a tape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .layout import Layout
from .operations import OPERATIONS
from .programs import Equations
from .tracing import Array


def step_values(
    e: Equations, layout: Layout, params: Mapping[str, Array], known: dict[int, Array]
) -> dict[int, Array]:
    """Every value of the equation, (T, B, units), from those of its leaves, by their order."""
    made = dict(known)
    felt = layout.felt(params)
    with np.errstate(all="ignore"):
        for value in e.values:
            if value.order in made:
                continue
            args = [made[arg.order] for arg in value.args]
            if value.op == "constant":
                made[value.order] = np.array([value.data])
            elif value.op == "linear":
                name = value.data.name
                blocks = layout.weights[name]
                total = sum(arg @ block.of(felt).T for arg, block in zip(args, blocks, strict=True))
                bias = layout.biases[name].of(params) if name in layout.biases else 0
                made[value.order] = np.asarray(total + bias)
            elif value.op == "slice":
                start, size = value.data
                made[value.order] = args[0][..., start : start + size]
            else:
                made[value.order] = OPERATIONS[value.op].evaluate(*args)
    return made
