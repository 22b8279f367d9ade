"""A network that answers one step at a time; the loop is rnncore/kernels/stream.pyx."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_finite, check_size, take_array, take_state
from .kernels import dispatch
from .kernels.stream import Program, Runner
from .layers import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    Layer,
    LeakyElman,
    SkipElman,
)
from .layers.base import ExplodingState
from .layers.recurrent import ACTIVATIONS, Recurrent

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]


class Stage(NamedTuple):
    """A layer as one step sees it."""

    kind: str
    arrays: dict[str, Array]  # parameters by their names, leaks, delays
    gate_activation: int = 0  # places in ACTIVATIONS
    activation: int = 0
    zoneout: tuple[float, ...] = ()  # of each state, or none
    limit: float = 0.0  # of the state's entries; 0: none
    function: int = 0  # what is applied to y, a place in FUNCTIONS
    alpha: float = 0.0
    features: int = 0  # of an activation
    equation: Any = None  # the layer, where it is a cell written as its equation


KINDS: dict[type[Layer], str] = {
    Embedding: "embedding",
    Dense: "dense",
    Activation: "activation",
    Elman: "elman",
    LeakyElman: "leaky",
    SkipElman: "skip",
    LSTM: "lstm",
    GRU: "gru",
}
# Arguments of a layer that change nothing in evaluation, or that a stage takes.
KNOWN = {
    "num_embeddings", "embedding_dim", "in_features", "out_features", "input_size", "hidden_size",
    "checkpoint_every", "recurrent_init", "recurrent_dropout", "forget_bias", "chrono", "limit",
    "activation", "gate_activation", "peepholes", "coupled", "reset_after",
    "leak", "time_constants", "leak_seed", "learn_leak", "noise", "excitatory", "zoneout", "delays",
    "features", "alpha",
}  # fmt: skip
_programs: WeakKeyDictionary[Network, tuple[bytes, Program]] = WeakKeyDictionary()
_programs_lock = threading.Lock()


def _renew_lock() -> None:
    """In a forked child: a thread that is not there may have held the lock."""
    global _programs_lock
    _programs_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Stream(Runner):
    """A network put to work step by step; ``net.stream()`` makes one.

    `step` and `run` run the whole chain in compiled code and allocate nothing but their result, and not even
    that with ``out``. Results are the same bits as those of ``net.forward`` over the whole sequence in
    evaluation. A stream holds states; the packed weights are shared by all streams of a network, a copy from
    when the stream was made: training does not reach it until `refresh`.

    Streams of one network may run in parallel threads; one stream belongs to one thread at a time.
    """

    def __init__(self, program: Program, batch: int, softmax: bool, network: Network) -> None:
        self.batch = batch
        self.network = network
        # Of each layer, the shapes of the arrays that its state consists of.
        self._shapes = [
            layer.state_shapes(batch) if isinstance(layer, Recurrent) else () for layer in network.layers
        ]

    def refresh(self) -> None:
        """Take the network's weights as they are now; the state stays."""
        self._replace(packed(self.network))

    def reset(self, rows: int | Iterable[int] | None = None) -> None:
        """Set the state to zero, that of all rows or of the given ones.

        Raises
        ------
        TypeError, ValueError
            If ``rows`` are not whole numbers from 0 to batch - 1; the state is as before.
        """
        if rows is None:
            self._clear(np.arange(self.batch, dtype=np.intp))
            return
        given = np.atleast_1d(np.asarray(list(rows) if isinstance(rows, Iterable) else rows))
        if given.size and (given.ndim != 1 or given.dtype.kind not in "iu"):
            raise TypeError(f"rows is {rows!r}, but a whole number or several are wanted")
        if given.size and not (given.min() >= 0 and given.max() < self.batch):
            bad = given[(given < 0) | (given >= self.batch)][0]
            raise ValueError(f"rows has {bad}, but this stream has rows 0 to {self.batch - 1}")
        self._clear(given.astype(np.intp))

    @property
    def state(self) -> tuple[Any, ...]:
        """A copy of the state, as ``net.forward`` takes and returns it: an entry per layer; can be set."""
        flat = self._flat()
        self._copy_states(flat, False)
        entries: list[Any] = []
        start = 0
        for shapes in self._shapes:
            copies = []
            for shape in shapes:
                stop = start + math.prod(shape)
                copies.append(flat[start:stop].reshape(shape).copy())
                start = stop
            entries.append(tuple(copies) if len(copies) > 1 else copies[0] if copies else None)
        return tuple(entries)

    @state.setter
    def state(self, state: tuple[Any, ...] | None) -> None:
        if state is None:
            self.reset()
            return
        layers, state = self.network.layers, take_state("state", state)
        if not isinstance(state, tuple) or len(state) != len(layers):
            raise ValueError(
                f"state is no tuple of {len(layers)} entries, one per layer, as net.forward returns it"
            )
        flat, start = self._flat(), 0
        flat.fill(0)  # None stands for a zero state
        for place, (layer, part, shapes) in enumerate(zip(layers, state, self._shapes, strict=True)):
            layer.check_state(f"state[{place}]", part, self.batch)
            stop = start + sum(map(math.prod, shapes))
            if part is not None:
                flat[start:stop] = np.concatenate(part if len(shapes) > 1 else (part,), axis=None)
            start = stop
        self._copy_states(flat, True)

    def _flat(self) -> Array:
        size = sum(math.prod(shape) for shapes in self._shapes for shape in shapes)
        return np.empty(size, self.network.dtype)

    def _explain(self, x: Any, block: bool) -> Array:
        """Raise what is wrong with x; or return it, where it only looked wrong, as the kernel takes it."""
        first = next(layer for layer in self.network.layers if not passes_through(layer))
        x = take_array("x", x)
        taken = self._take_ids(first, x) if isinstance(first, Embedding) else x
        axes = {"T": None, "B": self.batch, "F": self.network.in_features}
        wanted = ("T" if block else "") + ("B" if isinstance(first, Embedding) else "BF")
        if self.batch == 1 and getattr(taken, "ndim", len(wanted)) == len(wanted) - 1:
            wanted = wanted.replace("B", "")  # with one row its axis may be left out
        dtype = taken.dtype if isinstance(first, Embedding) else self.network.dtype
        checked = check_array("x", taken, dtype, wanted, [axes[axis] for axis in wanted])
        if not checked.size:
            raise ValueError(f"x has shape {checked.shape}, but at least one step is wanted")
        if not isinstance(first, Embedding):
            check_finite("x", checked)
        return checked if checked.flags.aligned else checked.copy()

    def _take_ids(self, first: Embedding, x: Any) -> Array:
        """Ids as the kernel takes them, checked for their type and range."""
        ids = np.asarray(x) if isinstance(x, (int, np.integer)) and not isinstance(x, bool) else x
        if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu":
            came = ids.dtype if isinstance(ids, np.ndarray) else type(ids).__name__
            raise TypeError(f"x is {came}, but an embedding wants integer ids")
        if ids.size and not (ids.min() >= 0 and ids.max() < first.num_embeddings):
            bad, last = ids[(ids < 0) | (ids >= first.num_embeddings)].flat[0], first.num_embeddings - 1
            raise ValueError(f"x has the id {bad}, but ids from 0 to {last} are wanted")
        return np.array(ids, dtype=np.intp, order="C")

    def _explain_out(self, out: Any, shape: tuple[int, ...]) -> None:
        """Raise what is wrong with ``out``; a converted copy, as of x, would not reach the caller."""
        dtype = self.network.dtype
        if isinstance(out, np.ndarray) and out.dtype != dtype:
            raise TypeError(f"out is {out.dtype}, but this network computes in {dtype}: pass one of that")
        if not isinstance(out, np.ndarray) or out.flags.c_contiguous or out.shape != shape:
            check_array("out", out, dtype, "TBO"[-len(shape) :], shape)
            if not out.flags.aligned:
                raise ValueError("out is not aligned to its numbers: pass an array that NumPy made")
            raise ValueError("out cannot be written to: pass an array of your own")
        raise ValueError("out is not C-contiguous, but memory of one piece is wanted to write to")

    def _explode(self, stage: int) -> None:
        """Raise ExplodingState for a stage of the program."""
        entries = [entry for entry in enumerate(self.network.layers) if not passes_through(entry[1])]
        place, layer = entries[stage]
        assert isinstance(layer, Recurrent)  # no other has a state
        limit = layer.bound()
        how = "is not finite any more" if limit == math.inf else f"has left its limit of {limit:g}"
        raise ExplodingState(
            f"layer {place}, {layer}: the state {how}: reset the stream; smaller recurrent weights or inputs "
            "help"
        )

    def __reduce__(self) -> Any:
        raise TypeError("a Stream is not copied or pickled: make one of the network, and hand its state over")

    def __repr__(self) -> str:
        return f"<Stream of {self.network}, batch={self.batch}>"


