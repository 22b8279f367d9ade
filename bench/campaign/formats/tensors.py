"""The .safetensors container: taken apart, and written with whatever is wanted in it, true or not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign import hostile

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "|u1", "BOOL": "|b1", "F16": "<f2", "U64": "<u8"}
NAMES = {np.dtype(dtype).str: name for name, dtype in TYPES.items()}


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the numbers."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def take_apart(data: bytes) -> tuple[dict[str, np.ndarray], Any]:
    """Arrays and our metadata of a sound file."""
    header, numbers = split(data)
    content = json.loads(header.pop("__metadata__", {}).get("rnncore", '{"content": null}'))["content"]
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        arrays[name] = np.frombuffer(numbers[first:last], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, content


def put_together(arrays: dict[str, np.ndarray], content: Any) -> bytes:
    """A file whose lengths, offsets and digest are right, whatever it says."""
    header: dict[str, Any] = {}
    if content is not None:
        text = json.dumps({"content": content, "blake2b": _digest(arrays, content)}, separators=(",", ":"))
        header["__metadata__"] = {"rnncore": text}
    numbers = b""
    for name, array in arrays.items():
        data = array.tobytes()
        offsets = [len(numbers), len(numbers) + len(data)]
        header[name] = {"dtype": NAMES[array.dtype.str], "shape": list(array.shape), "data_offsets": offsets}
        numbers += data
    return join(header, numbers)


def join(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + numbers


def _digest(arrays: dict[str, np.ndarray], content: Any) -> str:
    digest = hashlib.blake2b(json.dumps(content, separators=(",", ":")).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        claim = json.dumps([name, array.dtype.name, array.shape], separators=(",", ":"))
        digest.update(claim.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def mutate(rng: Generator, data: bytes) -> bytes:
    """Something in the content, in an array, in the header, or in the bytes."""
    try:
        return _mutate_parts(rng, data, rng.random())
    except (UnicodeEncodeError, ValueError, RecursionError):
        # half a surrogate pair, a number of too many digits, or too deep for JSON's encoder
        return hostile.mutate_bytes(rng, data)


def _mutate_parts(rng: Generator, data: bytes, kind: float) -> bytes:
    if kind < 0.15:
        return hostile.mutate_bytes(rng, data)
    if kind < 0.35:
        header, numbers = split(data)
        return join(hostile.mutate_tree(rng, header), numbers)
    arrays, content = take_apart(data)
    if kind < 0.75 and content is not None:
        content = hostile.mutate_tree(rng, content)
    if kind > 0.65:
        arrays = _mutate_arrays(rng, arrays)
    return put_together(arrays, content)


def _mutate_arrays(rng: Generator, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = dict(arrays)
    if not arrays:
        return arrays
    name = hostile.choose(rng, list(arrays))
    array = arrays[name]
    kind = int(rng.integers(7))
    if kind < 3:
        arrays[name] = hostile.numbers(rng, array)
    elif kind == 3:
        shapes = (array.shape[::-1], (array.size,), (*array.shape, 1), (1,) * 33 + array.shape)
        arrays[name] = array.reshape(hostile.choose(rng, shapes)[:64])
    elif kind == 4:
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(hostile.choose(rng, list(TYPES.values())))
    elif kind == 5:
        arrays[name] = array[: int(rng.integers(len(array) + 1))] if array.ndim else array.reshape(1)
    else:
        other = hostile.choose(rng, (*arrays, name + "x", "", "\0", "params"))
        arrays[other] = arrays.pop(name)
    return arrays
