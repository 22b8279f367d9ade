"""What training measured: one row per update, one per validation."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..disk import write_atomically

Array = NDArray[Any]
Row = dict[str, float]

STEP_FIELDS = ("step", "loss", "grad_norm", "lr", "seconds")
VALIDATION_FIELDS = ("step", "loss")


class Table(Sequence[Row]):
    """Rows of numbers that read like a list of dictionaries and lie in one array, 8 bytes a number.

    A list of real dictionaries would take ten times the memory and grow with every update.
    """

    def __init__(self, fields: tuple[str, ...], capacity: int = 0) -> None:
        self.fields = fields
        self._rows = np.empty((max(capacity, 16), len(fields)))
        self._n = 0

    def append(self, *row: float) -> None:
        """Add a row, its numbers in the order of the fields."""
        if self._n == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._n] = row
        self._n += 1

    def reserve(self, rows: int) -> None:
        """Make room, so that as many rows are added without an allocation."""
        if rows > len(self._rows):
            grown = np.empty((rows, len(self.fields)))
            grown[: self._n] = self.array
            self._rows = grown

    @property
    def array(self) -> Array:
        """All rows, (N, fields): a view."""
        return self._rows[: self._n]

    def column(self, field: str) -> Array:
        """All values of one field, (N,): a copy."""
        if field not in self.fields:
            raise KeyError(f"there is no column {field!r}; there are {', '.join(self.fields)}")
        return self.array[:, self.fields.index(field)].copy()

    def extend(self, rows: Array) -> None:
        """Add the rows of an array (N, fields)."""
        for row in rows:
            self.append(*row)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(row) for row in self.array[index]]
        return self._row(self.array[index])

    def __iter__(self) -> Iterator[Row]:
        return (self._row(row) for row in self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _row(self, numbers: Array) -> Row:
        row = dict(zip(self.fields, numbers.tolist(), strict=True))
        row["step"] = int(row["step"])
        return row

    def __repr__(self) -> str:
        return repr(list(self))


class History:
    """What ``Trainer.fit`` returns.

    Attributes
    ----------
    steps : sequence of dict
        For each update: ``step`` counted from 1, ``loss`` (mean over its minibatches, without penalties),
        ``grad_norm`` (L2, after averaging and penalties, before clipping), ``lr``, and ``seconds`` since the
        start of training.
    validations : sequence of dict
        For each validation: ``step``, the updates made before it, and ``loss``.
    stopped : str
        Why training ended: ``"steps"``, ``"epochs"``, ``"patience"``, ``"interrupted"``, or what
        ``Trainer.stop`` was told; empty while it runs.
    """

    def __init__(self) -> None:
        self.steps = Table(STEP_FIELDS)
        self.validations = Table(VALIDATION_FIELDS)
        self.stopped = ""

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {"steps": list(self.steps), "validations": list(self.validations), "stopped": self.stopped}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        """What ``to_dict`` returned, as a history again."""
        history = cls()
        for table, rows in ((history.steps, data["steps"]), (history.validations, data["validations"])):
            for row in rows:
                table.append(*(row[field] for field in table.fields))
        history.stopped = str(data.get("stopped", ""))
        return history

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """One line per update; ``validation_loss`` is empty where none was measured."""
        losses = {row["step"]: row["loss"] for row in self.validations}
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow([*STEP_FIELDS, "validation_loss"])
        for row in self.steps:
            writer.writerow([*row.values(), losses.get(row["step"], "")])
        write_atomically(path, text.getvalue().encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        last = f", last loss {self.steps[-1]['loss']:.6g}" if len(self.steps) else ""
        return f"<History of {len(self.steps)} steps and {len(self.validations)} validations{last}>"
