"""``rnncore train``: from text to a model, a picture and a comparison."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from .. import pictures
from ..data import TextStream
from ..files import save
from ..losses import CrossEntropy
from ..network import Network
from ..trainer import History
from .build import (
    ENDLESS,
    Clock,
    TimedTrainer,
    build_clips,
    build_network,
    build_optimizer,
    build_penalties,
    build_schedule,
)
from .corpus import Corpus, read_corpus
from .options import Options, training_options
from .sample import write

BITS = 1 / math.log(2)  # in a nat
EPOCHS = 10  # where no limit is given
VALIDATIONS = 20  # in a run of known length
VALIDATE_EVERY = 200  # updates, in a run of unknown length

# What --demo stands for, where nothing else is said. The steps take a minute on two free cores (130,000
# characters per second); on a slower machine the clock ends the run in time.
DEMO: dict[str, Any] = {"lr": 4e-3, "dropout_output": 0.2, "steps": 2000, "minutes": 1.6}
DEMO_PROMPT, DEMO_LENGTH, DEMO_TEMPERATURE = "The ", 400, 0.7


@click.command(context_settings={"show_default": True})
@training_options
@click.pass_context
def train(context: click.Context, /, **given: Any) -> None:
    """Train a character network on text FILES (UTF-8), or on the topics of Python's help().

    The text is split in order: to train, to validate, to test. Several files are read as one document each.
    At the end the network is measured against two count models of the same text.
    """
    options = Options(**given)
    if options.demo:
        default = {name for name in DEMO if context.get_parameter_source(name) is ParameterSource.DEFAULT}
        options = replace(options, **{name: DEMO[name] for name in default})
    options = _with_defaults(options)
    corpus = read_corpus(options.files, options.validation, options.test)
    stream = corpus.train.stream(options.batch)
    net = build_network(options, len(corpus.vocabulary))
    _announce(options, corpus, net)
    trainer, history, seconds = _fit(options, corpus, net, stream)
    save(net, options.out, corpus.vocabulary)
    if options.history is not None:
        history.to_csv(options.history)
    interrupted = history.stopped == "interrupted"
    yardsticks = corpus.yardsticks()
    if not interrupted:
        _report(corpus, trainer, yardsticks)
    _speed(options, stream, trainer, seconds)
    drawn = _draw(options, history, {name: row[0] for name, row in yardsticks.items() if corpus.validation})
    click.echo(f"written     {', '.join(filter(None, [options.out, drawn, options.history]))}")
    if options.demo and not interrupted:
        prompt = DEMO_PROMPT if all(character in corpus.vocabulary for character in DEMO_PROMPT) else ""
        click.echo(f"\nwhat it writes after {prompt!r}:\n")
        write(net, corpus.vocabulary, prompt, DEMO_LENGTH, DEMO_TEMPERATURE, options.seed)
    if interrupted:
        click.echo("interrupted: the same command with --resume goes on", err=True)
        context.exit(130)


def _with_defaults(options: Options) -> Options:
    """Fill in what follows from other options, and refuse what cannot be written before any work is done."""
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


def _announce(options: Options, corpus: Corpus, net: Network) -> None:
    parts = {"training": corpus.train, **corpus.measured_parts()}
    shares = ", ".join(f"{name} {len(part.ids):,}" for name, part in parts.items())
    sizes = [", ".join(map(str, layer.config().values())) for layer in net.layers]
    chain = [f"{type(layer).__name__}({size})" for layer, size in zip(net.layers, sizes, strict=True)]
    size = f"{corpus.characters:,} characters, {len(corpus.vocabulary)} different"
    click.echo(f"text        {corpus.name}: {size}")
    click.echo(f"parts       {shares}")
    click.echo(f"network     {' '.join(chain)}")
    click.echo(f"parameters  {net.params.flat.size:,}, {net.dtype}, seed {options.seed}")


def _updates(options: Options, stream: TextStream) -> tuple[int, int | None]:
    """Updates of one epoch, and of the whole run; None where only the clock ends it."""
    (batch,) = stream.batches(0)
    epoch = math.ceil(math.ceil(len(batch.x) / options.bptt) / options.accumulate)
    limits = [options.steps, options.epochs and options.epochs * epoch]
    return epoch, min((limit for limit in limits if limit is not None), default=None)


def _fit(
    options: Options, corpus: Corpus, net: Network, stream: TextStream
) -> tuple[TimedTrainer, History, float]:
    """Train; returns the Trainer, the history and the seconds that training took without validation."""
    _, total = _updates(options, stream)
    clock = Clock(math.inf if options.minutes is None else 60 * options.minutes)
    trainer = TimedTrainer(
        net, CrossEntropy(), build_optimizer(options), clip=build_clips(options),
        accumulate=options.accumulate, bptt=options.bptt, schedule=build_schedule(options, total, clock),
        regularizer=build_penalties(options), seed=options.seed, checkpoint=options.checkpoint,
        checkpoint_every=options.checkpoint_every, progress=options.progress, clock=clock,
    )  # fmt: skip
    validation = corpus.validation.measured() if corpus.validation else None
    every = options.validate_every or (VALIDATE_EVERY if total is None else max(total // VALIDATIONS, 1))
    unlimited = options.steps is options.epochs is None
    clock.start()
    began = time.monotonic()
    history = trainer.fit(
        stream, epochs=ENDLESS if unlimited else options.epochs, steps=options.steps, validation=validation,
        validate_every=every if validation else None, patience=options.patience, resume=options.resume,
    )  # fmt: skip
    return trainer, history, time.monotonic() - began - trainer.validating


def _report(corpus: Corpus, trainer: TimedTrainer, yardsticks: dict[str, list[float]]) -> None:
    """Bits per character of the network and of the count models, on what was not trained on."""
    parts = corpus.measured_parts()
    if not parts:
        return
    bits = [trainer.evaluate(part.measured()) * BITS for part in parts.values()]
    click.echo("\nbits per character" + "".join(f"{name:>12}" for name in parts))
    for name, row in {**yardsticks, "this network": bits}.items():
        click.echo(f"  {name:<16}" + "".join(f"{value:12.3f}" for value in row))
    click.echo()


def _speed(options: Options, stream: TextStream, trainer: TimedTrainer, seconds: float) -> None:
    steps = trainer.step - (trainer.first or 0)
    epoch, _ = _updates(options, stream)
    rate = steps * stream.predictions / epoch / max(seconds, 1e-9)
    click.echo(f"trained     {trainer.step:,} updates, {trainer.step / epoch:.1f} epochs; {seconds:.1f} s")
    click.echo(f"speed       {rate:,.0f} characters per second in training")


def _draw(options: Options, history: History, references: dict[str, float]) -> str | None:
    """Draw the picture where it is wanted; returns its path."""
    if not options.picture or options.plot is None or not len(history.steps):
        return None
    threshold = options.clip or None
    axes = pictures.training_picture(history, None, threshold, BITS, "bits per character", references)
    pictures.save_picture(options.plot, axes)
    return options.plot
