"""Branches side by side: their results joined, added or multiplied, and a way around a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import check_array, check_finite, check_lengths, zero_padding
from ..kernels.float_state import flushing
from .base import Array, State
from .nested import Nested, NestedTape, as_layer
from .registry import describe


class Branches(Nested):
    """What `Concat`, `Add` and `Multiply` share: branches that read one x, or each its own of several.

    Parameters
    ----------
    *branches
        At least two, each a layer or a list of layers; all read x.
    **inputs
        Instead of branches: as many, each by the name of its own input. x is then a dictionary with an array
        for each name, and the layer must be the first of a network.
    """

    def __init__(self, *branches: Any, **inputs: Any) -> None:
        # A configuration has both as what they are made from.
        branches = (*branches, *inputs.pop("branches", ()))
        inputs = {**inputs.pop("inputs", {}), **inputs}
        own = type(self).__name__
        if branches and inputs:
            raise ValueError(f"{own} has branches with and without names; expected all of one kind")
        if len(branches) + len(inputs) < 2:
            raise ValueError(f"{own} has {len(branches) + len(inputs)} branches; expected at least two")
        named = inputs or {str(place): branch for place, branch in enumerate(branches)}
        super().__init__({name: as_layer(f"branch {name}", branch) for name, branch in named.items()})
        self.names: tuple[str, ...] = tuple(inputs)
        made = self.children
        pools = {branch.pools for branch in made}
        if len(pools) > 1:
            raise ValueError(f"some branches of {own} give one row per sequence and some give steps")
        self.pools = pools.pop()  # type: ignore[misc]
        self.takes_rows = not inputs and all(branch.takes_rows for branch in made)  # type: ignore[misc]
        self.takes_ids = not inputs and any(branch.takes_ids for branch in made)  # type: ignore[misc]
        if self.takes_ids and not all(branch.takes_ids for branch in made):
            raise ValueError(f"some branches of {own} take ids and some numbers; give their inputs names")
        taken = {size for branch in made if (size := branch.features()[0])}
        if len(taken) > 1 and not inputs:
            raise ValueError(f"the branches of {own} take {sorted(taken)} features, but all read the same x")
        self._takes = None if inputs or not taken else taken.pop()
        self._check_outputs()

    def _check_outputs(self) -> None:
        sizes = [branch.gives(self._takes) for branch in self.children]
        known = {size for size in sizes if size}
        if len(known) > 1:
            own = type(self).__name__
            raise ValueError(f"the branches of {own} give {sizes} features; expected the same")

    def config(self) -> dict[str, Any]:
        if self.names:
            return {"inputs": {name: describe(part) for name, part in self.parts.items()}}
        return {"branches": [describe(part) for part in self.children]}

    def features(self) -> tuple[int | None, int | None]:
        sizes = [size for branch in self.children if (size := branch.features()[1])]
        return self._takes, sizes[0] if sizes else self._takes

    def check_named(self, x: Any, lengths: Any) -> int:
        """Check the dictionary x; returns B. TypeError or ValueError otherwise."""
        if not isinstance(x, Mapping):
            raise TypeError(f"x is a {type(x).__name__}; expected a dictionary with {', '.join(self.names)}")
        if {*x} != {*self.names}:
            raise ValueError(f"x has {', '.join(map(str, x))}; expected {', '.join(self.names)}")
        shapes = set()
        for name, part in self.parts.items():
            value = x[name]
            if not isinstance(value, np.ndarray) or value.ndim < 2 or not value.size:
                came = getattr(value, "shape", type(value).__name__)
                raise ValueError(f"x[{name!r}] is {came}; expected an array (T, B, ...) with T, B > 0")
            if not part.takes_ids:
                check_array(f"x[{name!r}]", value, self.dtype, "TBF", (None, None, part.features()[0]))
                check_finite(f"x[{name!r}]", value, check_lengths(lengths, *value.shape[:2]))
            shapes.add(value.shape[:2])
        if len(shapes) > 1:
            raise ValueError(f"the arrays of x have steps and rows {sorted(shapes)}; expected one (T, B)")
        return int(shapes.pop()[1])

    def forward(
        self, x: Any, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, NestedTape | None]:
        results, states, tapes = [], [], []
        entering = self._enter(state)
        given = [x[name] for name in self.names] if self.names else [x] * len(self.parts)
        steps = given[0].ndim > 1 + (not self.children[0].takes_ids)
        lengths = check_lengths(lengths, *given[0].shape[:2]) if steps else None
        for branch, own, value in zip(self.children, entering, given, strict=True):
            own_x = value if branch.takes_ids else zero_padding(value, lengths)
            y, final, tape = branch.forward(own_x, own, lengths, record)
            results.append(y)
            states.append(final)
            tapes.append(tape)
        rows = results[0].shape[-2]
        with flushing():
            y = self._join(results)
        kept = self._keep(results)
        return y, self._leave(states), NestedTape(tuple(tapes), kept, rows, lengths) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Any, State]:
        self.check_tape("tape", tape)
        dy = dy if self.pools else zero_padding(dy, tape.lengths)
        dstates = (None,) * len(self.parts) if dstate is None else dstate
        with flushing():
            upstream = self._split(dy, tape.kept)
        gradients, initial = [], []
        for branch, own, dpart, dfinal in zip(self.children, tape.parts, upstream, dstates, strict=True):
            dx, first = branch.backward(np.ascontiguousarray(dpart), own, dfinal, input_gradient)
            gradients.append(dx)
            initial.append(first)
        if self.names:
            return dict(zip(self.names, gradients, strict=True)), self._leave(initial)
        return _sum(gradients), self._leave(initial)

    def _join(self, results: list[Array]) -> Array:
        raise NotImplementedError

    def _keep(self, results: list[Array]) -> Any:
        """What `_split` wants to see again."""
        return None

    def _split(self, dy: Array, kept: Any) -> list[Array]:
        """The gradient of each branch's result."""
        raise NotImplementedError

    def __repr__(self) -> str:
        named = (f"{name}={part!r}" if self.names else repr(part) for name, part in self.parts.items())
        return f"{type(self).__name__}({', '.join(named)})"


