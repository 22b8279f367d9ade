"""What a stranger would write into a file: numbers at the borders of types, too large, too deep."""

from __future__ import annotations

import copy
import math
import zipfile
from typing import Any

import numpy as np
from numpy.random import Generator

INTEGERS = (
    *(0, 1, 2, 3, 7, 8, 16, 255, 256, 65535, 65536, 10**6, 10**8),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(10**30, 10**400),
)
FLOATS = (
    *(0.0, -0.0, 0.5, 1.0, 1.5, -1.0, 1e-320, 1e-300, 1e300, 1.7976931348623157e308),
    *(math.inf, -math.inf, math.nan),
)
TEXTS = (
    *("", "a", "0", "-1", "nan", "\0", "a\0b", "\n", "\x1b[31m", "\u202e", "é", "\U0001f600", "\ud800"),
    *("../../etc/passwd", "/dev/zero", "__class__", "%s%n", "{0}", "x" * 300, "x" * 70_000, "0" * 5000),
    *("1e999", "1_0", "١٢", "=1+1", "inf", "tanh", "float64", "F32", "I64", "BOOL"),
)
OTHERS = (None, True, False, [], {}, [0], [[]], {"": 0})
WORDS = (
    0,
    1,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**64 - 1,
)


def choose(rng: Generator, values: Any) -> Any:
    """One of the values, as it is: NumPy would turn a list of numbers into its own."""
    return values[int(rng.integers(len(values)))]


def integer(rng: Generator) -> int:
    value = choose(rng, INTEGERS) + int(rng.integers(-1, 2))
    return -value if rng.random() < 0.2 else value


def value(rng: Generator) -> Any:
    """A number, a text, or something else that JSON can say."""
    kind = rng.integers(5)
    if kind < 2:
        return integer(rng)
    if kind == 2:
        return choose(rng, FLOATS)
    if kind == 3:
        return choose(rng, TEXTS)
    return copy.deepcopy(choose(rng, OTHERS))


def near(rng: Generator, old: Any) -> Any:
    """A value of the kind that stood there."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return choose(rng, (integer(rng), old + 1, old - 1, -old, 2 * old, old + 2**32, float(old), str(old)))
    if isinstance(old, float):
        return choose(rng, (choose(rng, FLOATS), -old, old * 1e30, int(old) if math.isfinite(old) else 0))
    if isinstance(old, str):
        return choose(rng, (choose(rng, TEXTS), old + "x", old[:-1], old.upper(), old * 50))
    return value(rng)


def nest(depth: int) -> Any:
    """Lists in lists."""
    tree: Any = 0
    for _ in range(depth):
        tree = [tree]
    return tree


def mutate_tree(rng: Generator, tree: Any) -> Any:
    """A copy of a JSON tree with one to three places changed."""
    tree = [copy.deepcopy(tree)]
    for _ in range(int(rng.integers(1, 4))):
        places = _places(tree)
        container, key = choose(rng, places[1:] or places)
        _change(rng, container, key, places)
    return tree[0]


def _places(tree: Any, most: int = 5000) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    for container in waiting:
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)) and len(found) < most:
                waiting.append(container[key])
    return found


def _change(rng: Generator, container: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
    kind = int(rng.integers(10))
    if kind < 4:
        container[key] = near(rng, container[key])
    elif kind == 4:
        container[key] = value(rng)
    elif kind == 5:  # something from elsewhere in the tree
        other, place = choose(rng, places)
        there = place in other if isinstance(other, dict) else place < len(other)
        container[key] = copy.deepcopy(other[place]) if there else None
    elif kind == 6 and isinstance(container, dict):
        del container[key]
    elif kind == 6:
        container.pop(key)
        container.append(0)
    elif kind == 7 and isinstance(container[key], list):
        container[key] = container[key] * int(choose(rng, (0, 2, 3, 300)))
    elif kind == 8 and isinstance(container, dict):
        container[choose(rng, TEXTS) if rng.random() < 0.5 else key + "_"] = value(rng)
    else:
        container[key] = nest(int(choose(rng, (1, 2, 9, 90, 900))))


def mutate_bytes(rng: Generator, data: bytes, dictionary: tuple[bytes, ...] = ()) -> bytes:
    """One to six places flipped, overwritten, taken out, doubled, or cut off."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        if not changed:
            return bytes(rng.integers(0, 256, 9, np.uint8))
        place, kind = int(rng.integers(len(changed))), int(rng.integers(8))
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(choose(rng, (0, 1, 0x7F, 0x80, 0xFF)))
        elif kind == 2:
            width = int(choose(rng, (1, 2, 4, 8)))
            word = choose(rng, (*WORDS, place, len(data))) & (2 ** (8 * width) - 1)
            place -= place % width
            changed[place : place + width] = word.to_bytes(width, "little")
        elif kind == 3:
            del changed[place : place + int(choose(rng, (1, 2, 8, 100)))]
        elif kind == 4:
            length = int(choose(rng, (1, 8, 64, 1000)))
            changed[place:place] = changed[place : place + length]
        elif kind == 5 and dictionary:
            word = choose(rng, dictionary)
            changed[place : place + len(word) * int(rng.integers(2))] = word
        elif kind == 6 and rng.random() < 0.2:
            del changed[place:]
        else:
            other = int(rng.integers(len(changed)))
            changed[place : place + 8] = changed[other : other + 8]
    return bytes(changed)


def compression(rng: Generator) -> int:
    """How a .zip file holds its members: rarely in a way that is refused."""
    usual = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return int(choose(rng, (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA) if rng.random() < 0.03 else usual))


def numbers(rng: Generator, array: np.ndarray) -> np.ndarray:
    """The array with a hostile number somewhere."""
    changed = np.array(array)
    if changed.size:
        flat = changed.reshape(-1)
        with np.errstate(all="ignore"):
            if changed.dtype.kind == "f":
                flat[int(rng.integers(flat.size))] = choose(rng, FLOATS)
            else:
                flat[int(rng.integers(flat.size))] = np.array(choose(rng, WORDS), np.uint64).astype(
                    changed.dtype
                )
    return changed
