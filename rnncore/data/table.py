"""Tables of text: CSV and TSV files, read strictly, with the line of whatever is wrong."""

from __future__ import annotations

import codecs
import csv
import math
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..disk import named_errors

Path = str | os.PathLike[str]

DELIMITERS = ("\t", ",", ";")
ALONE = "\x1f"  # Unicode's separator of units, which no text has: one column, in quotes or not
BLOCK = 1000  # rows that are turned into columns at once
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns, as text.

    Attributes
    ----------
    name
        Of the file, for messages.
    columns
        The fields of each column, by its name.
    ends
        The line of the file at which each row ends.
    """

    name: str
    columns: dict[str, list[str]]
    ends: array[int]

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    @property
    def rows(self) -> list[list[str]]:
        """The fields of each row, as many as the header has."""
        return [list(row) for row in zip(*self.columns.values(), strict=True)]

    @property
    def lines(self) -> list[int]:
        """The line of the file at which each row ends."""
        return self.ends.tolist()

    def place(self, column: str) -> int:
        """The number of a column; ValueError lists those that there are."""
        self.column(column)
        return self.header.index(column)

    def column(self, column: str) -> list[str]:
        """The fields of one column; ValueError lists those that there are."""
        if column not in self.columns:
            raise ValueError(f"{self.name} has no column {column!r}; its columns are {listed(self.header)}")
        return self.columns[column]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """One column as numbers, ``(N,)``, NaN where the field is empty or says NA, NaN, null or ?.

        Raises
        ------
        ValueError
            If a field is text or not finite, or no number is there at all; the message names column and line.
        """
        values = np.empty(len(self.ends))
        for number, field in enumerate(self.column(column)):
            value = _number(field)
            if value is None:
                raise ValueError(
                    f"{self.name}, line {self.ends[number]}: column {column!r} holds {field[:40]!r}, but "
                    "numbers are wanted"
                )
            values[number] = value
        if np.isnan(values).all():
            raise ValueError(f"{self.name}: column {column!r} holds no number, all of it is missing")
        return values

    def number_columns(self) -> list[str]:
        """The columns whose first field that is not missing is a number."""
        found = []
        for name, fields in self.columns.items():
            first = next((field for field in fields if field.strip().lower() not in MISSING), "")
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
    with named_errors(path), open(path, newline="", encoding=check_encoding(encoding)) as file:
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
            fields, lines = _read_rows(name, reader, header)
        except UnicodeError as error:
            raise _wrong_encoding(name, encoding, error) from None
        except csv.Error as error:
            raise ValueError(f"{name}, line {reader.line_num} cannot be read: {error}") from None
    if not lines:
        raise ValueError(f"{name} holds no rows below a header, but at least one is wanted")
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has more than one column {min(twice)!r}")
    return Table(name, dict(zip(header, fields, strict=True)), lines)


def _read_rows(name: str, reader: Any, header: list[str]) -> tuple[list[list[str]], array[int]]:
    """The fields of each column, and the line at which each row ends; a block of rows at a time.

    A list for each row would take dozens of times the bytes of a short line.
    """
    fields: list[list[str]] = [[] for _ in header]
    lines = array("q")
    block: list[list[str]] = []
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(
                f"{name}, line {reader.line_num} has {len(row)} fields, but the header has "
                f"{len(header)}: {listed(header)}"
            )
        block.append(row)
        lines.append(reader.line_num)
        if len(block) == BLOCK:
            _extend(fields, block)
            block = []
    _extend(fields, block)
    return fields, lines


def _extend(fields: list[list[str]], block: list[list[str]]) -> None:
    for column, more in zip(fields, zip(*block, strict=True), strict=bool(block)):
        column.extend(more)


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
    with named_errors(path), open(path, "rb") as file:
        data = file.read()
    known = check_encoding(encoding)
    try:
        text = data.decode(known)
    except UnicodeError as error:
        raise _wrong_encoding(name, encoding, error) from None
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
        with suppress(UnicodeError):
            b"a".decode(encoding)  # LookupError for those that turn bytes into bytes, or text into text
    except (LookupError, ValueError):
        raise ValueError(f"encoding is {encoding!r}, which is not known; utf-8 and cp1252 are") from None
    return "utf-8-sig" if name == "utf-8" else name


def listed(names: Sequence[Any]) -> str:
    """Names as a person reads them, at most thirty."""
    shown = [repr(name) for name in names[:30]]
    return ", ".join([*shown, f"and {len(names) - 30} more"] if len(names) > 30 else shown)


def _wrong_encoding(name: str, encoding: str, error: UnicodeError) -> ValueError:
    found, reason = encoding, str(error)[:200]
    if isinstance(error, UnicodeDecodeError):
        found = error.encoding
        reason = f"it holds a byte 0x{error.object[error.start]:02x} ({error.reason})"
    return ValueError(
        f"{name} is not {found} text: {reason}; --encoding or the argument encoding says what else it is"
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
