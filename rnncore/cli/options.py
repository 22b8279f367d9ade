"""What ``rnncore train`` can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

CELLS = ("lstm", "gru", "elman")
ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd", "momentum", "nesterov")
SCHEDULES = ("constant", "step", "cosine", "linear", "plateau")

Command = Callable[..., Any]
COUNT = click.IntRange(min=1)
SHARE = click.FloatRange(0, 1, max_open=True)
AMOUNT = click.FloatRange(min=0)
WHOLE = click.IntRange(min=0)
FACTOR = click.FloatRange(0, 1, min_open=True)
POSITIVE = click.FloatRange(min=0, min_open=True)
FILE = click.Path(dir_okay=False)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one training run, under the names that the command line gives them."""

    files: tuple[str, ...]
    validation: float
    test: float
    cell: str
    activation: str
    embedding: int
    hidden: int
    layers: int
    dropout: float
    dropout_input: float
    dropout_output: float
    dtype: str
    batch: int
    bptt: int
    accumulate: int
    steps: int | None
    epochs: int | None
    minutes: float | None
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    schedule: str
    final_lr: float
    warmup: int
    lr_every: int | None
    lr_factor: float
    lr_patience: int
    clip: float
    clip_value: float | None
    clip_step: float | None
    l1: float
    l2: float
    patience: int | None
    validate_every: int | None
    seed: int
    out: str
    plot: str | None
    picture: bool
    history: str | None
    checkpoint: str | None
    checkpoint_every: int | None
    resume: bool
    progress: str
    demo: bool


# As the help shows them, in groups: what is read, what is built, how it learns, what is written.
_OPTIONS = [
    click.argument("files", nargs=-1, type=click.Path()),
    click.option("--validation", type=SHARE, default=0.05, help="Share of the text to validate on."),
    click.option("--test", type=SHARE, default=0.0, help="Share at its end, measured once, after training."),
    click.option("--cell", type=click.Choice(CELLS), default="lstm"),
    click.option("--activation", type=click.Choice(ACTIVATIONS), default="tanh", help="Of --cell elman."),
    click.option("--embedding", type=COUNT, default=64, help="Numbers that stand for a character."),
    click.option("--hidden", type=COUNT, default=256, help="Units of a layer."),
    click.option("--layers", type=COUNT, default=1),
    click.option("--dropout", type=SHARE, default=0.0, help="Between the recurrent layers."),
    click.option("--dropout-input", type=SHARE, default=0.0, help="Behind the embedding."),
    click.option("--dropout-output", type=SHARE, default=0.0, help="Behind the last recurrent layer."),
    click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32"),
    click.option("--batch", type=COUNT, default=32, help="Streams read side by side."),
    click.option("--bptt", type=COUNT, default=100, help="Steps that the gradient goes back."),
    click.option("--accumulate", type=COUNT, default=1, help="Minibatches for one update."),
    click.option("--steps", type=COUNT, help="Updates to make."),
    click.option("--epochs", type=COUNT, help="Passes over the text.  [default: 10, without other limits]"),
    click.option("--minutes", type=POSITIVE, help="Time limit; of several limits the first one counts."),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adam"),
    click.option("--lr", type=POSITIVE, default=2e-3, help="Learning rate, at first."),
    click.option("--momentum", type=SHARE, default=0.9, help="Of momentum and nesterov."),
    click.option("--weight-decay", type=AMOUNT, default=0.01, help="Of adamw."),
    click.option("--schedule", type=click.Choice(SCHEDULES), default="linear", help="Of the learning rate."),
    click.option("--final-lr", type=AMOUNT, default=0.0, help="Where linear, cosine, plateau end."),
    click.option("--warmup", type=WHOLE, default=0, help="Of linear and cosine."),
    click.option("--lr-every", type=COUNT, help="Updates between two falls, of step."),
    click.option("--lr-factor", type=FACTOR, default=0.5, help="Of each fall, of step and plateau."),
    click.option("--lr-patience", type=WHOLE, default=2, help="Validations that plateau waits for."),
    click.option("--clip", type=AMOUNT, default=1.0, help="Largest norm of the gradient; 0 is off."),
    click.option("--clip-value", type=POSITIVE, help="Largest entry of the gradient."),
    click.option("--clip-step", type=POSITIVE, help="Largest norm handed from a step back to the last."),
    click.option("--l1", type=AMOUNT, default=0.0, help="Strength of the penalty on absolute weights."),
    click.option("--l2", type=AMOUNT, default=0.0, help="Strength of the penalty on squared weights."),
    click.option("--patience", type=COUNT, help="Validations to wait for a new best; else stop."),
    click.option("--validate-every", type=COUNT, help="Updates between two validations."),
    click.option("--seed", type=WHOLE, default=1),
    click.option("--out", "--output", type=FILE, default="model.safetensors", help="The model."),
    click.option("--plot", type=FILE, help="The picture of the training.  [default: as --out, .png]"),
    click.option("--picture/--no-picture", default=True, help="Whether to draw it."),
    click.option("--history", type=FILE, help="CSV file of every update."),
    click.option("--checkpoint", type=FILE, help="Where training goes on from."),
    click.option("--checkpoint-every", type=COUNT, help="Updates between two checkpoints."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint; give the same options again."),
    click.option("--progress", type=click.Choice(["auto", "bar", "lines", "off"]), default="auto"),
    click.option("--demo", is_flag=True, help="At most two minutes on two cores, then a sample."),
]  # fmt: skip


def training_options(command: Command) -> Command:
    """Give a function the options of ``rnncore train``."""
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return command
