"""The few sequences that ``rnncore diagnose`` looks at: of a text, of labelled texts, of a time series, or of
arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from ..data import (
    Batch,
    Classification,
    Forecast,
    LabelledText,
    TextStream,
    Treatment,
    Vocabulary,
    builtin_text,
    read_table,
    read_text,
)
from ..data.arrays import read_npz
from ..losses import CrossEntropy, SquaredError
from ..network import Network
from .predict import task_network
from .sample import text_network
from .series import read_again

STEPS, ROWS = 100, 8  # where the options are not given
LOOK = tuple[Network, Batch, Any]


def look_at_text(model: str, data: Sequence[str], steps: int, rows: int) -> LOOK:
    """A character network, the beginning of each of so many parts of a text, and the loss."""
    net, vocabulary = text_network(model)
    if len(data) > 1:
        raise click.UsageError(f"{_files(data)}, but a model that writes text reads one")
    text = read_text(data[0]) if data else builtin_text()
    ids = _known(vocabulary, text)
    if len(ids) < 3:
        name = data[0] if data else "the text"
        raise ValueError(f"{name} has {len(ids)} characters that the model knows: too few to look at")
    rows = min(rows, max((len(ids) - 1) // steps, 1))
    (batch,) = TextStream(ids, rows).batches(0)
    cut = slice(0, min(steps, len(batch.x) - (batch.lengths is not None)))
    beginning = Batch(np.ascontiguousarray(batch.x[cut]), np.ascontiguousarray(batch.target[cut]))
    return net, beginning, CrossEntropy()


def _known(vocabulary: Vocabulary, text: str) -> Any:
    """The ids of the characters that the vocabulary has."""
    known = set(vocabulary.to_list())
    return vocabulary.encode("".join(character for character in text if character in known))


def look_at_task(model: str, data: Sequence[str], rows: int, encoding: str, delimiter: str | None) -> LOOK:
    """A network of ``rnncore train classify`` or ``forecast``, some of the data's sequences, and the loss."""
    net, task = task_network(model)
    if isinstance(task, Forecast):
        if len(data) != 1:
            raise click.UsageError(f"{_files(data)}, but the model wants one time series")
        return net, _windows(net, task, data[0], rows, encoding, delimiter), SquaredError(missing=True)
    return net, _labelled(task, data, rows, encoding, delimiter), CrossEntropy()


def _labelled(
    task: Classification, data: Sequence[str], rows: int, encoding: str, delimiter: str | None
) -> Batch:
    """Texts from all over the data, with their labels."""
    if task.text is not None and task.label is not None:
        if len(data) != 1:
            wanted = f"one table of {task.text!r} and {task.label!r}"
            raise click.UsageError(f"{_files(data)}, but the model wants {wanted}")
        found = LabelledText.from_table(read_table(data[0], encoding, delimiter), task.text, task.label)
    elif delimiter is not None:
        raise click.UsageError("--delimiter wants a table, but this model reads a text on each line")
    elif not data:
        raise click.UsageError(f"{_files(data)}, but the model wants one per label, named as in training")
    else:
        found = LabelledText.from_files(data, encoding)
    some = found.take(_spread(len(found), rows).tolist())
    sequences, classes = task.sequences(some.texts), task.classes(some.labels)
    return Batch(sequences.pad(np.arange(len(some))), classes, sequences.lengths)


def _windows(
    net: Network, task: Forecast, file: str, rows: int, encoding: str, delimiter: str | None
) -> Batch:
    """Windows from all over the series, with the steps behind each."""
    panel = read_again(task, file, encoding, delimiter, Treatment())
    origins = panel.origins(task.window, task.horizon, panel.begins, panel.ends)
    every = task.windows(panel.values, batch_size=rows, shuffle=False, dtype=net.dtype, origins=origins)
    some = every.at(every.origins[_spread(len(every.origins), rows)])
    return next(iter(some.batches(0)))


def _files(data: Sequence[str]) -> str:
    return f"{len(data) or 'no'} files are given"


def _spread(count: int, rows: int) -> Any:
    """So many of 0..count-1, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(rows, count)).round().astype(np.intp))


def read_arrays(net: Network, path: str, rows: int) -> Batch:
    """The first rows of the arrays in a file.

    Raises
    ------
    ValueError
        If it holds no x and target.
    """
    arrays = read_npz(path, ("x", "target", "lengths"))
    for name in ("x", "target"):
        if name not in arrays:
            came = f"{', '.join(arrays)} alone" if arrays else "neither"
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
