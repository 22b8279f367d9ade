"""Model files: one .safetensors file holds weights, architecture and vocabulary.

A file is read as if a stranger had written it. No code in it runs; its header is bounded by the file's real
size, the sizes it claims are checked against that size, and an architecture's shapes against the tensors,
before memory of any such size is taken. Everything wrong with a file is one ValueError that names the file.

Format: safetensors (https://huggingface.co/docs/safetensors/index): 8 bytes, the header's length N; N bytes
of JSON; the numbers. What belongs to rnncore is JSON text under the one metadata key ``"rnncore"``: an object
with ``"content"`` and ``"blake2b"``, a digest of content and tensors that shows every damage.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from . import cells, layers
from .checks import one_line
from .data import Task, Vocabulary, task_from_dict
from .disk import Path, reading, remove_abandoned, write_atomically
from .layers.nested import parts_of
from .layers.registry import KNOWN
from .network import Network

Array = NDArray[Any]
# Name to (dtype, shape): what a header claims.
Claims = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]

METADATA_KEY = "rnncore"
MAX_HEADER = 100_000_000  # the limit of the safetensors library, which refuses to read more
# Each takes Python 20 times its bytes in the file, and more time the more there are.
MAX_CONTAINERS, MAX_VALUES = 100_000, 4_000_000
KIND = "rnncore model"
VERSION = 1
FREE_STATE = 1 << 24  # bytes of state of a layer, for one row, that any file may ask for
# What a file may ask for: names from this list, never an import by name.
LAYERS = KNOWN
_DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "F64": np.float64, "F32": np.float32, "BOOL": np.bool_,
        "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
        "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
    }.items()
}  # fmt: skip


def save(
    net: Network,
    path: Path,
    vocabulary: Vocabulary | None = None,
    task: Task | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to one .safetensors file: parameters, architecture, vocabulary and task.

    Parameters
    ----------
    net
        The network; its parameters keep their names and shapes, so other tools can read them.
    path
        The file; replaced atomically.
    vocabulary
        The characters that the network's ids stand for; None for that of ``net``, if it has one.
    task
        What the network's data are: a ``Classification`` or a ``Forecast``; None for that of ``net``, if it
        has one.
    metadata
        Facts of your own, a dictionary that JSON can hold; None for ``net.metadata``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted, or a layer of a type that no file can hold.
    OSError
        If ``path`` cannot be written.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net is a {type(net).__name__}, but a Network is wanted")
    if not isinstance(vocabulary, Vocabulary | None):
        raise TypeError(f"vocabulary is a {type(vocabulary).__name__}, but a Vocabulary is wanted")
    if not isinstance(task, Task | None):
        raise TypeError(f"task is a {type(task).__name__}, but a Classification or a Forecast is wanted")
    for place, layer in enumerate(net.layers):
        for part in _cells_of(layer):
            if LAYERS.get(type(part).__name__) is not type(part) and not isinstance(part, cells.Cell):
                came, known = type(part).__name__, ", ".join(sorted(LAYERS))
                raise ValueError(
                    f"layer {place} is a {came}, but a file can only hold {known}; pass the class to "
                    "rnncore.register first"
                )
    vocabulary = net.vocabulary if vocabulary is None else vocabulary
    task = net.task if task is None else task
    facts = check_facts(net.metadata if metadata is None else metadata)
    _check_states(net.layers, net.params.flat.nbytes, net.dtype.itemsize)
    content = {
        "kind": KIND,
        "version": VERSION,
        "architecture": net.config(),
        "vocabulary": None if vocabulary is None else vocabulary.to_list(),
        "task": None if task is None else task.to_dict(),
    } | ({"metadata": facts} if facts else {})
    write_tensors(path, net.params, content)


def load(path: Path) -> Network:
    """Read a network that :func:`save` wrote, in evaluation mode; `Network.train` goes back to training.

    ``net.vocabulary`` and ``net.task`` are what it wrote, or None; so is ``net.metadata``, or empty.

    Raises
    ------
    ValueError
        If the file is damaged, cut short, or no model; the message names it and says what is wrong.
    OSError
        If it cannot be opened.
    """
    chain: list[layers.Layer] = []

    def check(claims: Claims, content: dict[str, Any]) -> None:
        chain.extend(_build_layers(content))
        dtype = content["architecture"]["dtype"]
        _compare(claims, chain, dtype)
        size = sum(found.itemsize * math.prod(shape) for found, shape in claims.values())
        _check_states(chain, size, np.dtype(dtype).itemsize)

    tensors, content = read_tensors(path, check)
    try:
        architecture = content["architecture"]
        seed, dtype = architecture["seed"], architecture["dtype"]
        net = Network(*chain, seed=seed, dtype=dtype, initialize=False)
        net.vocabulary = _build_vocabulary(content.get("vocabulary"))
        net.task = _build_task(content.get("task"))
        net.metadata = check_facts(content.get("metadata", {}))
        net.freeze(*_frozen(architecture.get("frozen", []), net))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {one_line(error, 1500)}") from error
    for name, tensor in tensors.items():
        net.params[name] = tensor
    return net.eval()


def check_facts(metadata: Any) -> dict[str, Any]:
    """A user's facts as they come back from JSON; TypeError or ValueError for what does not come back."""
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is a {type(metadata).__name__}; expected a dictionary")
    given = dict(metadata)
    try:
        facts: dict[str, Any] = json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata cannot be written as JSON: {str(error)[:200]}") from None
    if facts != given:
        raise ValueError("metadata would come back otherwise; expected strings as keys, and lists for tuples")
    return facts


