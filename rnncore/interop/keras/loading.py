"""A network out of a Keras file, or a network's weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...checks import check_flag, one_line
from ...data.table import listed
from ...layers import Bidirectional, Dense, Embedding, Layer
from ...network import Network
from ..cells import directions, fill
from .cells import CUDNN, RECURRENT, cell_values, kind_of, plain_arrays
from .files import Source, layer_names, named_arrays, numbered_arrays, read, read_config
from .graph import Node, read_graph
from .layers import IDLE, Line, need, split

Array = NDArray[Any]
Path = str | os.PathLike[str]

# The folder of a layer in a .weights.h5 file is its class's name, numbered from the second one on.
FOLDERS = {"SimpleRNN": "simple_rnn", "GRU": "gru", "LSTM": "lstm"}
PLAIN = {**CUDNN, "TimeDistributed": "Dense", "TimeDistributedDense": "Dense"}
WEIGHTED = {*RECURRENT, "Bidirectional", "Dense", "Embedding", "TimeDistributed", "TimeDistributedDense"}


def load(
    path: Path,
    output: str | None = None,
    masked: bool = False,
    config: Path | None = None,
    logits: bool = True,
) -> Network:
    """The network of a ``.keras`` file, or of an ``.h5`` file that holds a whole model (Keras 1 to 3).

    Its layers must form a chain of Embedding, Masking, SimpleRNN, LSTM, GRU, CuDNNLSTM, CuDNNGRU,
    Bidirectional, Dense, activations, Dropout and GlobalAveragePooling1D. Every attribute and every
    connection is read; what is not understood is refused. Dropout inside a recurrent layer and layers that
    act in training only are not taken over.

    Parameters
    ----------
    path
        The file.
    output
        The name of the layer whose result is asked for, where the model has several outputs or only a part of
        it is of use. None for the model's own output.
    masked
        A model with a mask (``Masking``, ``Embedding(mask_zero=True)``) leaves out masked steps. The mask is
        an argument of the call here: True takes such a model; give each call ``lengths=mask`` then, ``bool
        (T, B)`` and True where a step counts, such as ``ids != 0``. False refuses it.
    config
        What ``model.to_json()`` wrote, where ``path`` holds the weights alone, as ``save_weights`` of Keras
        1 and 2 writes them.
    logits
        True leaves out a softmax or sigmoid at the end, which the losses here have inside; False keeps it,
        so that the network gives what Keras gives.

    Returns
    -------
    net
        Time-major: ``(T, B, F)``, where Keras has ``(B, T, F)``; in evaluation mode.

    Raises
    ------
    ValueError
        If a file is damaged, or a layer has no counterpart here; the message names file and layer.
    OSError
        If one cannot be opened.
    """
    described = None
    if config is not None:
        with _errors_name(os.fspath(config)):
            described = read_config(os.fspath(config))
    with _errors_name(os.fspath(path)):
        source = read(os.fspath(path))
        described = source.config if described is None else described
        if described is None:
            raise ValueError(
                "it holds weights only: pass config=, what model.to_json() wrote, or pass the file to "
                "load_weights, with the network that the weights belong to"
            )
        line = Line(
            read_graph(described), source.version, check_flag("masked", masked), check_flag("logits", logits)
        )
        _build(line, source, output)
        first = line.weights[0][0][0] if line.weights else np.zeros(0, np.float32)
        net = Network(*line.layers, dtype=first.dtype, initialize=False)
        _fill(net, line.weights)
    return net.eval()


def load_weights(path: Path, net: Network, names: Sequence[str] | None = None) -> Network:
    """Fill a network from a ``.weights.h5``, ``.keras`` or ``.h5`` file; returns it.

    Parameters
    ----------
    path
        The file; a configuration in it is not needed.
    net
        Each of its layers with parameters takes the file's next layer of its kind.
    names
        The layers of the file in the order of those of ``net``, such as ``("rnn_1", "rnn_2")``, where the
        file has more layers than these or another order. In a ``.weights.h5`` file they are folders, such as
        ``"lstm_1"``.

    Raises
    ------
    ValueError
        If the file is damaged or its weights do not fit; ``net`` is as before then.
    OSError
        If it cannot be opened.
    """
    with _errors_name(os.fspath(path)):
        source = read(os.fspath(path))
        layers = [layer for layer in net.layers if layer.parameter_shapes()]
        if names is not None and len(names) != len(layers):
            have = f"{len(layers)} layers with parameters"
            raise ValueError(f"names are {len(names)}, but the network has {have}")
        kinds = [_kind(layer) for layer in layers]
        choose = _bare if source.config is None else _described
        found = choose(source, kinds, names)
        weights = [_plain(layer, arrays, name) for layer, (name, arrays) in zip(layers, found, strict=True)]
        _fill(net, weights)
    return net


@contextmanager
def _errors_name(name: str) -> Iterator[None]:
    """Whatever a file makes of the code that reads it is one ValueError that names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {one_line(error, 1500)}") from error
    except OSError as error:
        if error.filename is not None:  # it could not be opened
            raise
        raise ValueError(f"{name} cannot be read: it is damaged: {one_line(error)}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError) as error:
        raise ValueError(f"{name} cannot be read: it is damaged: {one_line(error)}") from error


def _build(line: Line, source: Source, output: str | None) -> None:
    """Add the layers that lead to an output, with their weights."""
    steps = line.graph.line(output)
    folders = _node_folders(list(line.graph.nodes.values()))
    for place, step in enumerate(steps):
        node = step.node
        arrays = _arrays(source, node, folders) if node.kind in WEIGHTED else {}
        line.last = all(later.node.kind in IDLE for later in steps[place + 1 :])
        line.add(step, arrays)
    if not line.layers:
        raise ValueError("it has no layer that is one here")


def _arrays(source: Source, node: Node, folders: dict[str, str]) -> dict[str, Array]:
    if source.named:
        return named_arrays(source, node.name)
    return numbered_arrays(source, folders[node.name], _places(node.kind))


def _snake(kind: str) -> str:
    """The folder that Keras 3 makes of a class's name, in the cases that are known here."""
    known = {**FOLDERS, "TimeDistributed": "time_distributed"}
    return known.get(kind, kind.lower())


def _node_folders(nodes: list[Node]) -> dict[str, str]:
    """The folder of each layer in a .weights.h5 file: all layers of the model are counted."""
    numbered = _folders([node.kind for node in nodes])
    return {node.name: folder for node, folder in zip(nodes, numbered, strict=True)}


def _folders(kinds: list[str]) -> list[str]:
    return [
        _snake(kind) + (f"_{kinds[:place].count(kind)}" if kind in kinds[:place] else "")
        for place, kind in enumerate(kinds)
    ]


def _places(kind: str) -> list[str]:
    """Where in its folder a layer has arrays."""
    parts = {"Bidirectional": ["forward_layer/cell", "backward_layer/cell"], "TimeDistributed": ["layer"]}
    return parts.get(kind, ["cell"] if kind in FOLDERS else [""])


def _described(
    source: Source, kinds: list[str], names: Sequence[str] | None
) -> list[tuple[str, dict[str, Array]]]:
    """Names and arrays of the layers that a network's take, from a file with a configuration."""
    nodes = read_graph(source.config).nodes
    chosen = [node for node in nodes.values() if node.kind in WEIGHTED]
    if names is not None:
        _check_names(names, list(nodes))
        chosen = [nodes[name] for name in names]
    theirs = [PLAIN.get(node.kind, node.kind) for node in chosen]
    if theirs != kinds:
        raise ValueError(
            f"it has the layers {listed(theirs)}, but the network {listed(kinds)}"
            + ("" if names else "; pass names= with those that belong to it")
        )
    folders = _node_folders(list(nodes.values()))
    return [(node.name, _arrays(source, node, folders)) for node in chosen]


def _bare(
    source: Source, kinds: list[str], names: Sequence[str] | None
) -> list[tuple[str, dict[str, Array]]]:
    """Names and arrays of the layers that a network's take, from a file of weights alone."""
    if not source.named:
        folders = list(names) if names is not None else _folders(kinds)
        return [
            (folder, numbered_arrays(source, folder, _places(kind)))
            for folder, kind in zip(folders, kinds, strict=True)
        ]
    have = layer_names(source)
    if names is not None:
        _check_names(names, have)
        return [(name, named_arrays(source, name)) for name in names]
    found = [(name, named_arrays(source, name)) for name in have]
    weighted = [(name, arrays) for name, arrays in found if arrays]
    if len(weighted) != len(kinds):
        raise ValueError(
            f"it has the layers {listed([name for name, _ in weighted])}, but the network {listed(kinds)}; "
            "pass names= with those that belong to it"
        )
    return weighted


def _check_names(names: Sequence[str], have: list[str]) -> None:
    missing = [name for name in names if name not in have]
    if missing:
        raise ValueError(f"names has {missing[0]!r}, but it has the layers {listed(have)}")


def _kind(layer: Layer) -> str:
    """The class in Keras that a layer with parameters is."""
    if isinstance(layer, Bidirectional):
        return "Bidirectional"
    found = kind_of(layer) or {Embedding: "Embedding", Dense: "Dense"}.get(type(layer), "")
    if not found:
        raise ValueError(f"the network's {layer} has no counterpart in Keras")
    return found


def _plain(layer: Layer, arrays: dict[str, Array], name: str) -> list[list[Array]]:
    """A layer's arrays in the layout of Keras 2 and 3, one list for each direction."""
    label = f"its layer {name[:80]!r}"
    cells = directions(layer)
    if cells:
        parts = split(arrays, label) if len(cells) == 2 else [arrays]
        return [
            plain_arrays(kind_of(cell), part, label) for (cell, _), part in zip(cells, parts, strict=True)
        ]
    wrong = "kernel" if isinstance(layer, Embedding) else "embeddings"
    if wrong in arrays:
        raise ValueError(f"{label} has {', '.join(arrays)}, but {layer} is to take them")
    return [need(arrays, label, 1 if isinstance(layer, Embedding) else 2)]


def _fill(net: Network, weights: list[list[list[Array]]]) -> None:
    """Copy the arrays into the layers with parameters; all are checked first."""
    layers = [(place, layer) for place, layer in enumerate(net.layers) if layer.parameter_shapes()]
    ready = []
    for (place, layer), arrays in zip(layers, weights, strict=True):
        label = f"layer {place}, {layer},"
        values = _ours(layer, arrays, label)
        fill({name: np.empty_like(view) for name, view in layer.params.items()}, values, label)
        ready.append((layer, values, label))
    for layer, values, label in ready:
        fill(layer.params, values, label)


def _ours(layer: Layer, arrays: list[list[Array]], label: str) -> dict[str, Array]:
    """A layer's parameters from Keras's arrays."""
    cells = directions(layer)
    if not cells:
        kernel, *bias = arrays[0]
        if isinstance(layer, Embedding):
            return {"weight": kernel}
        return {"weight": kernel.T, "bias": bias[0] if bias else np.zeros(kernel.shape[1], kernel.dtype)}
    values: dict[str, Array] = {}
    for (cell, suffix), part in zip(cells, arrays, strict=True):
        values |= {f"{name}{suffix}": value for name, value in cell_values(cell, part, label).items()}
    return values
