"""Characters and the ids that stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Vocabulary:
    """The characters of a text, each with an id from 0 on.

    Parameters
    ----------
    characters
        At least one; all different. Their order gives the ids.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_text("hello")
    >>> vocabulary.to_list()
    ['e', 'h', 'l', 'o']
    >>> vocabulary.encode("hole").tolist()
    [1, 3, 2, 0]
    >>> vocabulary.decode([1, 0])
    'he'
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self._characters = tuple(characters)
        if not self._characters:
            raise ValueError("characters are empty, but a vocabulary wants at least one")
        for place, character in enumerate(self._characters):
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"characters[{place}] is {character!r}, but a single character is wanted")
        self._codes = _code_points("".join(self._characters))
        self._order = np.argsort(self._codes, kind="stable").astype(np.int32)
        self._sorted = self._codes[self._order]
        twice = self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]
        if twice.size:
            raise ValueError(f"characters hold {chr(twice[0])!r} twice, but all must be different")

    @classmethod
    def from_text(cls, text: str) -> Vocabulary:
        """The characters that occur in a text, in the order of Unicode.

        Raises
        ------
        ValueError
            If the text is empty.
        """
        if not text:
            raise ValueError("text is empty, but a vocabulary wants at least one character")
        return cls(sorted(set(text)))

    def encode(self, text: str) -> Ids:
        """The ids of a text's characters, ``int32 (N,)``.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary; the message names it and its place.
        """
        codes = _code_points(text)
        places = np.minimum(np.searchsorted(self._sorted, codes), len(self) - 1)
        unknown = self._sorted[places] != codes
        if unknown.any():
            first = int(unknown.argmax())
            raise ValueError(
                f"text[{first}] is {text[first]!r}, which is none of the {len(self)} known characters"
            )
        return self._order[places]

    def decode(self, ids: Any) -> str:
        """The text that ids stand for.

        Parameters
        ----------
        ids
            Whole numbers from 0 to len(vocabulary) - 1, ``(N,)``.

        Raises
        ------
        TypeError, ValueError
            If they are none, or out of range.
        """
        given = np.asarray(ids)
        if given.size == 0:
            return ""
        if given.dtype.kind not in "iu":
            raise TypeError(f"ids are {given.dtype}, but integers are wanted")
        if given.ndim != 1:
            raise ValueError(f"ids have shape {given.shape}, but (N,) is wanted")
        outside = (given < 0) | (given >= len(self))
        if outside.any():
            first = int(outside.argmax())
            raise ValueError(f"ids[{first}] is {given[first]}, but ids from 0 to {len(self) - 1} are wanted")
        text: str = self._codes[given].tobytes().decode("utf-32-le", "surrogatepass")
        return text

    def to_list(self) -> list[str]:
        """The characters in the order of their ids."""
        return list(self._characters)

    def __len__(self) -> int:
        return len(self._characters)

    def __contains__(self, character: object) -> bool:
        return character in self._characters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._characters == other._characters

    def __hash__(self) -> int:
        return hash(self._characters)

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self)} characters>"


def _code_points(text: str) -> NDArray[np.uint32]:
    """The Unicode numbers of a text's characters; half surrogate pairs, which Python allows, pass."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
