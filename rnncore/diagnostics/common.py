"""What the diagnostics share: the recurrent layers of a network, a look that changes nothing, float64
twins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..layers import Elman
from ..layers.flow import Flow
from ..layers.recurrent import Recurrent, RecurrentTape, SegmentedTape
from ..network import Network

Array = NDArray[Any]
Entry = TypeVar("Entry")


class ByLayer(Generic[Entry]):
    """Results for each recurrent layer, by name; ``result["0"]`` is that of the one at position 0."""

    __slots__ = ()
    layers: dict[str, Entry]

    def __getitem__(self, name: str | int) -> Entry:
        if str(name) not in self.layers:
            raise KeyError(f"there is no recurrent layer {name!r}; there are {', '.join(self.layers)}")
        return self.layers[str(name)]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.layers.values())

    def __len__(self) -> int:
        return len(self.layers)


def width_of_names(results: ByLayer[Any]) -> int:
    """Columns for the layers' names and classes in a table."""
    return max(14, *(len(f"{layer.name} {layer.kind}") + 1 for layer in results))


def recurrent_layers(net: Any) -> dict[str, Recurrent]:
    """The recurrent layers by name: the place in the network, and an attribute for those inside of a layer.

    Raises
    ------
    TypeError
        If ``net`` is no network.
    ValueError
        If it has no recurrent layer.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net is a {type(net).__name__}, but a Network is wanted")
    found: dict[str, Recurrent] = {}
    for position, layer in enumerate(net.layers):
        if isinstance(layer, Recurrent):
            found[str(position)] = layer
            continue
        for name, inner in vars(layer).items():
            if isinstance(inner, Recurrent):
                found[f"{position}.{name}"] = inner
    if not found:
        raise ValueError("net has no layer with a recurrent state: there is nothing to look into")
    return found


def require_recurrent(layer: Any) -> Recurrent:
    """``layer`` as it is, if it is a recurrent one in a network whose steps are one function of input and
    state before; TypeError, ValueError or RuntimeError if not."""
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer is a {type(layer).__name__}, which has no recurrent state, but one is wanted")
    if not layer.one_step:
        own = type(layer).__name__
        raise ValueError(f"layer is a {own}: its steps are no one function of the state before")
    layer.require_bound()
    return layer


def require_tape(layer: Recurrent, tape: Any) -> RecurrentTape:
    """``tape`` as it is, if it could be one of this layer; TypeError or ValueError if not."""
    if not isinstance(tape, RecurrentTape):
        raise TypeError(f"tape is a {type(tape).__name__}, but what {layer!r} left is wanted")
    features, units = tape.x.shape[2], tape.hidden.shape[2]
    if (features, units) != (layer.input_size, layer.state_widths[0]):
        raise ValueError(
            f"tape is of {units} units over {features} features, but layer has {layer.state_widths[0]} over "
            f"{layer.input_size}"
        )
    if layer.unit_by_unit:
        if not layer.fits(tape):
            raise ValueError(f"tape is a {type(tape).__name__} that another layer left than {layer!r}")
        return tape
    # Where a pass was kept in segments, its tape knows the states alone; h is all that an Elman's has.
    kept = isinstance(tape, SegmentedTape)
    states = 1 + len(tape.borders[0]) if isinstance(tape, SegmentedTape) else len(tape.states())
    gates = getattr(tape, "gates", tape.hidden)
    other = not kept and (gates is None or gates.shape[2] != layer.gates * units)
    if states != len(layer.state_names) or other or (hasattr(tape, "gates") and type(layer) is Elman):
        raise ValueError(f"tape is a {type(tape).__name__} that another layer left than {layer!r}")
    return tape


def require_loss(loss: Any) -> None:
    """TypeError unless ``loss`` is an object to call."""
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"loss is {loss!r}, but an object to call is wanted, such as CrossEntropy()")


def losses_gradient(
    loss: Any, y: Array, target: Any, lengths: Any, weights: Any
) -> tuple[float, Array]:
    """Value and gradient of a loss; weights are for those only that know them."""
    given = np.asarray(0 if lengths is None else lengths)
    if given.ndim == 1 and given.dtype.kind in "iu" and not given.all():
        row = int(np.flatnonzero(given == 0)[0])
        raise ValueError(
            f"lengths[{row}] is 0, but a gradient is followed from each row's last step; leave out rows of "
            "no steps"
        )
    value, dy = loss(y, target, lengths) if weights is None else loss(y, target, lengths, weights)
    return float(value), dy


@contextmanager
def looking(net: Network, layers: dict[str, Recurrent], gates: bool = False) -> Iterator[None]:
    """Recurrent layers record the gradient flow; nothing is dropped or clipped; all is put back after."""
    training, grads = net.training, net.grads.flat.copy()
    kept = ("clip_step", "clipped_steps", "clipped_factors", "flow")
    before = {name: [getattr(layer, each) for each in kept] for name, layer in layers.items()}
    net.eval()
    try:
        for layer in layers.values():
            layer.clip_step, layer.flow = math.inf, Flow(gates)
        yield
    finally:
        net.train(training)
        net.grads.flat[...] = grads
        for name, layer in layers.items():
            for each, value in zip(kept, before[name], strict=True):
                setattr(layer, each, value)


def double(layer: Recurrent) -> Recurrent:
    """A layer of the same weights in float64 with gradients of its own: what it does is not seen outside."""
    config = {name: value for name, value in layer.config().items() if name != "checkpoint_every"}
    twin = type(layer)(**config)
    params = {name: array.astype(np.float64) for name, array in layer.params.items()}
    grads = {name: np.zeros_like(array) for name, array in params.items()}
    twin.bind(params, grads, np.dtype(np.float64), np.random.default_rng(0))
    twin.training = False
    return twin


def felt_weights(layer: Recurrent) -> Array:
    """The recurrent weights as the units feel them, (G*H, H): signed, where a layer is under Dale's law."""
    felt = getattr(layer, "recurrent_weight", None)
    weights: Array = layer.params["weight_hh"] if felt is None else felt()
    return weights


