"""What ``rnncore train`` can be told."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from .cell import cell_name

ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd", "momentum", "nesterov")
SCHEDULES = ("constant", "step", "cosine", "linear", "plateau")
POOLS = ("mean", "last")

Command = Callable[..., Any]
COUNT = click.IntRange(min=1)
SHARE = click.FloatRange(0, 1, max_open=True)
AMOUNT = click.FloatRange(min=0)
WHOLE = click.IntRange(min=0)
FACTOR = click.FloatRange(0, 1, min_open=True)
POSITIVE = click.FloatRange(min=0, min_open=True)
FILE = click.Path(dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every training run can be told, under the names that the command line gives them."""

    validation: float
    test: float
    cell: str
    activation: str
    hidden: int
    layers: int
    dropout: float
    dropout_input: float
    dropout_output: float
    dtype: str
    batch: int
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

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files that are read: ``files`` or ``file``, whichever there is."""
        one = getattr(self, "file", None)
        return (one,) if one is not None else tuple(getattr(self, "files", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions(Options):
    """For a network that writes text."""

    files: tuple[str, ...]
    embedding: int
    bptt: int
    demo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions(Options):
    """For a network that gives each text a label."""

    files: tuple[str, ...]
    text_column: str
    label_column: str
    encoding: str
    delimiter: str | None
    units: str
    lower: bool
    min_count: int
    max_size: int | None
    embedding: int
    embedding_scale: float
    bidirectional: bool
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastOptions(Options):
    """For a network that forecasts a time series."""

    file: str
    target: tuple[str, ...]
    columns: str | None
    encoding: str
    delimiter: str | None
    decimal: str | None
    horizon: int
    season: int | None
    window: int | None
    stride: int | None
    normalize: str
    difference: bool
    linear: bool
    time: str | None
    no_time: bool
    id: str | None
    order: str
    duplicates: str
    gaps: str
    day_first: bool | None


# What all commands of ``rnncore train`` share, as the help shows it: what is built, how it learns, what is
# written. Each command may have defaults of its own.
_SPECS: list[tuple[tuple[str, ...], dict[str, Any]]] = []


def _shared(*names: str, **settings: Any) -> None:
    _SPECS.append((names, settings))


_shared("--validation", type=SHARE, default=0.1, help="Share to validate on.")
_shared("--test", type=SHARE, default=0.1, help="Share that is measured once, after training.")
_shared(
    "--cell", callback=cell_name, default="lstm", metavar="NAME|FILE:CLASS",
    help="lstm, gru, elman, a name of rnncore.cells.GALLERY, or a class of your own: cells.py:MGU.",
)  # fmt: skip
_shared("--activation", type=click.Choice(ACTIVATIONS), default="tanh", help="Of --cell elman.")
_shared("--hidden", type=COUNT, default=64, help="Units of a layer, in each direction.")
_shared("--layers", type=COUNT, default=1)
_shared("--dropout", type=SHARE, default=0.0, help="Between the recurrent layers.")
_shared("--dropout-input", type=SHARE, default=0.0, help="Before the first of them.")
_shared("--dropout-output", type=SHARE, default=0.0, help="Behind the last of them.")
_shared("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
_shared("--batch", type=COUNT, default=32, help="Sequences read side by side.")
_shared("--accumulate", type=COUNT, default=1, help="Minibatches for one update.")
_shared("--steps", type=COUNT, help="Updates to make.")
_shared("--epochs", type=COUNT, help="Passes over the data.  [default: 10, without other limits]")
_shared("--minutes", type=POSITIVE, help="Time limit; of several limits the first one counts.")
_shared("--optimizer", type=click.Choice(OPTIMIZERS), default="adam")
_shared("--lr", type=POSITIVE, default=2e-3, help="Learning rate, at first.")
_shared("--momentum", type=SHARE, default=0.9, help="Of momentum and nesterov.")
_shared("--weight-decay", type=AMOUNT, default=0.01, help="Of adamw.")
_shared("--schedule", type=click.Choice(SCHEDULES), default="linear", help="Of the learning rate.")
_shared("--final-lr", type=AMOUNT, default=0.0, help="Where linear, cosine, plateau end.")
_shared("--warmup", type=WHOLE, default=0, help="Of linear and cosine.")
_shared("--lr-every", type=COUNT, help="Updates between two falls, of step.")
_shared("--lr-factor", type=FACTOR, default=0.5, help="Of each fall, of step and plateau.")
_shared("--lr-patience", type=WHOLE, default=2, help="Validations that plateau waits for.")
_shared("--clip", type=AMOUNT, default=1.0, help="Largest norm of the gradient; 0 is off.")
_shared("--clip-value", type=POSITIVE, help="Largest entry of the gradient.")
_shared("--clip-step", type=POSITIVE, help="Largest norm handed from a step back to the last.")
_shared("--l1", type=AMOUNT, default=0.0, help="Strength of the penalty on absolute weights.")
_shared("--l2", type=AMOUNT, default=0.0, help="Strength of the penalty on squared weights.")
_shared("--patience", type=COUNT, help="Validations to wait for a new best; else stop.")
_shared("--validate-every", type=COUNT, help="Updates between two validations.")
_shared("--seed", type=WHOLE, default=1)
_shared("--out", "--output", type=FILE, default="model.safetensors", help="The model.")
_shared("--plot", type=FILE, help="The picture of the training.  [default: as --out, .png]")
_shared("--picture/--no-picture", default=True, help="Whether to draw it.")
_shared("--history", type=FILE, help="CSV file of every update.")
_shared("--checkpoint", type=FILE, help="For --resume.  [default: as --out, .checkpoint.safetensors]")
_shared("--checkpoint-every", type=COUNT, help="Updates between two checkpoints.")
_shared("--resume", is_flag=True, help="Go on from the checkpoint; give the same options again.")
_shared("--progress", type=click.Choice(["auto", "bar", "lines", "off"]), default="auto")

ENCODING = click.option("--encoding", default="utf-8", help="Of the files' text.")
DELIMITER = click.option("--delimiter", help="Between columns.  [default: tab, comma, semicolon or bar]")
DECIMAL = click.option("--decimal", type=click.Choice([".", ","]), help="Of numbers.  [default: found]")


# Options that would do nothing unless another one has one of these values.
_IDLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "activation": ("cell", ("elman",)),
    "momentum": ("optimizer", ("momentum", "nesterov")),
    "weight_decay": ("optimizer", ("adamw",)),
    "final_lr": ("schedule", ("linear", "cosine", "plateau")),
    "warmup": ("schedule", ("linear", "cosine")),
    "lr_every": ("schedule", ("step",)),
    "lr_factor": ("schedule", ("step", "plateau")),
    "lr_patience": ("schedule", ("plateau",)),
    "min_count": ("units", ("words", "characters")),
    "max_size": ("units", ("words", "characters")),
}


def refuse_idle(context: click.Context) -> None:
    """Raise UsageError where an option is given, and not as 0, that would do nothing beside the others."""
    values = context.params

    def given(name: str) -> bool:
        return bool(values.get(name)) and context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    for name, (other, working) in _IDLE.items():
        if given(name) and values[other] not in working:
            flag, wanted = name.replace("_", "-"), " or ".join(working)
            raise click.UsageError(f"--{flag} wants --{other} {wanted}, but it is {values[other]}")
    if given("plot") and not values["picture"]:
        raise click.UsageError("--plot says where the picture goes, but with --no-picture there is none")
    if given("dropout") and values["layers"] == 1:
        raise click.UsageError(
            "--dropout is between recurrent layers, but --layers is 1: --dropout-input and --dropout-output "
            "stand before and behind it"
        )
    for name in ("text_column", "label_column", "delimiter"):
        if given(name) and len(values.get("files", ())) > 1:
            flag = name.replace("_", "-")
            raise click.UsageError(f"--{flag} wants one FILE, a table; several have a text on each line")


def check_outputs(inputs: Sequence[str], outputs: Mapping[str, str | None]) -> None:
    """Raise UsageError where a file to write is one that is read, or is written for another option too."""
    taken = {os.path.realpath(path): "the file to read" for path in inputs}
    for name, path in outputs.items():
        if path is None:
            continue
        whole = os.path.realpath(path)
        if whole in taken:
            raise click.UsageError(f"{name} is {path}, which is {taken[whole]}")
        taken[whole] = f"the file of {name}"


def training_options(*own: Any, **defaults: Any) -> Callable[[Command], Command]:
    """Give a function options of its own, shown first, and those of every training run.

    Parameters
    ----------
    own
        Decorators: arguments and options.
    defaults
        Of shared options, where they are others than usual.
    """
    names = {spec[0][0].split("/")[0][2:].replace("-", "_") for spec in _SPECS}
    assert set(defaults) <= names, set(defaults) - names

    def decorate(command: Command) -> Command:
        for flags, settings in reversed(_SPECS):
            name = flags[0].split("/")[0][2:].replace("-", "_")
            more = {"default": defaults[name]} if name in defaults else {}
            command = click.option(*flags, **{**settings, **more})(command)
        for decorator in reversed(own):
            command = decorator(command)
        return command

    return decorate
