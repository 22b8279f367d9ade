"""The text that a network is trained and measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..data import CountModel, TextStream, Vocabulary, builtin_text, read_text, split

YARDSTICKS = {"unigram counts": 1, "trigram counts": 3}
ROW_STEPS, MOST_ROWS = 256, 32  # of a part that is only measured


@dataclass(frozen=True, slots=True)
class Part:
    """One of the three parts of a text: ids, and where its documents begin (None: it is one)."""

    ids: NDArray[Any]
    documents: list[int] | None

    def stream(self, rows: int) -> TextStream:
        """The part as training reads it."""
        return TextStream(self.ids, rows, self.documents)

    def measured(self) -> TextStream:
        """The part in few rows: each begins without a past, which costs some bits at its first steps."""
        return self.stream(min(max(len(self.ids) // ROW_STEPS, 1), MOST_ROWS))


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text, ready for training."""

    name: str
    characters: int
    vocabulary: Vocabulary
    train: Part
    validation: Part | None
    test: Part | None

    def yardsticks(self) -> dict[str, list[float]]:
        """Bits per character of the count models, trained on the training part, on each measured part."""
        table = {}
        for name, order in YARDSTICKS.items():
            model = CountModel(self.train.ids, order, len(self.vocabulary), self.train.documents)
            parts = self.measured_parts().values()
            table[name] = [model.bits_per_character(part.ids, part.documents) for part in parts]
        return table

    def measured_parts(self) -> dict[str, Part]:
        """The parts that are there beside the one to train on, by name."""
        parts = {"validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def read_corpus(files: Sequence[str], validation: float, test: float) -> Corpus:
    """Read text files, one document each, or the built-in text if there are none, and split them in order.

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or is empty or no UTF-8.
    click.UsageError
        If a part is too short to be measured.
    """
    texts = [read_text(path) for path in files] or [builtin_text()]
    text = "".join(texts)
    vocabulary = Vocabulary.from_text(text)
    begins = np.cumsum([0, *map(len, texts)])[:-1] if len(texts) > 1 else None
    parts, offset = [], 0
    for ids in split(vocabulary.encode(text), validation, test):
        parts.append(_part(ids, begins, offset))
        offset += len(ids)
    for name, share, part in (("validation", validation, parts[1]), ("test", test, parts[2])):
        if share and len(part.ids) < 2:
            raise click.UsageError(
                f"--{name} {share:g} of a text of {len(text)} characters leaves {len(part.ids)}, "
                "but at least 2 are wanted"
            )
    names = [*files[:3], f"and {len(files) - 3} more"] if len(files) > 3 else [*files]
    name = ", ".join(names) or "the topics of Python's help()"
    return Corpus(
        name, len(text), vocabulary, parts[0], parts[1] if validation else None, parts[2] if test else None
    )


def _part(ids: NDArray[Any], begins: NDArray[Any] | None, offset: int) -> Part:
    if begins is None:
        return Part(ids, None)
    inside = begins[(begins > offset) & (begins < offset + len(ids))] - offset
    return Part(ids, [0, *inside.tolist()])
