"""Values on their way through the chain of layers, and what is known of their axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Axis = tuple[str, ...]  # what an axis consists of, slowest first; empty for an axis of size 1


@dataclasses.dataclass(frozen=True)
class Flow:
    """A value on its way through the chain.

    Axes consist of T steps, B rows, D directions, F features; of an input that no recurrent operator has seen
    yet the first two are called 0 and 1.
    """

    axes: tuple[Axis, ...]
    sizes: Mapping[str, int]
    origin: str
    layers: int = 0
    state: int | None = None  # which part of the last layer's final state it is; None for its output
    head: str | None = None
    half: int | None = None  # the one direction that was cut out of two

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes with the drawn input."""
        return tuple(math.prod(self.sizes[atom] for atom in axis) for axis in self.axes)


@dataclasses.dataclass(frozen=True)
class Stacked:
    """The final states of several layers side by side, along the axis of the directions."""

    parts: tuple[Flow, ...]
    axis: int

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those of each part."""
        return self.parts[0].axes


@dataclasses.dataclass(frozen=True)
class Given:
    """A part of an input that states come from, by the places of its numbers in that input."""

    origin: str
    places: NDArray[Any]


def bare(flow: Flow) -> tuple[Axis, ...]:
    """The axes without a direction that stands alone."""
    return tuple(tuple(atom for atom in axis if atom != "D" or flow.sizes["D"] > 1) for axis in flow.axes)


def take_state(value: Flow | Stacked, axis: int, place: int, keep: bool) -> Flow:
    """The final state of one layer's one direction, of several."""
    parts = value.parts if isinstance(value, Stacked) else (value,)
    alone = value.axes[axis] == () and all(part.sizes["D"] == 1 for part in parts)
    if not (value.axes[axis] == ("D",) or alone) or any(part.half is not None for part in parts):
        raise ValueError("it takes something other than the final state of a layer's direction")
    halves = [
        (part, half if part.sizes["D"] > 1 else None) for part in parts for half in range(part.sizes["D"])
    ]
    part, half = halves[place]
    middle: tuple[Axis, ...] = ((),) if keep else ()
    axes = (*part.axes[:axis], *middle, *part.axes[axis + 1 :])
    return dataclasses.replace(part, axes=axes, half=half)


def whole_states(halves: list[Flow], axis: int) -> list[Flow]:
    """The layers' final states, of which each direction may come alone; none if they are no such ones."""
    parts: list[Flow] = []
    for value in halves:
        axes = (*value.axes[:axis], ("D",), *value.axes[axis + 1 :])
        whole = dataclasses.replace(value, axes=axes, half=None)
        if value.axes[axis] not in ((), ("D",)) or sum(one.count("D") for one in axes) > 1:
            return []
        if value.half == 1:
            if not parts or parts[-1] != dataclasses.replace(whole, half=0):
                return []
            parts[-1] = whole
        else:
            parts.append(dataclasses.replace(whole, half=value.half))
    alike = {(part.axes, part.state, part.half) for part in parts} == {(parts[0].axes, parts[0].state, None)}
    return parts if alike else []