def whole_tape(layer: Recurrent, tape: RecurrentTape) -> RecurrentTape:
    """The tape with everything in it: one that was kept in segments is run again."""
    if not isinstance(tape, SegmentedTape):
        return tape
    initial = (tape.hidden[0].copy(), *tape.borders[0])
    every, layer.checkpoint_every = layer.checkpoint_every, None
    try:
        state = initial if len(initial) > 1 else initial[0]
        whole: RecurrentTape = layer.forward(tape.x, state, tape.lengths)[2]
    finally:
        layer.checkpoint_every = every
    return whole


def map_tape(function: Any, tape: RecurrentTape, lengths: Any = None) -> RecurrentTape:
    """A tape of ``function(array)`` for each array of a tape, and these lengths.

    Raises
    ------
    ValueError
        If the tape bears the masks of recurrent dropout or zoneout.
    """
    if tape.masks is not None:
        raise ValueError(
            "tape was left by a layer with recurrent dropout or zoneout, whose masks cannot be taken apart: "
            "look into one with the same weights and without zoneout, after net.eval()"
        )
    mapped: RecurrentTape = tape.mapped(function, lengths)
    mapped.stamp = (*tape.stamp[:2], mapped.shapes(), *tape.stamp[3:])
    return mapped


def row_lengths(tape: RecurrentTape) -> NDArray[np.intp]:
    """Steps of each row, (B,), also where all have as many."""
    steps, rows = tape.x.shape[:2]
    return np.full(rows, steps, np.intp) if tape.lengths is None else tape.lengths


def tapes_of(net: Network, tape: Any) -> dict[str, RecurrentTape]:
    """The tapes of the recurrent layers in a network's tape, under the layers' names."""
    tapes: dict[str, RecurrentTape] = {}
    for position, (layer, entry) in enumerate(zip(net.layers, tape, strict=True)):
        if isinstance(layer, Recurrent):
            tapes[str(position)] = entry
            continue
        inner = [name for name, part in vars(layer).items() if isinstance(part, Recurrent)]
        if inner:
            parts = [getattr(entry, field.name) for field in dataclasses.fields(entry)]
            own = [part for part in parts if isinstance(part, RecurrentTape)]
            tapes |= {f"{position}.{name}": part for name, part in zip(inner, own, strict=True)}
    return tapes