def stream(network: Network, batch: int, softmax: bool) -> Stream:
    """A stream over ``batch`` rows; see `Network.stream`."""
    batch = check_size("batch", batch)
    if not isinstance(softmax, bool):
        raise TypeError(f"softmax is {softmax!r}, but True or False is wanted")
    return Stream(packed(network), batch, softmax, network)


def packed(network: Network) -> Program:
    """The network's weights as they are now, packed: the ones from before, if none has changed."""
    chain = stages(network)
    # Of the whole chain: what a layer's attributes say may change as well as its parameters.
    digest = hashlib.blake2b(person=dispatch.level().encode())
    for stage in chain:
        digest.update(repr(stage._replace(arrays={})).encode())
        for array in stage.arrays.values():
            digest.update(array.data)
    key = digest.digest()
    with _programs_lock:
        found = _programs.get(network)
        if found is None or found[0] != key:
            found = key, Program(chain, network.dtype == np.float64)
            _programs[network] = found
        return found[1]


def stages(network: Network) -> list[Stage]:
    """The chain as one step sees it.

    Raises
    ------
    ValueError
        If a layer cannot go step by step.
    """
    found, features = [], network.in_features
    for place, layer in enumerate(network.layers):
        if not passes_through(layer):
            found.append(stage_of(place, layer, features))
        features = layer.gives(features)
    if not found:
        raise ValueError("a network of Dropout alone does nothing in evaluation: there is nothing to run")
    return found


