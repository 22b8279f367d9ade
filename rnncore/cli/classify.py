"""``rnncore train classify``: a label for each text."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import click
import numpy as np

from .. import pictures
from ..data import Classification, LabelledText, RaggedSource, Tokens, random_split, read_table
from ..data.tokens import UNITS
from ..losses import CrossEntropy
from ..metrics import accuracy, confusion_matrix, macro_f1
from ..network import Network
from ..trainer import predict
from .build import build_network
from .options import COUNT, DELIMITER, ENCODING, POOLS, POSITIVE, ClassifyOptions, training_options
from .running import Outcome, announce, echo_table, end, run, training_axes, with_defaults, write
from .terminal import echo

Parts = dict[str, LabelledText]


@click.command("classify", context_settings={"show_default": True})
@training_options(
    click.argument("files", nargs=-1, required=True, type=click.Path()),
    click.option("--text-column", default="text", help="Of a table."),
    click.option("--label-column", default="label", help="Of a table."),
    ENCODING,
    DELIMITER,
    click.option("--units", type=click.Choice(UNITS), default="words", help="What a text is read as."),
    click.option("--lower/--case", default=False, help="Whether to read all in lower case."),
    click.option("--min-count", type=COUNT, default=1, help="Rarer units count as unknown."),
    click.option("--max-size", type=COUNT, help="Of the vocabulary: the most frequent units."),
    click.option("--embedding", type=COUNT, default=100, help="Numbers that stand for a unit."),
    click.option("--embedding-scale", type=POSITIVE, default=0.1, help="Their standard deviation, at first."),
    click.option("--bidirectional/--forward", default=True, help="Whether to read in both directions."),
    click.option("--pool", type=click.Choice(POOLS), default="mean", help="Of all steps, or the last one."),
    dropout=0.5,
    dropout_input=0.5,
    dropout_output=0.5,
)
@click.pass_context
def classify(context: click.Context, /, **given: Any) -> None:
    """Train a network to give each text a label.

    One FILE is a table with a header (CSV or TSV). Several FILES are one per label, a text on each line: what
    tells their names apart is the label. The texts are split at random, always the same way for a seed; the
    network that was best on the validation part is kept, and measured on the test part.
    """
    options = with_defaults(ClassifyOptions(**given))
    data, parts, task = read_parts(options)
    source = make_source(options, task, parts["training"], shuffle=True)
    validation = parts.get("validation")
    net = build_network(
        options, (len(task.tokens), options.embedding), options.embedding, len(task.labels),
        options.pool, options.bidirectional,
    )  # fmt: skip
    net.params["0.weight"] *= options.embedding_scale
    announce(options, net, **_describe(options, data, parts, task, source))
    outcome = run(
        options, net, CrossEntropy(), source, validation and make_source(options, task, validation),
        math.ceil(len(source) / options.accumulate), keep_best=True,
    )  # fmt: skip
    matrix = None if outcome.interrupted else _report(options, net, task, parts)
    _speed(outcome, source, options)

    def draw(path: str) -> None:
        inches = None if matrix is None else pictures.confusion_size(len(task.labels))
        axes, beside = training_axes(inches)
        axes = pictures.training_picture(outcome.history, axes, options.clip or None, label="nats per text")
        if matrix is not None:
            pictures.confusion_picture(matrix, task.labels, beside)
        pictures.save_picture(path, axes)

    write(options, net, outcome, draw, task=task)
    end(outcome, context)


def read_parts(options: ClassifyOptions) -> tuple[LabelledText, Parts, Classification]:
    """The data, its parts by name, and the task, whose vocabulary is that of the training part."""
    columns: tuple[str | None, str | None] = (None, None)
    if len(options.files) == 1:
        columns = options.text_column, options.label_column
        table = read_table(options.files[0], options.encoding, options.delimiter)
        data = LabelledText.from_table(table, *columns)
    else:
        data = LabelledText.from_files(options.files, options.encoding)
    places = random_split(len(data), options.validation, options.test, options.seed)
    names = ("training", "validation", "test")
    for name, share, rows in zip(names[1:], (options.validation, options.test), places[1:], strict=True):
        if share and not len(rows):
            raise click.UsageError(f"--{name} {share:g} of {len(data)} texts leaves none to measure")
    parts = {name: data.take(rows) for name, rows in zip(names, places, strict=True) if len(rows)}
    tokens = Tokens.from_texts(
        parts["training"].texts, options.units, options.min_count, options.max_size, options.lower
    )
    return data, parts, Classification(tokens, tuple(sorted(set(data.labels))), *columns)


def make_source(
    options: ClassifyOptions, task: Classification, part: LabelledText, shuffle: bool = False
) -> RaggedSource:
    """The batches of a part."""
    sequences, classes = task.sequences(part.texts), task.classes(part.labels)
    return RaggedSource(sequences, classes, options.batch, seed=options.seed, shuffle=shuffle)


def _describe(
    options: ClassifyOptions, data: LabelledText, parts: Parts, task: Classification, source: RaggedSource
) -> dict[str, str]:
    counts = Counter(data.labels).most_common()
    shown = ", ".join(f"{label} {count:,}" for label, count in counts[:6])
    more = f", and {len(counts) - 6} more" if len(counts) > 6 else ""
    kind = f"{options.units}, {len(task.tokens):,} ids{', lower case' if options.lower else ''}"
    lengths = source.sequences.lengths
    return {
        "text": f"{len(data):,} texts, {len(counts)} labels: {shown}{more}",
        "parts": ", ".join(f"{name} {len(part):,}" for name, part in parts.items()),
        "read as": f"{kind}; {lengths.min()} to {lengths.max()} steps, {source.padding:.1%} of padding",
    }


def _report(options: ClassifyOptions, net: Network, task: Classification, parts: Parts) -> Any:
    """Scores beside those of the most frequent label; returns the confusion matrix of the last part."""
    measured = {name: part for name, part in parts.items() if name != "training"}
    frequent = Counter(parts["training"].labels).most_common(1)[0][0]
    rows: dict[str, list[float]] = {}
    matrix = None
    for name, part in measured.items():
        target = task.classes(part.labels)
        y = predict(net, make_source(options, task, part))
        always = np.full(len(part), task.labels.index(frequent))
        rows[f"{name}, always {frequent!r}"] = [accuracy(always, target), macro_f1(always, target)]
        rows[f"{name}, this network"] = [accuracy(y, target), macro_f1(y, target)]
        matrix = confusion_matrix(y, target, classes=len(task.labels))
    if rows:
        echo_table("scores", ["accuracy", "macro F1"], rows, 4)
    return matrix


def _speed(outcome: Outcome, source: RaggedSource, options: ClassifyOptions) -> None:
    epoch = math.ceil(len(source) / options.accumulate)
    rate = outcome.updates * len(source.sequences) / epoch / max(outcome.seconds, 1e-9)
    step = outcome.trainer.step
    echo(f"trained     {step:,} updates, {step / epoch:.1f} epochs; {outcome.time}")
    echo(f"speed       {rate:,.0f} texts per second in training")
