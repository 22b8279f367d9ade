"""What every ``rnncore train`` does, whatever the data: check, train, time, report, draw."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from .. import pictures
from ..data import Task, Vocabulary
from ..disk import check_writable
from ..files import save
from ..network import Network
from ..trainer import History, Trainer
from .build import Clock, build_clips, build_optimizer, build_penalties, build_schedule
from .options import Options, check_outputs, refuse_idle
from .terminal import echo

Told = TypeVar("Told", bound=Options)

EPOCHS = 10  # where no limit is given
VALIDATIONS = 20  # in a run of known length
VALIDATE_EVERY = 200  # updates, in a run of unknown length


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that has ended, and what it took without validation."""

    trainer: Trainer
    history: History
    clock: Clock
    seconds: float

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.history.stopped == "interrupted"

    @property
    def time(self) -> str:
        """The seconds, and what ended the run before all updates were made."""
        early = {"minutes": ", all of --minutes", "patience": ", until --patience was over"}
        return f"{self.seconds:.1f} s{early.get(self.history.stopped, '')}"

    @property
    def updates(self) -> int:
        """Made by this process."""
        first = self.clock.first
        return 0 if first is None else self.trainer.step - first


def with_defaults(options: Told) -> Told:
    """Fill in what follows from other options; refuse what does nothing, or cannot be written, at once."""
    refuse_idle(click.get_current_context())
    stem = os.path.splitext(options.out)[0]
    checkpoint = options.checkpoint or f"{stem}.checkpoint.safetensors"
    options = replace(options, plot=options.plot or f"{stem}.png", checkpoint=checkpoint)
    if options.steps is options.epochs is options.minutes is None:
        options = replace(options, epochs=EPOCHS)
    if not options.validation and (options.patience or options.validate_every):
        raise click.UsageError("--patience and --validate-every want a validation part: --validation is 0")
    named = {"--out": options.out, "--checkpoint": checkpoint, "--history": options.history}
    if options.picture and options.plot is not None:
        named["--plot"] = options.plot
        pictures.check_name(options.plot)  # a missing matplotlib is missed now, not after an hour
    check_outputs(options.inputs, named)
    for name, path in named.items():
        if path is not None:
            _check_writable(name, path)
    if options.resume and not os.path.exists(checkpoint):
        raise click.UsageError(f"--resume wants a checkpoint, but there is no file {checkpoint}")
    return options


def _check_writable(name: str, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise click.UsageError(f"{name} is {path}, but there is no folder {folder}")
    if os.path.isdir(path):
        raise click.UsageError(f"{name} is {path}, but that is a folder")
    if not os.access(folder, os.W_OK):
        raise click.UsageError(f"{name} is {path}, but the folder {folder} cannot be written to")
    try:
        check_writable(path)
    except OSError as error:
        reason = error.strerror or error
        raise click.UsageError(f"{name} is {path}, but it cannot be written: {reason}") from error


def announce(options: Options, net: Network, **lines: str) -> None:
    """Say what is trained on, in these lines, and what is trained."""
    lines |= {
        "network": " ".join(_short(layer.config(), type(layer).__name__) for layer in net.layers),
        "parameters": f"{net.params.flat.size:,}, {net.dtype}, seed {options.seed}",
    }
    for name, text in lines.items():
        echo(f"{name:<12}{text}")


def _short(config: Mapping[str, Any], kind: str) -> str:
    """A layer by its type and its arguments; sizes go without their names."""
    values = [
        _short({name: part for name, part in value.items() if name != "type"}, value["type"])
        if isinstance(value, Mapping)
        else str(value)
        if isinstance(value, (int, str))
        else f"{name}={value}"
        for name, value in config.items()
    ]
    return f"{kind}({', '.join(values)})"


def run(
    options: Options,
    net: Network,
    loss: Any,
    source: Any,
    validation: Any,
    epoch: int,
    bptt: int | None = None,
    keep_best: bool = False,
) -> Outcome:
    """Train as the options say.

    Parameters
    ----------
    source, validation
        Of batches; validation may be None.
    epoch
        Updates of one epoch.
    """
    limits = [options.steps, options.epochs and options.epochs * epoch]
    total = min((limit for limit in limits if limit is not None), default=None)
    _check_rate(options, total)
    clock = Clock(math.inf if options.minutes is None else 60 * options.minutes)
    trainer = Trainer(
        net, loss, build_optimizer(options), clip=build_clips(options), accumulate=options.accumulate,
        bptt=bptt, schedule=build_schedule(options, total, clock), regularizer=build_penalties(options),
        seed=options.seed, checkpoint=options.checkpoint, checkpoint_every=options.checkpoint_every,
        monitor=clock, progress=options.progress,
    )  # fmt: skip
    every = options.validate_every or (VALIDATE_EVERY if total is None else max(total // VALIDATIONS, 1))
    measured = validation is not None
    clock.start()
    began = time.monotonic()
    history = trainer.fit(
        source, epochs=options.epochs, steps=options.steps, validation=validation,
        validate_every=every if measured else None, patience=options.patience,
        keep_best=keep_best and measured, resume=options.resume,
    )  # fmt: skip
    return Outcome(trainer, history, clock, time.monotonic() - began - trainer.validating)


def _check_rate(options: Options, total: int | None) -> None:
    """Say so where a learning rate cannot work: an update of Adam's kind moves each weight by about lr."""
    if options.optimizer not in ("adam", "adamw", "rmsprop"):
        return
    lr, size = options.lr, 1 / math.sqrt(options.hidden)
    told = ""
    if lr > size / 2:
        told = f"moves each weight by about {lr:g} in an update, and weights are about {size:.2g}"
    elif total is not None and lr * total < 0.01:
        told = f"moves no weight by more than about {lr * total:.1g} in all of {total:,} updates"
    if told:
        echo(f"note        --lr {lr:g} {told}: the default is 0.002")


def write(
    options: Options,
    net: Network,
    outcome: Outcome,
    draw: Callable[[str], Any],
    vocabulary: Vocabulary | None = None,
    task: Task | None = None,
) -> None:
    """Write model, picture and history, and say where they are; ``draw(path)`` writes the picture."""
    save(net, options.out, vocabulary, task)
    drawn = options.plot if options.picture and len(outcome.history.steps) else None
    if drawn is not None:
        draw(drawn)
    if options.history is not None:
        outcome.history.to_csv(options.history)
    files = ", ".join(filter(None, [options.out, drawn, options.history]))
    echo(f"written     {files}; for --resume {options.checkpoint}")


def training_axes(result: tuple[float, float] | None = None) -> tuple[Any, Any]:
    """Axes for the losses above the gradient norm, and one of so many inches beside them (None: none)."""
    if result is None:
        return None, None
    width, height = result
    figure = pictures.new_figure(7.0 + width, max(6.0, height))
    left, right = figure.subfigures(1, 2, width_ratios=(7.0, width))
    return left.subplots(2, 1, sharex=True, height_ratios=(3, 2)), right.subplots()


def echo_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]], digits: int) -> None:
    """Print numbers under their names."""
    width = max([len(title), *(len(name) + 2 for name in rows)])
    echo(f"\n{title:<{width}}" + "".join(f"{name:>12}" for name in columns))
    for name, row in rows.items():
        echo(f"  {name:<{width - 2}}" + "".join(f"{value:12.{digits}f}" for value in row))
    echo()


def end(outcome: Outcome, context: click.Context) -> None:
    """Leave with status 130 if the run was interrupted."""
    if outcome.interrupted:
        echo("interrupted: the same command with --resume goes on", err=True)
        context.exit(130)
