"""What a text falls into: characters, bytes or words, with ids that also stand for what is unknown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_positive_integer

Ids = NDArray[np.int32]

UNITS = ("characters", "bytes", "words")
UNKNOWN = "<unk>"
# A word holds letters, digits and what joins them (it's, well-made); any other visible character is one too.
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


class Tokens:
    """The words or characters that ids stand for; id 0 is every other one. Or bytes, which are all known.

    Parameters
    ----------
    units
        ``"words"``, ``"characters"`` or ``"bytes"``. Words are runs of letters and digits, joined by
        apostrophes and hyphens, and single other characters; space separates. Bytes are those of UTF-8.
    entries
        The known words or characters, all different; they have the ids from 1 on. None of them for bytes,
        which are their own ids.
    lower
        Whether text is read in lower case.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted.

    Examples
    --------
    >>> tokens = Tokens.from_texts(["it's good", "good, not bad"], "words", min_count=2)
    >>> tokens.entries, tokens.encode("good or bad?").tolist()
    (('good',), [1, 0, 0, 0])
    >>> Tokens("bytes").encode("né").tolist()
    [110, 195, 169]
    """

    def __init__(self, units: str, entries: Iterable[str] = (), lower: bool = False) -> None:
        if units not in UNITS:
            raise ValueError(f"units are {units!r}, but one of {', '.join(UNITS)} is wanted")
        self.units, self.entries, self.lower = units, tuple(entries), bool(lower)
        if units == "bytes" and self.entries:
            raise ValueError(f"entries are {len(self.entries)}, but bytes are their own ids: none is wanted")
        for place, entry in enumerate(self.entries):
            if not isinstance(entry, str) or not entry:
                raise TypeError(f"entries[{place}] is {entry!r}, but a text that is not empty is wanted")
            if units == "characters" and len(entry) != 1:
                raise ValueError(f"entries[{place}] is {entry!r}, but a single character is wanted")
        self._ids = {entry: number for number, entry in enumerate(self.entries, 1)}
        if len(self._ids) < len(self.entries):
            twice = next(entry for entry, n in Counter(self.entries).items() if n > 1)
            raise ValueError(f"entries hold {twice!r} twice, but all must be different")

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        units: str = "words",
        min_count: int = 1,
        max_size: int | None = None,
        lower: bool = False,
    ) -> Tokens:
        """Those that occur in texts at least ``min_count`` times, and of them the ``max_size`` most frequent.

        The more frequent come first, equally frequent ones in the order of Unicode. For bytes nothing is
        counted.
        """
        check_positive_integer("min_count", min_count)
        if max_size is not None:
            check_positive_integer("max_size", max_size)
        if isinstance(texts, str):
            raise TypeError("texts are a str, but a list of texts is wanted")
        empty = cls(units, (), lower)
        if units == "bytes":
            return empty
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(empty.split(text))
        kept = [entry for entry, count in counts.items() if count >= min_count]
        kept.sort(key=lambda entry: (-counts[entry], entry))
        return cls(units, kept[:max_size], lower)

    def split(self, text: str) -> list[str]:
        """The words or characters of a text, known or not; TypeError if it is none."""
        text = self._read(text)
        return _WORD.findall(text) if self.units == "words" else list(text)

    def encode(self, text: str) -> Ids:
        """The ids of a text, ``int32 (N,)``; 0 for what is unknown; TypeError if it is none."""
        if self.units == "bytes":
            text = self._read(text)
            return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int32)
        return np.array([self._ids.get(unit, 0) for unit in self.split(text)], np.int32)

    def _read(self, text: Any) -> str:
        if not isinstance(text, str):
            raise TypeError(f"text is a {type(text).__name__}, but a str is wanted")
        return text.lower() if self.lower else text

    def decode(self, ids: Any) -> str:
        """The text of ids: words with a space between them; unknown ones as ``<unk>`` or ``\\ufffd``.

        Raises
        ------
        ValueError
            If an id is out of range.
        """
        numbers = np.asarray(ids, np.int64)
        outside = (numbers < 0) | (numbers >= len(self))
        if outside.any():
            first = int(outside.argmax())
            last = len(self) - 1
            raise ValueError(f"ids[{first}] is {numbers[first]}, but ids from 0 to {last} are wanted")
        if self.units == "bytes":
            return numbers.astype(np.uint8).tobytes().decode("utf-8", "replace")
        unknown, between = (UNKNOWN, " ") if self.units == "words" else ("\ufffd", "")
        return between.join(self.entries[number - 1] if number else unknown for number in numbers.tolist())

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {"units": self.units, "entries": list(self.entries), "lower": self.lower}

    @classmethod
    def from_dict(cls, data: Any) -> Tokens:
        """What ``to_dict`` returned; ValueError if it is anything else."""
        entries = data.get("entries") if isinstance(data, dict) else None
        if not isinstance(entries, list) or not isinstance(data.get("lower"), bool):
            raise ValueError("tokens are no object of units, entries and lower")
        try:
            return cls(data.get("units"), entries, data["lower"])
        except TypeError as error:
            raise ValueError(str(error)) from None

    def __len__(self) -> int:
        """How many ids there are: V of an Embedding."""
        return 256 if self.units == "bytes" else len(self.entries) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.units, self.entries, self.lower))

    def __repr__(self) -> str:
        case = ", lower case" if self.lower else ""
        return f"<Tokens: {self.units}, {len(self)} ids{case}>"
