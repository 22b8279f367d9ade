"""`Network.infer`: small calls through a chain packed once (rnncore/kernels/chain.pyx), all others through
the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .kernels.chain import Chain, Layers
from .layers import Activation, Bidirectional, Dense, Dropout, Embedding, LastStep, Layer, MeanPool
from .layers.recurrent import Recurrent
from .stream import Stage, stage_of

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]

MOST_BYTES = 2 << 20  # of weights; a copy of more costs memory, and to look at it time
# Attributes of layers that change as they run, and nothing of what an evaluation computes.
UNWATCHED = {"params", "grads", "panels", "flow", "rng", "training", "clip_step", "clipped_steps"}
UNWATCHED |= {"clipped_factors", "layer", "reverse"}


def infer(network: Network, x: Any, lengths: Any) -> Array:
    """y in evaluation: once more by the chain, if it was packed before the weights changed, or the layers."""
    chain = network.chain
    if chain is None or not chain.follows(network.packed):
        chain = network.chain = chain_of(network)
        y = chain.run(x, lengths, network.packed)
        if y is not None:
            return y
    with network.evaluating():
        return network.forward(x, None, lengths, record=False)[0]


def chain_of(network: Network) -> Layers:
    """The network as it is now, packed where its layers make up a chain of moderate size."""
    parts = [part for layer in network.layers for part in _parts(layer)]
    watched = [_watch(part) for part in parts]
    try:
        links = _chain_of_links(network)
    except ValueError:  # a layer that no stage can be made of
        return Layers(watched)
    stages = [stage for link in links for stage in link.stages]
    table = links[0].table if links else None
    weights = network.params.flat[0 if table is None else table.size :]
    begins = links and (table is not None or links[0].stages)
    ours = all(getattr(part, "backend", kernels) is kernels for part in parts)
    if not (begins and stages and ours and weights.nbytes <= MOST_BYTES):
        return Layers(watched)
    named, features = [], 0
    for link in links:
        features = link.features or features
        named.append((link.kind, features))
    least = max(part.depth if isinstance(part, Recurrent) else 1 for part in parts)
    return Chain(watched, named, stages, table, weights, least, network.dtype == np.float64)


class Link(NamedTuple):
    """A layer as the chain takes it."""

    kind: str
    features: int | None  # that it hands on; None: as many as it takes
    stages: tuple[Stage, ...] = ()
    table: Array | None = None


def _chain_of_links(network: Network) -> list[Link]:
    links: list[Link] = []
    features = network.in_features
    for place, layer in enumerate(network.layers):
        links += _links(place, layer, features)
        features = layer.gives(features)
    return links


def _links(place: int, layer: Layer, features: int | None) -> tuple[Link, ...]:
    """The layer, which takes so many features, as a link; none for one that does nothing in evaluation.

    Raises
    ------
    ValueError
        If no stage can be made of it.
    """
    entering, features = features, layer.features()[1]
    if type(layer) is Dropout:
        return ()
    if type(layer) is LastStep:
        return (Link("last of both" if layer.bidirectional else "last", None),)
    if type(layer) is MeanPool:
        return (Link("mean", None),)
    if type(layer) is Embedding:
        return (Link("embedding", features, table=layer.params["weight"]),)
    if type(layer) is Bidirectional:
        both = _stage(place, layer.layer, entering), _stage(place, layer.reverse, entering)
        return (Link("directions", features, both),)
    stage = _stage(place, layer, entering)
    kind = "dense" if isinstance(layer, (Dense, Activation)) else "cell"
    return (Link(kind, features or entering, (stage,)),)


def _stage(place: int, layer: Layer, entering: int | None) -> Stage:
    stage = stage_of(place, layer, entering)
    if stage.equation is not None:
        raise ValueError(f"layer {place} is written as its equation, which the chain does not run")
    return stage


def _parts(layer: Layer) -> tuple[Layer, ...]:
    """The layer and, of a bidirectional one, its halves."""
    return (layer, layer.layer, layer.reverse) if isinstance(layer, Bidirectional) else (layer,)


def _watch(layer: Layer) -> tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...], int]:
    """What the layer's stage follows from beside its parameters; of lists copies, which may be written to."""
    owner = layer.__dict__
    kept = {name: value for name, value in owner.items() if name not in UNWATCHED}
    values = tuple(list(value) if isinstance(value, list) else value for value in kept.values())
    return owner, tuple(kept), values, len(owner)