def _sum(gradients: list[Array | None]) -> Array | None:
    there = [gradient for gradient in gradients if gradient is not None]
    if not there:
        return None
    with flushing():
        total = there[0].copy()  # it may be dy itself
        for gradient in there[1:]:
            total += gradient
    return total


class Concat(Branches):
    """y = [branch(x), branch(x), ...]: the features of all branches side by side.

    Parameters
    ----------
    *branches, **inputs
        As of `Branches`: layers or lists of layers that read the same x, or by name each its own.

    Examples
    --------
    >>> from rnncore import Activation, Concat, Embedding
    >>> Concat(word=Embedding(1000, 50), shape=Activation("identity", features=6)).features()
    (None, 56)
    """

    def _check_outputs(self) -> None:
        for name, branch in self.parts.items():
            if self.names and branch.features()[1] is None:
                raise ValueError(f"branch {name} does not say how many features it gives; say it there")

    def features(self) -> tuple[int | None, int | None]:
        return self._takes, self.gives(self._takes)

    def gives(self, features: int | None) -> int | None:
        sizes = [branch.gives(self._takes or features) for branch in self.children]
        return sum(size or 0 for size in sizes) if all(sizes) else None

    def _join(self, results: list[Array]) -> Array:
        return np.concatenate(results, axis=-1)

    def _keep(self, results: list[Array]) -> Any:
        return [y.shape[-1] for y in results]

    def _split(self, dy: Array, kept: Any) -> list[Array]:
        check_array("dy", dy, self.dtype, "TBF"[-dy.ndim :], (*dy.shape[:-1], sum(kept)))
        return np.split(dy, np.cumsum(kept)[:-1], axis=-1)


class Add(Branches):
    """y = branch(x) + branch(x) + ..., of branches that give as many features; as `Concat` otherwise."""

    def _join(self, results: list[Array]) -> Array:
        y = results[0] + results[1]
        for other in results[2:]:
            y += other
        return y

    def _split(self, dy: Array, kept: Any) -> list[Array]:
        return [dy] * len(self.parts)


class Multiply(Branches):
    """y = branch(x) * branch(x) * ..., entry by entry: gates; as `Add` otherwise."""

    def _join(self, results: list[Array]) -> Array:
        return np.asarray(math.prod(results[1:], start=results[0]))

    def _keep(self, results: list[Array]) -> Any:
        return results

    def _split(self, dy: Array, kept: Any) -> list[Array]:
        others = [[*kept[:place], *kept[place + 1 :]] for place in range(len(kept))]
        return [math.prod(factors, start=dy) for factors in others]


class Residual(Nested):
    """y = x + f(x) (He et al., 2016).

    Parameters
    ----------
    *layers
        f: one layer or several in a chain, which give as many features as they take.
    layer
        The same in one, as a configuration has it.
    """

    def __init__(self, *layers: Any, layer: Any = None) -> None:
        if (layer is None) == (not layers):
            raise ValueError("a Residual needs what it goes around: a layer, or several")
        given = layer if layers == () else layers[0] if len(layers) == 1 else layers
        inner = as_layer("layer", given)
        super().__init__({"layer": inner})
        takes, gives = inner.features()
        if takes != gives and None not in (takes, gives):
            raise ValueError(f"layer takes {takes} features and gives {gives}; a residual needs the same")
        if inner.pools or inner.takes_ids:
            raise ValueError(f"layer, {inner}, takes ids or gives one row per sequence; x cannot be added")
        self.takes_rows = inner.takes_rows  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Residual({self.children[0]!r})"

    def config(self) -> dict[str, Any]:
        return {"layer": describe(self.children[0])}

    def features(self) -> tuple[int | None, int | None]:
        takes, gives = self.children[0].features()
        return takes or gives, takes or gives

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, NestedTape | None]:
        (own,) = self._enter(state)
        lengths = check_lengths(lengths, *x.shape[:2]) if x.ndim > 2 else None
        x = zero_padding(x, lengths)
        y, final, tape = self.children[0].forward(x, own, lengths, record)
        with flushing():
            y = x + y
        own_tape = NestedTape((tape,), rows=x.shape[-2], lengths=lengths) if record else None
        return y, self._leave([final]), own_tape

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        own = None if dstate is None else dstate[0]
        dy = zero_padding(dy, tape.lengths)
        dx, initial = self.children[0].backward(dy, tape.parts[0], own, input_gradient)
        return _sum([dx, dy]) if input_gradient else None, self._leave([initial])
