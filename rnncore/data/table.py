"""Tables of text: CSV and TSV files, read strictly, with the line of whatever is wrong."""

from __future__ import annotations

import codecs
import csv
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..disk import named_errors
from .fields import MISSING, Fields, NotNumber, number_of, numbers_of

Path = str | os.PathLike[str]

DELIMITERS = ("\t", ",", ";", "|")
ALONE = "\x1f"  # Unicode's separator of units, which no text has: one column, in quotes or not
BLOCK = 1000  # rows that are turned into columns at once
LONGEST = 2**31 - 1  # bytes of a field, in place of csv's 131,072
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
GUESSES = ("utf-8", "cp1252")  # encodings that an error may name


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
    decimal
        The decimal sign of its numbers; None to find it in each column.
    """

    name: str
    columns: dict[str, Fields]
    ends: array[int]
    decimal: str | None = None

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

    def column(self, column: str) -> Fields:
        """The fields of one column; ValueError lists those that there are."""
        if column not in self.columns:
            raise ValueError(f"{self.name} has no column {column!r}; its columns are {listed(self.header)}")
        return self.columns[column]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """One column as numbers, ``(N,)``, NaN where the field is empty or says NA, NaN, null, ? or the like.

        Raises
        ------
        ValueError
            If a field is text or not finite, or no number is there at all; the message names column and line.
        """
        try:
            values = numbers_of(self.column(column), self.decimal)
        except NotNumber as error:
            line = self.ends[error.place]
            raise ValueError(f"{self.name}, line {line}: column {column!r} {error}") from None
        if np.isnan(values).all():
            raise ValueError(f"{self.name}: column {column!r} holds no number, all of it is missing")
        return values

    def number_columns(self) -> list[str]:
        """The columns whose first field that is not missing is a number."""
        found = []
        for name, fields in self.columns.items():
            first = next((field for field in fields if field.strip().lower() not in MISSING), "")
            if first and (number_of(first, ".") is not None or number_of(first, ",") is not None):
                found.append(name)
        return found


def read_table(
    path: Path, encoding: str = "utf-8", delimiter: str | None = None, decimal: str | None = None
) -> Table:
    """Read a CSV or TSV file with a header.

    Parameters
    ----------
    path
        The file. Blank lines are skipped, and so are rows without any value at its end; a first line
        ``sep=;``, as spreadsheets write it, gives the delimiter.
    encoding
        Of the text; a byte-order mark is dropped, and says itself what the encoding is.
    delimiter
        None for the one of tab, comma, semicolon and bar that the header has most of; without any the table
        is a single column. Between tabs quotes are like any other character; elsewhere a field may be in
        double quotes, and then hold delimiters and line ends.
    decimal
        ``"."`` or ``","``; None to find it in each column of numbers.

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
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal is {decimal!r}; expected '.' or ','")
    known = check_encoding(encoding)
    with (
        named_errors(path),
        open(path, newline="", encoding=_marked(path) or known) as file,
        _long_fields(),
    ):
        try:
            skipped, delimiter = _skip_head(name, file, delimiter)
            quotes = None if delimiter == "\t" else '"'
            reader = csv.reader(
                file, delimiter=delimiter, quotechar=quotes, strict=True,
                quoting=csv.QUOTE_NONE if quotes is None else csv.QUOTE_MINIMAL,
            )  # fmt: skip
            header = [field.strip() for field in next(reader, [])]
            if any("\0" in field for field in header):
                hint = "is it UTF-16? --encoding utf-16-le or utf-16-be reads that"
                raise ValueError(f"{name} holds NUL characters: {hint}")
            fields, lines = _read_rows(name, reader, header, skipped)
        except UnicodeError as error:
            raise _wrong_encoding(name, encoding, error) from None
        except csv.Error as error:
            hint = "; is it UTF-16? --encoding utf-16" if "NUL" in str(error) else ""
            line = reader.line_num + skipped
            raise ValueError(f"{name}, line {line} cannot be read: {error}{hint}") from None
    if not lines:
        raise ValueError(f"{name} holds no rows below a header, but at least one is wanted")
    _check_header(name, header)
    return Table(name, dict(zip(header, fields, strict=True)), lines, decimal)


def _check_header(name: str, header: list[str]) -> None:
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has more than one column {min(twice)!r}")
    numbers = [field for field in header if (number_of(field) or 0) % 1]
    if numbers and all(number_of(field) is not None for field in header):
        raise ValueError(
            f"{name} begins with the numbers {listed(header)}; expected a line with the names of columns"
        )


def _marked(path: Path) -> str | None:
    """The encoding that a byte-order mark gives; None without a mark."""
    with named_errors(path), open(path, "rb") as file:
        head = file.read(4)
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    found = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    return "utf-8-sig" if found == "utf-8" else found


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields of any length, while a table is read."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _skip_head(name: str, file: TextIO, delimiter: str | None) -> tuple[int, str]:
    """Go behind a line ``sep=;`` and blank ones; how many lines that was, and the delimiter."""
    skipped, place = 0, file.tell()
    head = file.readline()
    if match := re.fullmatch(r"\ufeff?sep=(.)", head.strip("\r\n"), re.IGNORECASE):
        delimiter = delimiter or match[1]
        skipped, place, head = 1, file.tell(), file.readline()
    while head and not head.strip():
        skipped, place, head = skipped + 1, file.tell(), file.readline()
    file.seek(place)
    return skipped, delimiter or _delimiter(name, head)


def _read_rows(name: str, reader: Any, header: list[str], skipped: int) -> tuple[list[Fields], array[int]]:
    """The fields of each column, and the line at which each row ends; a block of rows at a time.

    A list for each row would take dozens of times the bytes of a short line. Rows at the end that hold
    nothing, as spreadsheets leave them, are dropped.
    """
    fields = [Fields() for _ in header]
    lines = array("I")
    block: list[list[str]] = []
    wide, filled = len(header), 0
    for row in reader:
        if len(row) != wide:
            if not any(map(str.strip, row)):
                continue
            raise ValueError(
                f"{name}, line {reader.line_num + skipped} has {len(row)} fields, but the header has "
                f"{len(header)}: {listed(header)}"
            )
        block.append(row)
        lines.append(reader.line_num + skipped)
        if wide > 1 and not any(row):
            continue
        filled = len(lines)
        if len(block) >= BLOCK:
            _extend(fields, block)
            block = []
    _extend(fields, block)
    for column in fields:
        column.cut(filled)
    del lines[filled:]
    return fields, lines


def _extend(fields: list[Fields], block: list[list[str]]) -> None:
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
    hint = f", such as {guess}" if (guess := _guess(name, encoding)) else ""
    return ValueError(
        f"{name} is not {found} text: {reason}; --encoding or the argument encoding says what else it is"
        f"{hint}"
    )


def _guess(name: str, encoding: str) -> str | None:
    """Another encoding that reads the beginning of a file, as a hint: nothing is read with it."""
    with named_errors(name), open(name, "rb") as file:
        head = file.read(100_000)
    if head[1::2].count(0) > len(head) // 4:
        return "utf-16-le"
    for guess in GUESSES:
        if guess != check_encoding(encoding).removesuffix("-sig"):
            with suppress(UnicodeError):
                head.decode(guess)
                return guess
    return None
