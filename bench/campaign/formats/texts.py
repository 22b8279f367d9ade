"""Tables and texts: ``read_table``, ``read_lines``, ``read_text``, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator

from campaign import hostile, nets
from campaign.formats.reading import read
from campaign.subjects import Subject
from rnncore.cli.forecast import read_columns
from rnncore.data import (
    Forecast,
    LabelledText,
    TextStream,
    Tokens,
    Vocabulary,
    check_series,
    read_table,
    read_text,
)
from rnncore.data.table import read_lines

FIELDS = (
    *("1", "2.5", "-3e4", "", "NA", "nan", "?", "null", "1e999", "-inf", "1_000", "0x10", "١", "1e-400"),
    *("yes", "text", '"quoted"', '"a,b"', '"a\nb"', '"', '""', '"open', "'", "a;b", "\0", "\ufeff", "=1+1"),
    "x" * 200_000,
    *("9" * 5000, "é", "\U0001f600", "\r", "\x1f", "\x85", "\u2028"),
)
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "utf-7")
ASKED = (
    *ENCODINGS,
    *("idna", "punycode", "rot13", "hex", "zlib", "unicode_escape", "undefined", "\0", "x" * 5000, ""),
)


def make(rng: Generator) -> bytes:
    delimiter = nets.one(rng, (",", ",", "\t", ";"))
    columns, rows = int(nets.one(rng, (1, 2, 3, 3, 8, 3000))), int(nets.one(rng, (0, 1, 3, 30, 300)))
    if columns == 3000:
        rows = min(rows, 3)
    hostile_share = float(nets.one(rng, (0.0, 0.01, 0.1, 0.5)))

    def field() -> str:
        if rng.random() < hostile_share:
            return str(hostile.choose(rng, FIELDS))
        return f"{rng.standard_normal():.3g}"

    head = [field() if rng.random() < hostile_share else f"c{n}" for n in range(columns)]
    lines = [head, *([field() for _ in range(columns)] for _ in range(rows))]
    if rng.random() < 0.2 and lines:
        lines[-1] = lines[-1][: int(rng.integers(columns + 1))] * int(rng.integers(3))
    end = nets.one(rng, ("\n", "\n", "\r\n", "\r"))
    text = end.join(delimiter.join(line) for line in lines) + nets.one(rng, ("", end))
    data = text.encode(nets.one(rng, ENCODINGS), "replace")
    return hostile.mutate_bytes(rng, data) if rng.random() < 0.2 else data


def run(rng: Generator, path: Path) -> None:
    kind = int(rng.integers(4))
    encoding = nets.one(rng, ("utf-8", "utf-8", "utf-8", "latin-1", "utf-16", nets.one(rng, ASKED)))
    try:
        if encoding not in ENCODINGS:  # then the message names the encoding
            read_lines(path, encoding) if kind else read_table(path, encoding)
        elif kind == 0:
            use_text(read(lambda: read_text(path), path))
        elif kind == 1:
            use_lines(read(lambda: read_lines(path, encoding), path))
        else:
            use_table(path, encoding, nets.one(rng, (None, None, ",", "|")))
    except LookupError as error:
        raise AssertionError("a LookupError leaves the reader") from error


def use_text(text: str) -> None:
    vocabulary = Vocabulary.from_text(text)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    for batch in TextStream(ids, 2).batches(0):
        assert batch.x.shape == batch.target.shape


def use_lines(lines: list[str]) -> None:
    for units in ("words", "characters", "bytes"):
        tokens = Tokens.from_texts(lines, units, max_size=50)
        for line in lines[:20]:
            tokens.decode(tokens.encode(line))


def use_table(path: Path, encoding: str, delimiter: str | None) -> None:
    table = read(lambda: read_table(path, encoding, delimiter), path)
    numbers = table.number_columns()
    read(lambda: LabelledText.from_table(table, table.header[0], table.header[-1]), path)
    if numbers:
        values, names = check_series(read(lambda: read_columns(table, numbers), path), numbers)
        if len(values) > 4:
            task = Forecast.fit(values, names, names[:1], len(values), window=2)
            task.inputs(np.asarray(values)[:2])


SUBJECT = Subject("texts", "CSV tables, texts and vocabularies", run, make, suffix=".csv")
