"""Networks out of Keras files, without Keras and without HDF5.

``.keras`` and whole-model ``.h5`` files say how the layers follow each other; a ``.weights.h5`` file holds
numbers only, for a network that is there already. Kernels are transposed, (in, out) in Keras; the gates of
the LSTM are in our order (i f c o), those of the GRU z r h, where ours are r z n. Keras runs batch-first, we
time-major.
"""

from __future__ import annotations

import io
import json
import os
import reprlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.table import listed
from ..disk import open_without_waiting
from ..files import check_json
from ..layers import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, LastStep, Layer, MeanPool
from ..network import Network
from .cells import directions, fill, options, reorder
from .hdf5 import File

Array = NDArray[Any]
Path = str | os.PathLike[str]

MAX_FILE = 2**31
MAX_CONFIG = 1 << 24
CELLS: dict[str, Any] = {"SimpleRNN": Elman, "GRU": GRU, "LSTM": LSTM}
# The folder of a layer in a .weights.h5 file is its class's name, numbered from the second one on.
FOLDERS = {
    "Bidirectional": "bidirectional", "Dense": "dense", "Embedding": "embedding", "GRU": "gru",
    "LSTM": "lstm", "SimpleRNN": "simple_rnn", "TimeDistributed": "time_distributed",
}  # fmt: skip
LAST_ACTIVATIONS = ("linear", "softmax", "sigmoid")
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "linear": "identity"}


def load(path: Path) -> Network:
    """The network of a ``.keras`` file, or of an ``.h5`` file that holds a whole model.

    Its layers must form a chain of Embedding, SimpleRNN, LSTM, GRU, Bidirectional, Dense, Dropout and
    GlobalAveragePooling1D. A softmax or sigmoid at the end is left out: a network here gives logits. A
    mask is the ``lengths`` of the call; dropout inside a recurrent layer is not taken over.

    Raises
    ------
    ValueError
        If the file is damaged, or a layer has no counterpart here; the message names file and layer.
    OSError
        If it cannot be opened.
    """
    name = os.fspath(path)
    with _errors_name(name):
        config, file = _open(name)
        if config is None:
            raise ValueError(
                "it holds weights only: pass them to load_weights, with the network they belong to"
            )
        described = list(_chain(config))
        kinds = [(kind, str(own.get("name"))) for kind, own in described if kind in FOLDERS]
        weights = _read_weights(file, kinds)
        arrays = iter(weights)
        chain: list[Layer] = []
        for place, (kind, own) in enumerate(described):
            last = all(later == "Activation" for later, _ in described[place + 1 :])
            chain += _build(kind, own, last, next(arrays) if kind in FOLDERS else [])
        dtype = weights[0][0].dtype if weights else np.dtype(np.float32)
        net = Network(*chain, dtype=dtype, initialize=False)
        _fill(net, weights)
    return net


def load_weights(path: Path, net: Network) -> Network:
    """Fill a network from a ``.weights.h5``, ``.keras`` or ``.h5`` file; returns it.

    Each layer of ``net`` with parameters takes the file's next layer of its kind.

    Raises
    ------
    ValueError
        If the file is damaged or its weights do not fit; ``net`` is as before then.
    OSError
        If it cannot be opened.
    """
    name = os.fspath(path)
    with _errors_name(name):
        config, file = _open(name)
        kinds = [(_kind(layer), "") for layer in net.layers if layer.parameter_shapes()]
        if config is not None:
            found = [(kind, str(own.get("name"))) for kind, own in _chain(config) if kind in FOLDERS]
            theirs = ["Dense" if kind == "TimeDistributed" else kind for kind, _ in found]
            ours = [kind for kind, _ in kinds]
            if theirs != ours:
                raise ValueError(f"it has the layers {listed(theirs)}, but the network {listed(ours)}")
            kinds = found
        weights = _read_weights(file, kinds)
        _fill(net, weights)
    return net


@contextmanager
def _errors_name(name: str) -> Iterator[None]:
    """Whatever a file makes of the code that reads it is one ValueError that names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    except OSError as error:
        if error.filename is not None:  # it could not be opened
            raise
        raise ValueError(f"{name} cannot be read: it is damaged: {str(error)[:200]}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} cannot be read: it is damaged: {reason}") from error


def _open(name: str) -> tuple[Any, File]:
    """The configuration, None if the file has none, and the HDF5 file."""
    with open_without_waiting(name) as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            raise ValueError(f"it is no regular file of at most {MAX_FILE} bytes")
        data = source.read()
    config = None
    if data[:2] == b"PK":
        config, data = _unzip(data)
    file = File(data)
    texts = file.texts(file.root, "model_config") if config is None else None
    return (_json(texts[0]) if texts else config), file


def _unzip(data: bytes) -> tuple[Any, bytes]:
    """config.json and model.weights.h5 of a .keras file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = []
            for member, limit in [("config.json", MAX_CONFIG), ("model.weights.h5", MAX_FILE)]:
                info = archive.getinfo(member)
                if info.file_size > min(limit, 16 * info.compress_size + (1 << 20)):
                    raise ValueError(
                        f"its {member} claims {info.file_size} bytes, out of {info.compress_size}"
                    )
                parts.append(archive.read(info))
    except (
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
    ) as error:
        raise ValueError(f"it is no .keras file: {str(error)[:200]}") from error
    return _json(parts[0]), parts[1]


