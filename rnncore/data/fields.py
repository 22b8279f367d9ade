"""Columns of text in little memory, and the numbers that people write in them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096  # fields that are kept together
SMALL = 256  # fields that are not worth compressing

MISSING = frozenset({
    "", "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "n.a.", "nan", "-nan", "null", "none", "nil", "?",
    "-", "--", "nat", "missing", "#value!", "#div/0!", "#ref!", "#num!", "#name?", "1.#qnan", "1.#ind",
    "-1.#ind",
})  # fmt: skip

_SPACES = str.maketrans("", "", " \u00a0\u202f\u2009'\u2019")
_SPACED = re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f\u2009'\u2019]\d{3})+([.,]\d+)?$")
_POINT_GROUPS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+$|[+-]?\d{1,3}(\.\d{3}){2,}$")
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d*$|[+-]?\d{1,3}(,\d{3}){2,}$")
_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?$")
_POINT_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}$")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}$")


class Fields(Sequence[str]):
    """The fields of a column: a sequence of texts, packed a block at a time."""

    __slots__ = ("_blocks", "_open", "_size")

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self._blocks: list[bytes | list[str]] = []
        self._open: list[str] = []
        self._size = 0
        self.extend(fields)

    def extend(self, fields: Iterable[str]) -> None:
        """Add fields at the end."""
        self._open.extend(fields)
        while len(self._open) >= BLOCK:
            self._blocks.append(_packed(self._open[:BLOCK]))
            del self._open[:BLOCK]
            self._size += BLOCK

    def cut(self, size: int) -> None:
        """Keep the first ``size`` fields."""
        while size < self._size:
            self._size -= BLOCK
            self._open = _unpacked(self._blocks.pop())
        del self._open[size - self._size :]

    def blocks(self) -> Iterator[list[str]]:
        """All fields, some thousands at a time."""
        yield from map(_unpacked, self._blocks)
        if self._open:
            yield self._open

    def __len__(self) -> int:
        return self._size + len(self._open)

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            if step == 1 and 0 <= begin <= end <= BLOCK:
                first = next(self.blocks(), [])
                return first[begin:end]
            return list(self)[index]
        place = range(len(self))[index]
        if place >= self._size:
            return self._open[place - self._size]
        return _unpacked(self._blocks[place // BLOCK])[place % BLOCK]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Fields, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"<Fields: {len(self)}>"


def _packed(block: list[str]) -> bytes | list[str]:
    text = "\0".join(block)
    if len(block) < SMALL or text.count("\0") != len(block) - 1:
        return block
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _unpacked(block: bytes | list[str]) -> list[str]:
    if isinstance(block, list):
        return block
    return zlib.decompress(block).decode("utf-8", "surrogatepass").split("\0")


class NotNumber(ValueError):
    """A field that is no number; ``place`` is its number in the column."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def numbers_of(fields: Sequence[str], decimal: str | None = None) -> NDArray[np.float64]:
    """A column as numbers, ``(N,)``, NaN where a field says that its value is missing.

    Understood are also decimal commas and thousands that are set apart by points, commas, spaces or
    apostrophes, each where the column leaves no doubt: 1,234 alone could be both.

    Parameters
    ----------
    decimal
        ``"."`` or ``","``; None to find out.

    Raises
    ------
    NotNumber
        If a field is text, not finite, or could be two numbers.
    """
    values = np.empty(len(fields))
    begin = 0
    for block in fields.blocks() if isinstance(fields, Fields) else (list(fields),):
        end = begin + len(block)
        if decimal == "," or not _read_plain(block, values[begin:end]):
            if decimal is None and any("," in field for field in block):
                decimal = _find_decimal(fields)
                if decimal == "," and begin:  # the blocks before this one were read with points
                    return numbers_of(fields, decimal)
            for place, field in enumerate(block, begin):
                value = number_of(field, decimal or ".")
                if value is None:
                    raise NotNumber(place, f"holds {field[:40]!r}, but numbers are wanted")
                values[place] = value
        begin = end
    return values


def _read_plain(block: list[str], out: NDArray[np.float64]) -> bool:
    """Read a block that has nothing but plain numbers; False if it has anything else."""
    try:
        out[:] = np.fromiter(map(float, block), np.float64, len(block))
    except ValueError:
        return False
    return bool(np.isfinite(out).all()) and "_" not in "".join(block)


def _find_decimal(fields: Iterable[str]) -> str:
    """The decimal sign of a column with commas."""
    doubtful: tuple[int, str] | None = None
    for place, field in enumerate(fields):
        if "," not in field:
            continue
        text = field.strip().lower()
        if _EITHER.match(text):
            doubtful = doubtful or (place, text)
        elif _COMMA_GROUPS.match(text):
            return "."
        elif _POINT_GROUPS.match(text) or _COMMA.match(text) or _SPACED.match(text):
            return ","
    if doubtful is None:
        return "."
    raise NotNumber(doubtful[0], f"holds {doubtful[1]!r}, where the comma could set thousands apart or "
                    "be the decimal sign: --decimal . or , (in Python decimal=) says which")  # fmt: skip


def number_of(field: str, decimal: str = ".") -> float | None:
    """A field's number, NaN if it is missing, None if it is text or not finite."""
    text = field.strip().lower()
    if text in MISSING:
        return math.nan
    text = text.replace("\u2212", "-")
    if _SPACED.match(text):
        text = text.translate(_SPACES)
    if decimal == ",":
        if _POINT_GROUPS.match(text) or _POINT_EITHER.match(text):
            text = text.replace(".", "")
        elif "." in text:
            return None
        text = text.replace(",", ".")
    elif _COMMA_GROUPS.match(text) or _EITHER.match(text):
        text = text.replace(",", "")
    if "_" in text:  # which Python reads as a number
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
