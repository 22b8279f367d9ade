"""``rnncore predict``: what a network says of new data, as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import click
import numpy as np

from ..data import Classification, Forecast, Panel, RaggedSource, Treatment, read_table
from ..data.labelled import texts_of
from ..data.table import read_lines
from ..data.times import written_alike
from ..disk import write_atomically
from ..files import load
from ..layers import Dense, Embedding
from ..network import Network
from ..trainer import predict as run
from .options import DECIMAL, DELIMITER, ENCODING, FILE, check_outputs
from .series import read_again, treatments
from .terminal import echo

ROWS = 64  # sequences in a batch
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")  # wide forms count in spreadsheets too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
Rows = Iterator[Sequence[Any]]


@click.command("predict", context_settings={"show_default": True})
@click.argument("model", type=FILE)
@click.argument("file", type=FILE)
@click.option("--out", "--output", type=FILE, help="Where the CSV goes.  [default: standard output]")
@ENCODING
@DELIMITER
@DECIMAL
@treatments
@click.option(
    "--escape-formulas", is_flag=True,
    help="Put an apostrophe in front of text that a spreadsheet would take for a formula.",
)  # fmt: skip
def predict(
    model: str, file: str, out: str | None, encoding: str, delimiter: str | None, decimal: str | None,
    order: str, duplicates: str, gaps: str, day_first: bool | None, escape_formulas: bool,
) -> None:  # fmt: skip
    """Write what the network in the file MODEL says of FILE, data of the kind that it was trained on.

    Of texts: a line with the text, its label, and the probability of each label. FILE is a table with the
    column that held the texts in training, or has a text on each line if there were no columns. Of a time
    series: a line for each step of the horizon behind its end, with its time and series if the model knows
    them. All is written in UTF-8, and numbers so that reading them again gives the same ones.

    A spreadsheet computes what begins with = + - or @. Where texts, labels or names come from strangers and
    the CSV goes to one, use --escape-formulas.
    """
    check_outputs([model, file], {"--out": out})
    net, task = task_network(model)
    if isinstance(task, Forecast):
        treatment = Treatment(order, duplicates, gaps)
        rows = forecast_rows(
            net, task, read_again(task, file, encoding, delimiter, treatment, day_first, decimal), file
        )
    else:
        rows = label_rows(net, task, file, encoding, delimiter)
    if escape_formulas:
        rows = ([escaped(cell) for cell in row] for row in rows)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    if out is None:
        echo(text.getvalue(), nl=False)
    else:
        write_atomically(out, text.getvalue().encode())


def escaped(cell: Any) -> Any:
    """A cell of CSV that no spreadsheet takes for a formula: text that begins like one, numbers apart, has an
    apostrophe in front, also where blanks come first."""
    if not isinstance(cell, str) or NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if FORMULA.match(cell) else cell


def task_network(path: str) -> tuple[Network, Classification | Forecast]:
    """A model file's network and task.

    Raises
    ------
    ValueError
        If it has no task, or a network that does not fit it.
    """
    net = load(path)
    task = net.task
    if task is None:
        raise ValueError(f"{path} holds no task: it was not made by rnncore train classify or forecast")
    first, last = net.layers[0], net.layers[-1]
    outputs = last.out_features if isinstance(last, Dense) else None
    if isinstance(task, Forecast):
        wanted = task.features, task.outputs
        inputs = None if isinstance(first, Embedding) else first.features()[0]
    else:
        wanted = len(task.tokens), len(task.labels)
        inputs = first.num_embeddings if isinstance(first, Embedding) else None
    if (inputs, outputs) != wanted or not any(layer.pools for layer in net.layers):
        raise ValueError(
            f"{path} holds a network of {inputs or 'other'} inputs and {outputs or 'other'} outputs, but its "
            f"task wants {wanted[0]} and {wanted[1]}, one row per sequence"
        )
    return net, task


def label_rows(net: Network, task: Classification, file: str, encoding: str, delimiter: str | None) -> Rows:
    """A header, and for each text its label and the probability of each label."""
    if task.text is not None:
        texts = texts_of(read_table(file, encoding, delimiter), task.text)
    elif delimiter is not None:
        raise click.UsageError("--delimiter wants a table, but this model reads a text on each line")
    else:
        texts = read_lines(file, encoding)
    sequences = task.sequences(texts)
    y = np.asarray(run(net, RaggedSource(sequences, batch_size=ROWS, shuffle=False)), np.float64)
    p = np.exp(y - y.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    yield ["text", "label", *(f"p({label})" for label in task.labels)]
    for text, row in zip(texts, p, strict=True):
        yield [text, task.labels[int(row.argmax())], *(f"{value:.6f}" for value in row)]


def forecast_rows(net: Network, task: Forecast, panel: Panel, file: str) -> Rows:
    """A header, and for each step behind the end of each series the forecast of each target."""
    named = [name for name in (task.series, "step", task.time) if name is not None]
    yield [*named, *task.targets]
    ends = panel.ends
    for name, begin, end in zip(
        panel.names, panel.pieces[np.searchsorted(panel.pieces, ends) - 1], ends, strict=True
    ):
        values = panel.values[begin:end][-task.window :]
        if len(values) < task.window:
            of = f" in series {name!r}" if task.series else ""
            raise ValueError(
                f"{file} has {len(values)} steps{of}, but the model reads {task.window} before a forecast"
            )
        forecast = task.forecast(net, values)
        steps = np.arange(1, len(forecast) + 1)
        when: list[list[str]] = [[] for _ in forecast]
        if task.time is not None and panel.times is not None and panel.frequency is not None:
            when = [[text] for text in written_alike(panel.frequency.after(panel.times[end - 1], steps))]
        for place, row in enumerate(forecast.tolist()):
            own = [name] if task.series is not None else []
            yield [*own, place + 1, *when[place], *map(repr, row)]
