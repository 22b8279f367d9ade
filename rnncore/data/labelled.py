"""Texts with one label each, and how they become sequences of ids and class numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_seed
from .ragged import Ragged
from .table import Path, Table, listed, read_lines
from .tokens import Tokens

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LabelledText:
    """Texts ``(N,)`` and their labels ``(N,)``."""

    texts: list[str]
    labels: list[str]

    @classmethod
    def from_table(cls, table: Table, text: str = "text", label: str = "label") -> LabelledText:
        """Two columns of a table.

        Raises
        ------
        ValueError
            If a column is not there, or a text or label is blank; the message names the line.
        """
        return cls(texts_of(table, text), texts_of(table, label))

    @classmethod
    def from_files(cls, paths: Sequence[Path], encoding: str = "utf-8") -> LabelledText:
        """One file per label: each line that is not blank is a text, and the file's name gives the label.

        Of the name the parts between dots that all files share are left out: ``French.txt`` and
        ``German.txt`` give ``French`` and ``German``, ``reviews.pos`` and ``reviews.neg`` give ``pos`` and
        ``neg``.
        """
        texts: list[str] = []
        labels: list[str] = []
        for path, label in zip(paths, labels_of_files(paths), strict=True):
            lines = read_lines(path, encoding)
            texts += lines
            labels += [label] * len(lines)
        return cls(texts, labels)

    def take(self, rows: Iterable[int]) -> LabelledText:
        """The texts of these numbers."""
        chosen = list(rows)
        return LabelledText([self.texts[i] for i in chosen], [self.labels[i] for i in chosen])

    def __len__(self) -> int:
        return len(self.texts)


def texts_of(table: Table, column: str) -> list[str]:
    """The fields of a column without the space around them; ValueError if one is blank."""
    fields = [field.strip() for field in table.column(column)]
    for number, field in enumerate(fields):
        if not field:
            raise ValueError(f"{table.name}, line {table.ends[number]}: column {column!r} is empty")
    return fields


def labels_of_files(paths: Sequence[Path]) -> list[str]:
    """What tells file names apart.

    Raises
    ------
    ValueError
        If two files bear one name.

    Examples
    --------
    >>> labels_of_files(["names/French.txt", "names/German.txt"])
    ['French', 'German']
    """
    names = [_name(path) for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"files {listed(sorted(names))} give labels, but two of them bear the same name")
    parts = [name.split(".") for name in names]
    width = min(map(len, parts))
    shared = [i for i in range(width) if len({part[i] for part in parts}) == 1]
    if len(names) == 1 or len({len(part) for part in parts}) > 1:
        return [name.rsplit(".", 1)[0] for name in names]
    return [".".join(word for i, word in enumerate(part) if i not in shared) for part in parts]


def _name(path: Path) -> str:
    """The name of a file, in UTF-8 where it is, whatever the locale takes names for."""
    encoded = os.fsencode(os.path.basename(os.fspath(path)))
    return encoded.decode("utf-8", "surrogateescape")


def random_split(
    n: int, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> tuple[Index, Index, Index]:
    """Numbers of 0..n-1 to train on, to validate and to test on, drawn from the seed, each in order.

    Raises
    ------
    ValueError
        If the shares are not at least 0 and below 1 together, or leave nothing to train on.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}, but a share of at least 0 and below 1 is wanted")
    last, middle = int(n * test), int(n * validation)
    if validation + test >= 1 or n <= last + middle:
        raise ValueError(f"validation and test take {validation + test} of {n}: nothing is left to train on")
    order = np.random.default_rng(check_seed(seed)).permutation(n)
    parts = order[last + middle :], order[last : last + middle], order[:last]
    return np.sort(parts[0]), np.sort(parts[1]), np.sort(parts[2])


@dataclass(frozen=True, slots=True)
class Classification:
    """How texts become sequences, and classes labels: what a model of labelled text must know.

    Attributes
    ----------
    tokens
        Of the texts.
    labels
        The name of each class, all different, at least two.
    text, label
        The columns that they were read from; None where the files had none.
    """

    tokens: Tokens
    labels: tuple[str, ...]
    text: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ValueError(f"labels are {listed(self.labels)}, but at least two different ones are wanted")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels are {listed(self.labels)}, but all must be different")

    def sequences(self, texts: Sequence[str]) -> Ragged:
        """The ids of texts.

        Raises
        ------
        TypeError, ValueError
            If they are no texts, or one holds not one word or character; the message says which.
        """
        if isinstance(texts, str):
            raise TypeError("texts are a str, but a list of texts is wanted")
        encoded = [self.tokens.encode(text) for text in texts]
        for number, ids in enumerate(encoded):
            if not len(ids):
                raise ValueError(f"texts[{number}] is {texts[number]!r}: it holds no {self.tokens.units}")
        return Ragged.from_list(encoded, "texts")

    def classes(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """The classes of labels, ``(N,)``; ValueError names a label that the model does not know."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        for place, label in enumerate(labels):
            if label not in numbers:
                raise ValueError(f"labels[{place}] is {label!r}, which is none of {listed(self.labels)}")
        return np.array([numbers[label] for label in labels], np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        names = {"text": self.text, "label": self.label}
        return {"task": "classify", "tokens": self.tokens.to_dict(), "labels": list(self.labels), **names}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Classification:
        """What ``to_dict`` returned; ValueError if it is anything else."""
        labels = data.get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError("labels are no list of texts")
        names = data.get("text"), data.get("label")
        if not all(name is None or isinstance(name, str) for name in names):
            raise ValueError("the columns of text and label are no texts")
        return cls(Tokens.from_dict(data.get("tokens")), tuple(labels), *names)
