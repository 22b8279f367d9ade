"""``rnncore diagnose``: where a model's gradient goes, in the terminal and on one HTML page."""

from __future__ import annotations

import json
import os
from typing import Any

import click
import numpy as np

from ..data import Batch, TextStream, builtin_text, read_text
from ..diagnostics import diagnose as examine
from ..diagnostics.page import write_page
from ..files import load
from ..losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from ..network import Network
from ..pictures import new_figure
from .options import COUNT, FILE
from .sample import text_network

LOSSES = {"crossentropy": CrossEntropy, "squared": SquaredError, "binary": BinaryCrossEntropy}


@click.command("diagnose", context_settings={"show_default": True})
@click.argument("model", type=FILE)
@click.argument("data", required=False, type=FILE)
@click.option("--steps", type=COUNT, default=100, help="Steps of a text that are looked at.")
@click.option("--rows", type=COUNT, default=8, help="Sequences that are looked at.")
@click.option(
    "--loss", type=click.Choice(sorted(LOSSES)),
    help="Of DATA.npz.  [default: crossentropy for whole numbers as target, otherwise squared]",
)  # fmt: skip
@click.option("--page", type=FILE, help="The HTML page.  [default: as MODEL, .html]")
@click.option("--json", "json_path", type=FILE, help="The report as JSON.")
def diagnose(
    model: str, data: str | None, steps: int, rows: int, loss: str | None, page: str | None, json_path: str |
    None
) -> None:
    """Say what keeps the network in the file MODEL from learning, and which line of code cures it.

    DATA is a text, for a model that reads characters (without it: the topics of Python's help()), or a file
    .npz with arrays x, target and, if rows differ, lengths, time-major. The page has all pictures; it needs
    no other file and no network.
    """
    new_figure(1, 1)  # without matplotlib the error comes now
    if data is not None and data.endswith(".npz"):
        net = load(model)
        batch = read_arrays(net, data, rows)
        wanted = loss or ("crossentropy" if batch.target.dtype.kind in "iu" else "squared")
    elif loss is not None:
        raise click.UsageError("--loss is for DATA.npz: a text is predicted with crossentropy")
    else:
        net, batch = read_characters(model, data, steps, rows)
        wanted = "crossentropy"
    own = LOSSES[wanted]()
    try:
        report = examine(net, batch, own)
    except TypeError as error:  # DATA is to blame: what is wrong with it is one line
        raise ValueError(f"{data}: {error}") from error
    click.echo(str(report))
    if json_path is not None:
        with open(json_path, "w", encoding="utf-8") as file:
            json.dump(report.to_dict(), file, indent=1, allow_nan=False)
    path = os.path.splitext(model)[0] + ".html" if page is None else page
    title = f"Diagnosis of {os.path.basename(model)}"
    write_page(path, report, net, batch.x, batch.target, own, batch.lengths, title=title)
    click.echo(f"\npage: {path}")


def read_characters(model: str, data: str | None, steps: int, rows: int) -> tuple[Network, Batch]:
    """A character network, and the beginning of each of so many parts of a text."""
    net, vocabulary = text_network(model)
    text = builtin_text() if data is None else read_text(data)
    known = set(vocabulary.to_list())
    ids = vocabulary.encode("".join(character for character in text if character in known))
    if len(ids) < 3:
        name = data or "the text"
        raise ValueError(f"{name} has {len(ids)} characters that the model knows: too few to look at")
    rows = min(rows, max((len(ids) - 1) // steps, 1))
    (batch,) = TextStream(ids, rows).batches(0)
    cut = slice(0, min(steps, len(batch.x) - (batch.lengths is not None)))
    return net, Batch(np.ascontiguousarray(batch.x[cut]), np.ascontiguousarray(batch.target[cut]))


def read_arrays(net: Network, path: str, rows: int) -> Batch:
    """The first rows of the arrays in a file.

    Raises
    ------
    ValueError
        If it holds no x and target.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be read as .npz: {error}") from error
    for name in ("x", "target"):
        if name not in arrays:
            came = ", ".join(arrays) or "nothing"
            raise ValueError(f"{path} holds {came}, but arrays x and target are wanted")
        if arrays[name].ndim < 1 + (name == "x"):
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}, but time-major rows are wanted")
        if arrays[name].dtype.kind == "f":
            arrays[name] = arrays[name].astype(net.dtype)
    pooled = any(layer.pools for layer in net.layers)
    x, target, lengths = arrays["x"], arrays["target"], arrays.get("lengths")
    target = target[:rows] if pooled else target[:, :rows]
    return Batch(
        np.ascontiguousarray(x[:, :rows]),
        np.ascontiguousarray(target),
        None if lengths is None else lengths[:rows],
    )
