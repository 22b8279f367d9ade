"""``rnncore diagnose``: where a model's gradient goes, in the terminal and on one HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import click

from ..diagnostics import diagnose as examine
from ..diagnostics.page import write_page
from ..disk import write_atomically
from ..files import load
from ..losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from ..pictures import new_figure
from .looks import LOOK, ROWS, STEPS, look_at_task, look_at_text, read_arrays
from .options import COUNT, DELIMITER, FILE
from .terminal import echo

LOSSES = {"crossentropy": CrossEntropy, "squared": SquaredError, "binary": BinaryCrossEntropy}


@click.command("diagnose")
@click.argument("model", type=FILE)
@click.argument("data", nargs=-1, type=FILE)
@click.option("--steps", type=COUNT, help=f"Steps of a text that are looked at.  [default: {STEPS}]")
@click.option("--rows", type=COUNT, default=ROWS, show_default=True, help="Sequences that are looked at.")
@click.option(
    "--loss", type=click.Choice(sorted(LOSSES)),
    help="Of DATA.npz.  [default: crossentropy for whole numbers as target, otherwise squared]",
)  # fmt: skip
@click.option("--encoding", help="Of labelled texts and tables.  [default: utf-8]")
@DELIMITER
@click.option("--page", type=FILE, help="The HTML page.  [default: as MODEL, .html]")
@click.option("--json", "json_path", type=FILE, help="The report as JSON.")
def diagnose(
    model: str,
    data: tuple[str, ...],
    steps: int | None,
    rows: int,
    loss: str | None,
    encoding: str | None,
    delimiter: str | None,
    page: str | None,
    json_path: str | None,
) -> None:
    """Say what keeps the network in the file MODEL from learning, and which line of code cures it.

    DATA is of the kind that MODEL was trained on: a text, for one that writes (without it: the topics of
    Python's help()); the table, or the files, one per label, of labelled texts; the table of a time series.
    For any model it may be a file .npz with arrays x, target and, if rows differ, lengths, time-major. The
    page has all pictures; it needs no other file and no network.
    """
    new_figure(1, 1)  # without matplotlib the error comes now
    net, batch, own = read_look(model, data, steps, rows, loss, encoding, delimiter)
    try:
        report = examine(net, batch, own)
    except TypeError as error:  # DATA is to blame: what is wrong with it is one line
        raise ValueError(f"{' '.join(data)}: {error}") from error
    echo(str(report))
    if json_path is not None:
        write_atomically(json_path, json.dumps(report.to_dict(), indent=1, allow_nan=False).encode())
    path = os.path.splitext(model)[0] + ".html" if page is None else page
    title = f"Diagnosis of {os.path.basename(model)}"
    write_page(path, report, net, batch.x, batch.target, own, batch.lengths, title=title)
    echo(f"\npage: {path}")


def read_look(
    model: str,
    data: Sequence[str],
    steps: int | None,
    rows: int,
    loss: str | None,
    encoding: str | None,
    delimiter: str | None,
) -> LOOK:
    """The network, what it is looked at with, and the loss; options of another kind of data are refused."""
    arrays = len(data) == 1 and data[0].endswith(".npz")
    net = load(model)
    text = not arrays and net.task is None
    options = {"--steps": (steps, text, "a text"), "--loss": (loss, arrays, "DATA.npz")}
    tables = not arrays and not text
    options |= {
        "--encoding": (encoding, tables, "labelled texts and tables"),
        "--delimiter": (delimiter, tables, "tables"),
    }
    for name, (value, fits, kind) in options.items():
        if value is not None and not fits:
            came = " ".join(data) or "the builtin text"
            raise click.UsageError(f"{name} is for {kind}, but {came} is not of that kind")
    if arrays:
        batch = read_arrays(net, data[0], rows)
        wanted = loss or ("crossentropy" if batch.target.dtype.kind in "iu" else "squared")
        return net, batch, LOSSES[wanted]()
    if text and net.vocabulary is None:
        raise ValueError(f"{model} has no vocabulary and no task: DATA.npz, arrays x and target, is wanted")
    if text:
        return look_at_text(model, data, steps or STEPS, rows)
    return look_at_task(model, data, rows, encoding or "utf-8", delimiter)
