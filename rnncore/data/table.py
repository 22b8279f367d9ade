"""Tables of text: CSV and TSV files, read strictly, with the line of whatever is wrong."""

from __future__ import annotations

import codecs
import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Path = str | os.PathLike[str]

DELIMITERS = ("\t", ",", ";")
ALONE = "\x1f"  # Unicode's separator of units, which no text has: one column, in quotes or not
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns, as text.

    Attributes
    ----------
    name
        Of the file, for messages.
    header
        The names of the columns.
    rows
        The fields of each row, as many as the header has.
    lines
        The line of the file at which each row ends.
    """

    name: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def place(self, column: str) -> int:
        """The column of this name; ValueError lists those that there are."""
        if column not in self.header:
            raise ValueError(f"{self.name} has no column {column!r}; its columns are {listed(self.header)}")
        return self.header.index(column)

    def column(self, column: str) -> list[str]:
        """The fields of one column."""
        place = self.place(column)
        return [row[place] for row in self.rows]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """One column as numbers, ``(N,)``, NaN where the field is empty or says NA, NaN, null or ?.

        Raises
        ------
        ValueError
            If a field is text or not finite, or no number is there at all; the message names column and line.
        """
        values = np.empty(len(self.rows))
        for number, field in enumerate(self.column(column)):
            value = _number(field)
            if value is None:
                raise ValueError(
                    f"{self.name}, line {self.lines[number]}: column {column!r} holds {field[:40]!r}, but "
                    "numbers are wanted"
                )
            values[number] = value
        if np.isnan(values).all():
            raise ValueError(f"{self.name}: column {column!r} holds no number, all of it is missing")
        return values

    def number_columns(self) -> list[str]:
        """The columns whose first field that is not missing is a number."""
        found = []
        for place, name in enumerate(self.header):
            first = next((row[place] for row in self.rows if row[place].strip().lower() not in MISSING), "")
            if first and _number(first) is not None:
                found.append(name)
        return found


def read_table(path: Path, encoding: str = "utf-8", delimiter: str | None = None) -> Table:
    """Read a CSV or TSV file with a header.

    Parameters
    ----------
    path
        The file. Blank lines are skipped.
    encoding
        Of the text; a byte-order mark is dropped.
    delimiter
        None for the one of tab, comma and semicolon that the header has most of; without any the table is a
        single column. Between commas and
        semicolons a field may stand in double quotes; between tabs quotes are like any other character.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    ValueError
        If it is empty or not in this encoding, or a row has more or fewer fields than the header.
    """
    name = os.fspath(path)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"delimiter is {delimiter!r}, but one character, no quote or line end, is wanted")
    with open(path, newline="", encoding=check_encoding(encoding)) as file:
        try:
            head = file.readline()
            file.seek(0)
            delimiter = delimiter or _delimiter(name, head)
            quotes = None if delimiter == "\t" else '"'
            reader = csv.reader(
                file, delimiter=delimiter, quotechar=quotes, strict=True,
                quoting=csv.QUOTE_NONE if quotes is None else csv.QUOTE_MINIMAL,
            )  # fmt: skip
            header = [field.strip() for field in next(reader, [])]
            rows, lines = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ValueError(
                        f"{name}, line {reader.line_num} has {len(row)} fields, but the header has "
                        f"{len(header)}: {listed(header)}"
                    )
                rows.append(row)
                lines.append(reader.line_num)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(name, error) from None
        except csv.Error as error:
            raise ValueError(f"{name}, line {reader.line_num} cannot be read: {error}") from None
    if not rows:
        raise ValueError(f"{name} holds no rows below a header, but at least one is wanted")
    twice = {column for column in header if header.count(column) > 1}
    if twice:
        raise ValueError(f"{name} has more than one column {sorted(twice)[0]!r}")
    return Table(name, header, rows, lines)


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text that are not blank; only ``"\\n"`` and ``"\\r\\n"`` end one.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    ValueError
        If it is not in this encoding, or all of it is blank.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode(check_encoding(encoding))
    except UnicodeDecodeError as error:
        raise _wrong_encoding(name, error) from None
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        raise ValueError(f"{name} holds no text, but at least one line is wanted")
    return lines


def _delimiter(name: str, head: str) -> str:
    found = max(DELIMITERS, key=head.count)
    if found in head:
        return found
    return "\t" if name.lower().endswith((".tsv", ".tab")) else ALONE


def check_encoding(encoding: str) -> str:
    """An encoding's name for reading, or ValueError if there is none of this name."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise ValueError(f"encoding is {encoding!r}, which is not known; utf-8 and cp1252 are") from None
    return "utf-8-sig" if name == "utf-8" else name


def listed(names: Sequence[Any]) -> str:
    """Names as a person reads them, at most thirty."""
    shown = [repr(name) for name in names[:30]]
    return ", ".join([*shown, f"and {len(names) - 30} more"] if len(names) > 30 else shown)


def _wrong_encoding(name: str, error: UnicodeDecodeError) -> ValueError:
    byte = error.object[error.start]
    return ValueError(
        f"{name} is not {error.encoding} text: it holds a byte 0x{byte:02x} ({error.reason}); "
        "--encoding or the argument encoding says what else it is"
    )


def _number(field: str) -> float | None:
    """A field's number, NaN if it is missing, None if it is text or not finite."""
    text = field.strip().lower()
    if text in MISSING:
        return math.nan
    if "_" in text:  # which Python reads as a number
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
