"""From options to the objects of a training run."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

import click

from .. import layers as cells
from ..cells.choosing import Maker
from ..clipping import ClipNorm, ClipStep, ClipValue
from ..network import Network
from ..optimizers import SGD, Adam, AdamW, RMSprop
from ..regularizers import L1, L2
from ..schedules import Constant, Cosine, Linear, Plateau, Schedule, Step
from ..trainer import Trainer
from .cell import chosen_cell
from .options import Options

TIME_UNITS = 100_000  # steps of a schedule that only time drives


def build_network(
    options: Options,
    embedding: tuple[int, int] | None,
    features: int,
    outputs: int,
    pool: str = "",
    bidirectional: bool = False,
) -> Network:
    """Embedding, recurrent layers, pooling and one dense layer, with dropout where it is asked for.

    Parameters
    ----------
    embedding
        Ids and numbers for each; None where the input is numbers.
    features
        Of the input of the first recurrent layer.
    outputs
        Of the dense layer.
    pool
        ``"mean"``, ``"last"``, or empty for an output at every step.
    """
    chain: list[cells.Layer] = [] if embedding is None else [cells.Embedding(*embedding)]
    make, width = _maker(options), features
    for number in range(options.layers):
        dropout = options.dropout if number else options.dropout_input
        if dropout:
            chain.append(cells.Dropout(dropout))
        cell = make(width, options.hidden)
        chain.append(cells.Bidirectional(cell) if bidirectional else cell)
        width = chain[-1].features()[1] or width
    if pool:
        chain.append(cells.MeanPool() if pool == "mean" else cells.LastStep(bidirectional))
    if options.dropout_output:
        chain.append(cells.Dropout(options.dropout_output))
    return Network(*chain, cells.Dense(width, outputs), seed=options.seed, dtype=options.dtype)


def _maker(options: Options) -> Maker:
    if options.cell == "elman":
        return functools.partial(cells.Elman, activation=options.activation)
    return chosen_cell(options.cell)


def build_optimizer(options: Options) -> Any:
    """The optimizer, at the learning rate to begin with."""
    lr, momentum = options.lr, options.momentum
    match options.optimizer:
        case "adamw":
            return AdamW(lr, weight_decay=options.weight_decay)
        case "rmsprop":
            return RMSprop(lr)
        case "sgd":
            return SGD(lr)
        case "momentum":
            return SGD(lr, momentum=momentum)
        case "nesterov":
            return SGD(lr, momentum=momentum, nesterov=True)
    return Adam(lr)


def build_clips(options: Options) -> list[Any]:
    """All clippers that are on; by norm first, so that the history shows the norm before any of them."""
    clips: list[Any] = []
    if options.clip:
        clips.append(ClipNorm(options.clip))
    if options.clip_value is not None:
        clips.append(ClipValue(options.clip_value))
    if options.clip_step is not None:
        clips.append(ClipStep(options.clip_step))
    return clips


def build_penalties(options: Options) -> list[Any]:
    """L1 and L2 on every weight matrix, where their strength is not 0."""
    kinds = ((L1, options.l1), (L2, options.l2))
    return [kind(strength) for kind, strength in kinds if strength]


class Clock:
    """The time that a run may take and has taken; a Trainer's monitor that stops it when that is over.

    Attributes
    ----------
    first
        Updates made before this process took part; None before the first of its own.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"minutes are {seconds / 60}, but a number above 0 is wanted")
        self.seconds = seconds
        self.before = 0.0  # what an earlier part of a resumed run took
        self.first: int | None = None
        self._began = time.monotonic()

    def start(self) -> None:
        """Time runs from now on."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds taken so far."""
        return self.before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Share of the time that is over, from 0 to 1."""
        return min(self.elapsed / self.seconds, 1.0)

    def on_step(self, trainer: Trainer) -> None:
        """Stop the trainer when the time is over."""
        if self.first is None:
            self.first = trainer.step - 1
        if self.progress >= 1:
            trainer.stop("minutes")


class Timed(Schedule):
    """A schedule that ends with the last step or with the time, whichever comes first.

    Its progress is the larger of two shares: of the steps made, and of the time taken. On a machine that is
    fast enough for all steps the clock never leads, and the run is the same each time.

    Parameters
    ----------
    schedule
        One that lasts ``steps`` updates.
    steps
        Of the schedule.
    counted
        False where only the clock drives it.
    """

    def __init__(self, schedule: Schedule, steps: int, clock: Clock, counted: bool) -> None:
        self.schedule, self.steps, self.clock, self.counted = schedule, steps, clock, counted

    def __call__(self, step: int) -> float:
        timed = int(self.clock.progress * self.steps)
        return self.schedule(max(step, timed) if self.counted else timed)

    def state(self) -> dict[str, Any]:
        return {"elapsed": self.clock.elapsed}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        before = float(state["elapsed"])
        if not 0 <= before < float("inf"):
            raise ValueError(f"elapsed is {before}, but seconds are wanted")
        self.clock.before = before
        self.clock.start()


def build_schedule(options: Options, total: int | None, clock: Clock) -> Schedule:
    """The learning rate over ``total`` updates, None where only the clock ends the run."""
    lr = options.lr
    if options.schedule == "constant":
        return Constant(lr)
    if options.schedule == "plateau":
        if not options.validation:
            raise click.UsageError("--schedule plateau wants a validation part, but --validation is 0")
        return Plateau(lr, options.lr_factor, options.lr_patience, options.final_lr)
    if options.schedule == "step":
        every = options.lr_every or (total and max(total // 4, 1))
        if not every:
            raise click.UsageError("--schedule step wants --lr-every, --steps or --epochs")
        return Step(lr, every, options.lr_factor)
    if total is None and options.warmup:
        raise click.UsageError("--warmup counts updates: it wants --steps or --epochs")
    kind = {"cosine": Cosine, "linear": Linear}[options.schedule]
    steps = TIME_UNITS if total is None else total
    decay = kind(lr, steps, final=options.final_lr, warmup=options.warmup)
    return decay if options.minutes is None else Timed(decay, steps, clock, counted=total is not None)
