"""Model files: one .safetensors file holds weights, architecture and vocabulary.

A file is read as if a stranger had written it. No code in it runs; its header is bounded by the file's real
size, the sizes it claims are checked against that size, and an architecture's shapes against the tensors,
before memory of any such size is taken. Everything wrong with a file is one ValueError that names the file.

Format: safetensors (https://huggingface.co/docs/safetensors/index): 8 bytes, the header's length N; N bytes
of JSON; the numbers. What belongs to rnncore is JSON text under the one metadata key ``"rnncore"``.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import secrets
import stat
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Path = str | os.PathLike[str]
# Name to (dtype, shape): what a header claims.
Claims = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]

METADATA_KEY = "rnncore"
MAX_HEADER = 100_000_000  # the limit of the safetensors library, which refuses to read more
_DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "F64": np.float64, "F32": np.float32, "BOOL": np.bool_,
        "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
        "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
    }.items()
}  # fmt: skip


def write_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: at every moment, even of a power cut, the old or the new file is there.

    The bytes go to a temporary file in the same folder (a rename is atomic only within one file system),
    are forced to the disk, and take the place of ``path`` in one step. A file that stood there before passes
    on its permissions.

    Raises
    ------
    OSError
        If ``path`` cannot be written, or is something other than a regular file.
    """
    target = os.path.realpath(path)  # a symbolic link stays, and what it points to is replaced
    folder, name = os.path.split(target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(f"cannot write {os.fspath(path)}: there is something there that is no regular file")
    temporary = os.path.join(folder, f".{name[:100]}-{secrets.token_hex(6)}.tmp")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:  # the user knows the path, not the temporary name
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
    try:
        with open(descriptor, "wb") as file:
            if os.path.exists(target):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":  # the new name is durable once the folder itself is on the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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

    text = json.dumps(metadata, separators=(",", ":"))
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = serialize(contiguous, {METADATA_KEY: text})
    header = int.from_bytes(data[:8], "little")
    if header > MAX_HEADER:
        raise ValueError(f"cannot write {os.fspath(path)}: its header of {header} bytes exceeds {MAX_HEADER}")
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
    # O_NONBLOCK: opening a pipe without a writer would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        try:
            claims, metadata = _read_header(file)
            if check is not None:
                check(claims, metadata)
            file.seek(0)
            tensors = deserialize(file.read())
        except (ValueError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
    return tensors, metadata


def _read_header(file: BinaryIO) -> tuple[Claims, dict[str, Any]]:
    """What the header claims, after it has been compared with the file's size."""
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


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object, read strictly: a key given twice could mean one thing to us, another to the library."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise ValueError(f"{what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a JSON {type(value).__name__}, and an object is wanted")
    return value