def _build_layers(content: dict[str, Any]) -> list[layers.Layer]:
    """The architecture's layers; they take no memory before a network binds them."""
    if "kind" not in content:
        raise ValueError(
            "it was not written by rnncore.save; weights from PyTorch go through rnncore.interop.torch"
        )
    if content.get("kind") != KIND:
        raise ValueError(f"it is of kind {reprlib.repr(content.get('kind'))}, but {KIND!r} is wanted")
    if content.get("version") != VERSION:
        raise ValueError(f"it has version {reprlib.repr(content.get('version'))}; {VERSION} is known")
    architecture = content.get("architecture")
    if not isinstance(architecture, dict) or not isinstance(architecture.get("layers"), list):
        raise ValueError("its architecture is no JSON object with a list of layers")
    dtype, seed = architecture.get("dtype"), architecture.get("seed")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"it has dtype {reprlib.repr(dtype)}, but float32 or float64 is wanted")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"it has seed {reprlib.repr(seed)}, but a whole number from 0 is wanted")
    return [_build_layer(place, config) for place, config in enumerate(architecture["layers"])]


def _build_layer(place: int, config: Any) -> layers.Layer:
    kind = config.get("type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in LAYERS:
        known = ", ".join(sorted(LAYERS))
        raise ValueError(f"its layer {place} is of type {reprlib.repr(kind)}; known are {known}")
    try:
        return LAYERS[kind](**{name: value for name, value in config.items() if name != "type"})
    except Exception as error:  # whatever a constructor makes of a stranger's arguments
        raise ValueError(f"its layer {place}, {kind}, is impossible: {one_line(error)}") from error


def _compare(claims: Claims, chain: list[layers.Layer], dtype: str) -> None:
    """Raise ValueError unless the tensors are those of the layers: in name, shape and dtype."""
    wanted = {
        f"{place}.{name}": shape
        for place, layer in enumerate(chain)
        for name, shape in layer.parameter_shapes().items()
    }
    for name in [*wanted, *claims]:
        if name not in claims:
            raise ValueError(f"it lacks tensor {name!r} of its architecture")
        if name not in wanted:
            raise ValueError(f"its tensor {reprlib.repr(name)} belongs to no layer of its architecture")
        found, shape = claims[name]
        if shape != wanted[name] or found != dtype:
            raise ValueError(
                f"its tensor {name!r} is {found} {reprlib.repr(shape)}, but its architecture asks for "
                f"{dtype} {reprlib.repr(wanted[name])}"
            )


def _check_states(chain: Iterable[layers.Layer], size: int, itemsize: int) -> None:
    """Raise ValueError where the state of one row would be out of proportion to ``size`` bytes of parameters.

    The state of a long delay is the one thing in an architecture that no tensor pays for.
    """
    most = FREE_STATE + 4 * size
    for place, layer in enumerate(chain):
        for part in _cells_of(layer):
            shapes = getattr(part, "state_shapes", lambda rows: ())(1)
            asked = itemsize * sum(map(math.prod, shapes))
            if asked > most:
                raise ValueError(
                    f"layer {place}, {str(part)[:200]}, keeps {asked} bytes of state for each row; a file "
                    f"whose parameters take {size} bytes may ask for {most}"
                )


def _cells_of(layer: layers.Layer) -> list[layers.Layer]:
    """The layer and those within it; of a bidirectional one, which stands for two, one."""
    found = parts_of(layer)
    return found + [part.layer for part in found if isinstance(part, layers.Bidirectional)]


def _frozen(names: Any, net: Network) -> list[str]:
    """Names as they were saved: no patterns, each of which would be compared with all names."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its frozen parameters are no list of names")
    for name in names:
        if name not in net.params:
            raise ValueError(f"its frozen parameter {reprlib.repr(name)} is none of its network")
    return names


def _build_vocabulary(entries: Any) -> Vocabulary | None:
    if entries is None:
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError("its vocabulary is no list of texts")
    try:
        return Vocabulary(entries)
    except ValueError as error:
        raise ValueError(f"its vocabulary is impossible: {one_line(error)}") from error


def _build_task(data: Any) -> Task | None:
    if data is None:
        return None
    try:
        return task_from_dict(data)
    except ValueError as error:
        raise ValueError(f"its task is impossible: {one_line(error)}") from error


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able dictionary as one .safetensors file, atomically.

    Equal content gives equal bytes.

    Raises
    ------
    ValueError
        If the names and metadata take more than 100 MB, which no reader of the format accepts.
    OSError
        If ``path`` cannot be written.
    """
    from safetensors.numpy import save as serialize  # here, because importing rnncore must stay quick

    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    text = _dump({"content": metadata, "blake2b": _digest(contiguous, metadata)})
    # One key alone: the library writes several in an order of chance.
    data = serialize(contiguous, {METADATA_KEY: text})
    header = int.from_bytes(data[:8], "little")
    if header > MAX_HEADER:
        raise ValueError(f"cannot write {os.fspath(path)}: its header of {header} bytes exceeds {MAX_HEADER}")
    check_json(data[8 : 8 + header], f"cannot write {os.fspath(path)}: its header")
    write_atomically(path, data)


def read_tensors(
    path: Path, check: Callable[[Claims, dict[str, Any]], None] | None = None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote, or any other .safetensors file, trusting nothing in it.

    Parameters
    ----------
    path
        The file.
    check
        Called with the claimed dtypes and shapes and the metadata before a number is read; raises ValueError
        to refuse the file.

    Returns
    -------
    tensors : dict of ndarray
        Writable, C-contiguous arrays by name.
    metadata : dict
        Empty if the file carries none of ours.

    Raises
    ------
    ValueError
        If the file is damaged, cut short, no .safetensors file, or refused by ``check``; the message opens
        with the path.
    OSError
        If it cannot be opened.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    path = os.fspath(path)
    remove_abandoned(path)
    with reading(path) as file:
        try:
            claims, ours = _read_header(file)
            metadata = ours.get("content", {})
            if not isinstance(metadata, dict):
                raise ValueError(f"its metadata is a JSON {type(metadata).__name__}, and an object is wanted")
            if check is not None:
                check(claims, metadata)
            file.seek(0)
            tensors = deserialize(file.read())
            if ours and ours.get("blake2b") != _digest(tensors, metadata):
                raise ValueError("its content does not match its digest; it was changed after it was written")
        except SafetensorError as error:  # it quotes the file, in full
            raise ValueError(f"{path} cannot be read: {one_line(error)}") from error
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {one_line(error, 1500)}") from error
        except RecursionError:
            raise ValueError(f"{path} cannot be read: its metadata is nested too deeply") from None
    return tensors, metadata


def _dump(value: Any) -> str:
    """JSON text that reading and dumping again leaves as it is."""
    return json.dumps(value, separators=(",", ":"))


def _digest(tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> str:
    """A fingerprint of all that a file holds: names, dtypes, shapes, numbers and metadata."""
    digest = hashlib.blake2b(_dump(metadata).encode(), digest_size=16)
    for name, array in sorted(tensors.items()):
        digest.update(_dump([name, array.dtype.name, array.shape]).encode())
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)  # what the file holds
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read_header(file: BinaryIO) -> tuple[Claims, dict[str, Any]]:
    """What the header claims, compared with the file's size, and the object under our metadata key."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size < 8:
        raise ValueError(f"it has {status.st_size} bytes, and a .safetensors file has at least 8")
    length = int.from_bytes(file.read(8), "little")
    room = status.st_size - 8
    if length > min(room, MAX_HEADER):
        raise ValueError(
            f"its header claims {length} bytes, but {room} follow it (and {MAX_HEADER} are the limit); "
            "it is cut short or no .safetensors file"
        )
    entries = _object(file.read(length), "its header")
    extra = entries.pop("__metadata__", {})
    claims: Claims = {}
    total = 0
    for name, entry in entries.items():
        dtype, shape = _claim(name, entry)
        claims[name] = dtype, shape
        total += dtype.itemsize * math.prod(shape)
    if total != room - length:
        raise ValueError(
            f"its tensors claim {reprlib.repr(total)} bytes, but {room - length} follow the header; "
            "it is damaged or cut short"
        )
    text = extra.get(METADATA_KEY, "{}") if isinstance(extra, dict) else None
    if not isinstance(text, str):
        raise ValueError("its metadata is not a JSON object of texts")
    return claims, _object(text, f"its metadata {METADATA_KEY!r}")


def _claim(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of one tensor in the header; the offsets are left to the safetensors library."""
    who = f"tensor {reprlib.repr(name)}"
    if not isinstance(entry, dict):
        raise ValueError(f"{who} is described by {type(entry).__name__}, not by a JSON object")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"{who} has dtype {reprlib.repr(dtype)}; known are {', '.join(_DTYPES)}")
    shape = entry.get("shape")
    # 32 dimensions are NumPy 1's limit; type() and not isinstance, because JSON's true is an int in Python.
    if not isinstance(shape, list) or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"{who} has shape {reprlib.repr(shape)}, but a list of at most 32 sizes is wanted")
    return _DTYPES[dtype], tuple(shape)


def check_json(text: bytes, what: str) -> None:
    """Raise ValueError where a text holds more than a reader would take apart."""
    containers, commas = text.count(b"[") + text.count(b"{"), text.count(b",")
    if containers > MAX_CONTAINERS or commas > MAX_VALUES:
        raise ValueError(
            f"{what} has {containers} brackets and {commas} commas, but at most {MAX_CONTAINERS} and "
            f"{MAX_VALUES} are read"
        )


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object, read strictly: a key given twice could mean one thing to us, another to the library."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    check_json(text if isinstance(text, bytes) else text.encode(errors="replace"), what)
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise ValueError(f"{what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a JSON {type(value).__name__}, and an object is wanted")
    return value