def _json(text: bytes) -> Any:
    check_json(text, "its configuration")
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"its configuration is no JSON: {str(error)[:200]}") from error


def _chain(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Class and configuration of each layer; ValueError unless they follow each other in one line."""
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else inner  # Keras 2 wrote lists too
    if not isinstance(found, list) or not found:
        raise ValueError("its configuration has no list of layers")
    before = None
    for layer in found:
        own = layer.get("config") if isinstance(layer, dict) else None
        kind = layer.get("class_name") if isinstance(layer, dict) else None
        if not isinstance(own, dict) or not isinstance(kind, str) or not kind.isidentifier():
            raise ValueError("its configuration has a layer without a class or without a configuration")
        sources = _sources(layer.get("inbound_nodes", []))
        if sources and sources != [before]:
            raise ValueError(f"its layer {own.get('name')!r} reads {sources}, but a network is a chain")
        before = layer.get("name") or own.get("name")
        if kind != "InputLayer":
            yield kind, own


def _sources(nodes: Any) -> list[Any]:
    """Names of the layers that a functional model's layer reads, in Keras 3's or Keras 2's notation."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            return [nodes["keras_history"][0]]
        return [name for value in nodes.values() for name in _sources(value)]
    if isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and nodes[1:3] == [0, 0]:
            return [nodes[0]]
        return [name for value in nodes for name in _sources(value)]
    return []


def _build(kind: str, own: dict[str, Any], last: bool, arrays: list[Array]) -> list[Layer]:
    """The layers that one of Keras's is here; the arrays say how many inputs it has."""
    label = f"its layer {str(own.get('name'))[:80]!r} ({kind[:80]})"
    if kind == "TimeDistributed":
        kind, own = _inner(own, label)
        if kind != "Dense":
            raise ValueError(f"{label} distributes a {kind[:80]}, and only Dense is known")
    if kind == "Embedding":
        return [Embedding(*arrays[0].shape)]
    if kind == "Dropout":
        return [Dropout(own.get("rate", 0.0))]
    if kind == "GlobalAveragePooling1D":
        return [MeanPool()]
    if kind in ("Dense", "Activation"):
        activation = own.get("activation", "linear")
        if activation != "linear" and (not last or activation not in LAST_ACTIVATIONS):
            raise ValueError(f"{label} has activation {reprlib.repr(activation)}, which no layer here does")
        return [Dense(*arrays[0].shape)] if kind == "Dense" else []
    if kind in CELLS:
        cell = _cell(kind, own, label, arrays)
        return [cell] if own.get("return_sequences") else [cell, LastStep()]
    if kind == "Bidirectional":
        inside, inner = _inner(own, label)
        merge = own.get("merge_mode")
        if inside not in CELLS or merge not in ("concat", "sum"):
            raise ValueError(f"{label} has {inside[:80]} and merge_mode {merge!r}, which is not known")
        both = Bidirectional(_cell(inside, inner, label, arrays), merge)
        if inner.get("return_sequences"):
            return [both]
        if merge == "sum":
            raise ValueError(f"{label} adds the final states of both directions, which no layer here does")
        return [both, LastStep(bidirectional=True)]
    raise ValueError(f"{label} has no counterpart here")


def _inner(own: dict[str, Any], label: str) -> tuple[str, dict[str, Any]]:
    layer = own.get("layer")
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        raise ValueError(f"{label} has no layer inside")
    kind = str(layer.get("class_name"))
    return kind if kind.isidentifier() else repr(kind), layer["config"]


def _cell(kind: str, own: dict[str, Any], label: str, arrays: list[Array]) -> Any:
    """The layer of one direction; ValueError if there is none with these options."""
    if own.get("go_backwards"):
        raise ValueError(f"{label} reads backwards only (go_backwards), which no layer here does")
    activation, gate = own.get("activation", "tanh"), own.get("recurrent_activation", "sigmoid")
    if activation not in ACTIVATIONS or gate not in ACTIVATIONS:
        raise ValueError(f"{label} has activations {activation!r:.80}, {gate!r:.80}, which no layer here has")
    given: dict[str, Any] = {}
    if kind == "SimpleRNN" or activation != "tanh":
        given["activation"] = ACTIVATIONS[activation]
    if kind != "SimpleRNN" and gate != "sigmoid":
        given["gate_activation"] = ACTIVATIONS[gate]
    if kind == "GRU" and not own.get("reset_after", False):  # Keras before 2.2 did not say, and meant this
        given["reset_after"] = False
    return CELLS[kind](arrays[0].shape[0], arrays[1].shape[0], **given)


def _kind(layer: Layer) -> str:
    """The class in Keras that a layer with parameters is."""
    if isinstance(layer, Bidirectional):
        return "Bidirectional"
    for kind, ours in [*CELLS.items(), ("Embedding", Embedding), ("Dense", Dense)]:
        if type(layer) is ours:
            return kind
    raise ValueError(f"the network's {layer} has no counterpart in Keras")


def _read_weights(file: File, kinds: list[tuple[str, str]]) -> list[list[Array]]:
    """The arrays of each layer, of this class and name, in Keras's order: kernel, recurrent kernel, bias."""
    whole = "model_weights" in file.members(file.root)
    count: dict[str, int] = {}
    found = []
    for kind, name in kinds:
        count[kind] = count.get(kind, 0) + 1
        number = f"_{count[kind] - 1}" if count[kind] > 1 else ""
        folder = f"layers/{FOLDERS[kind]}{number}"
        arrays = _named(file, name) if whole else _numbered(file, folder, kind)
        ranks = [array.ndim for array in arrays]
        least = (
            1 if kind in ("Dense", "Embedding", "TimeDistributed") else 4 if kind == "Bidirectional" else 2
        )
        if len(arrays) < least or ranks[: min(least, 2)] != [2] * min(least, 2):
            raise ValueError(f"its layer {name or folder!r} ({kind}) has arrays with {ranks} axes")
        found.append(arrays)
    return found


def _numbered(file: File, folder: str, kind: str) -> list[Array]:
    """What lies in a .weights.h5 file: vars/0, vars/1, ... of the layer or of its cells."""
    inside = {"Bidirectional": ["forward_layer/cell", "backward_layer/cell"], "TimeDistributed": ["layer"]}
    places = inside.get(kind, ["cell"] if kind in CELLS else [""])
    found = []
    for place in places:
        group = _follow(file, file.root, f"{folder}/{place}/vars")
        count = len(file.members(group))
        found += [file.array(_follow(file, group, str(number)), folder) for number in range(count)]
    return found


def _named(file: File, name: str) -> list[Array]:
    """What lies in a whole-model .h5 file: the group of the layer lists its arrays."""
    group = _follow(file, file.root, f"model_weights/{name}")
    listed = [path.decode() for path in file.texts(group, "weight_names") or []]
    return [file.array(_follow(file, group, path), path) for path in listed]


def _follow(file: File, item: int, path: str) -> int:
    """What lies at a path inside the file; links out of it, or round about, are not followed."""
    for name in filter(None, path.split("/")):
        members = file.members(item)
        if name not in members:
            raise ValueError(f"it has no {path[:200]!r}")
        found = members[name]
        if found is None:
            raise ValueError(f"its {path[:200]!r} is a link, and only the file itself is read")
        item = found
    return item


def _fill(net: Network, weights: list[list[Array]]) -> None:
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


def _ours(layer: Layer, arrays: list[Array], label: str) -> dict[str, Array]:
    """A layer's parameters from Keras's arrays."""
    if isinstance(layer, Embedding):
        return {"weight": arrays[0]}
    if isinstance(layer, Dense):
        bias = arrays[1] if len(arrays) > 1 else np.zeros(arrays[0].shape[1], arrays[0].dtype)
        return {"weight": arrays[0].T, "bias": bias}
    cells = directions(layer)
    if len(arrays) not in (2 * len(cells), 3 * len(cells)):
        raise ValueError(f"{label} is given {len(arrays)} arrays")
    each = len(arrays) // len(cells)
    values: dict[str, Array] = {}
    for number, (cell, suffix) in enumerate(cells):
        options(cell, {"activation", "gate_activation", "reset_after"}, "Keras")
        part = arrays[number * each : (number + 1) * each]
        values |= {f"{name}{suffix}": value for name, value in _cell_values(cell, part, label).items()}
    return values


def _cell_values(cell: Any, arrays: list[Array], label: str) -> dict[str, Array]:
    """The parameters of one direction."""
    order = (1, 0, 2) if isinstance(cell, GRU) else tuple(range(cell.gates))
    rows = cell.gates * cell.hidden_size
    both = "bias_hn" in cell.parameter_shapes()  # reset_after: a second row, for the recurrent product
    bias = arrays[2] if len(arrays) > 2 else np.zeros((2, rows) if both else rows, arrays[0].dtype)
    wanted = ((cell.input_size, rows), (cell.hidden_size, rows), (2, rows) if both else (rows,))
    came = (arrays[0].shape, arrays[1].shape, bias.shape)
    if came != wanted:
        raise ValueError(f"{label} wants arrays of shapes {wanted}, but {came} came")
    values = {"weight_ih": reorder(arrays[0].T, order), "weight_hh": reorder(arrays[1].T, order)}
    if not both:
        return values | {"bias": reorder(bias, order)}
    own, recurrent = (reorder(row, order) for row in bias)
    candidate = slice(2 * cell.hidden_size, None)
    with np.errstate(all="ignore"):  # numbers are taken as they come, infinities too
        total = own + recurrent
    total[candidate] = own[candidate]
    return values | {"bias": total, "bias_hn": recurrent[candidate]}