def passes_through(layer: Layer) -> bool:
    """Whether a step leaves this layer as it came: of a LastStep, y is the one after the latest step."""
    return type(layer) is Dropout or (type(layer) is LastStep and not layer.bidirectional)


def stage_of(place: int, layer: Layer, features: int | None) -> Stage:
    """What the kernels want to know of a layer that takes so many features."""
    own = type(layer).__name__
    if layer.pools:
        raise ValueError(f"layer {place}, {own}, turns a whole sequence into one row: no stream can do that")
    if layer.looks_ahead:
        raise ValueError(f"layer {place}, {own}, reads later steps as well: no stream can do that")
    if isinstance(layer, Recurrent) and layer.stepwise():
        return Stage("equation", dict(layer.params), limit=layer.bound() or 0.0, equation=layer)
    if type(layer) not in KINDS:
        raise ValueError(f"layer {place}, {own}, has no kernel that goes step by step")
    unknown = {*layer.config()} - KNOWN
    if unknown:
        raise ValueError(f"layer {place}, {own}, cannot go step by step with {', '.join(sorted(unknown))}")
    kind, arrays = KINDS[type(layer)], dict(layer.params)
    if isinstance(layer, Activation) and features is None:
        raise ValueError(
            f"layer {place}, {layer}, does not say how many features it takes; pass {own}(..., features=F)"
        )
    if isinstance(layer, (Dense, Activation)):
        function = layer.function
        return Stage(kind, arrays, function=function.number, alpha=function.alpha, features=features or 0)
    if not isinstance(layer, Recurrent):
        return Stage(kind, arrays)
    arrays["weight_hh"] = layer.recurrent_weight()
    if isinstance(layer, LeakyElman):
        arrays.pop("leak_logit", None)
        arrays["leak"] = layer.leaks()
    if isinstance(layer, SkipElman):
        arrays["delays"] = np.array(layer.delays, np.intp)
    gates = getattr(layer, "gate_activation", "tanh")  # an Elman layer has none
    numbers = ACTIVATIONS.index(gates), ACTIVATIONS.index(layer.activation)
    return Stage(kind, arrays, *numbers, tuple(layer.zoneout), layer.bound() or 0.0)
