"""``rnncore train``: from text to a model, a picture and a comparison; and its two other kinds of data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from .. import pictures
from ..data import TextStream
from ..losses import CrossEntropy
from .build import build_network
from .classify import classify
from .corpus import Corpus, read_corpus
from .forecast import forecast
from .options import COUNT, TextOptions, training_options
from .running import Outcome, announce, end, run, with_defaults
from .running import write as write_files
from .sample import write
from .terminal import echo

BITS = 1 / math.log(2)  # in a nat

# What --demo stands for, where nothing else is said. The steps take a minute on two free cores (130,000
# characters per second); on a slower machine the clock ends the run in time.
DEMO: dict[str, Any] = {"lr": 4e-3, "dropout_output": 0.2, "steps": 2000, "minutes": 1.6}
DEMO_PROMPT, DEMO_LENGTH, DEMO_TEMPERATURE = "The ", 400, 0.7


class Kinds(click.Group):
    """Commands by the kind of data. A first word that is none of them belongs to the one for plain text."""

    plain = "\0"  # no word of a command line can be this

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave all words to the command: even -h is that of the command for text."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [self.plain, *args])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names, or the one for text, and the words for it."""
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "", text, args[1:] if args[:1] == [self.plain] else args


@click.group(cls=Kinds)
def train() -> None:
    """Train a network: on text, or with "classify" and "forecast" on labelled text and time series."""


@click.command("train", context_settings={"show_default": True})
@training_options(
    click.argument("files", nargs=-1, type=click.Path()),
    click.option("--embedding", type=COUNT, default=64, help="Numbers that stand for a character."),
    click.option("--bptt", type=COUNT, default=100, help="Steps that the gradient goes back."),
    click.option("--demo", is_flag=True, help="At most two minutes on two cores, then a sample."),
    validation=0.05,
    test=0.0,
    hidden=256,
)
@click.pass_context
def text(context: click.Context, /, **given: Any) -> None:
    """Train a network to predict each next character of FILES (default: Python's own help texts).

    Several files are read as one document each.
    At the end the network is measured against two count models of the same text.

    ``rnncore train classify`` learns labels of texts, ``rnncore train forecast`` a time series.
    """
    options = TextOptions(**given)
    if options.demo:
        default = {name for name in DEMO if context.get_parameter_source(name) is ParameterSource.DEFAULT}
        options = replace(options, **{name: DEMO[name] for name in default})
    options = with_defaults(options)
    corpus = read_corpus(options.files, options.validation, options.test)
    stream = corpus.train.stream(options.batch)
    classes = len(corpus.vocabulary)
    net = build_network(options, (classes, options.embedding), options.embedding, classes)
    parts = {"training": corpus.train, **corpus.measured_parts()}
    announce(
        options, net,
        text=f"{corpus.name}: {corpus.characters:,} characters, {classes} different",
        parts=", ".join(f"{name} {len(part.ids):,}" for name, part in parts.items()),
    )  # fmt: skip
    (batch,) = stream.batches(0)
    epoch = math.ceil(math.ceil(len(batch.x) / options.bptt) / options.accumulate)
    validation = corpus.validation.measured() if corpus.validation else None
    outcome = run(options, net, CrossEntropy(), stream, validation, epoch, options.bptt)
    yardsticks = corpus.yardsticks()
    if not outcome.interrupted:
        _report(corpus, outcome, yardsticks)
    _speed(stream, outcome, epoch)
    references = {name: row[0] for name, row in yardsticks.items() if corpus.validation}

    def draw(path: str) -> None:
        label = "bits per character"
        axes = pictures.training_picture(outcome.history, None, options.clip or None, BITS, label, references)
        pictures.save_picture(path, axes)

    write_files(options, net, outcome, draw, vocabulary=corpus.vocabulary)
    if options.demo and not outcome.interrupted:
        prompt = DEMO_PROMPT if all(character in corpus.vocabulary for character in DEMO_PROMPT) else ""
        echo(f"\nwhat it writes after {prompt!r}:\n")
        write(net, corpus.vocabulary, prompt, DEMO_LENGTH, DEMO_TEMPERATURE, options.seed)
    end(outcome, context)


train.add_command(classify)
train.add_command(forecast)


def _report(corpus: Corpus, outcome: Outcome, yardsticks: dict[str, list[float]]) -> None:
    """Bits per character of the network and of the count models, on what was not trained on."""
    parts = corpus.measured_parts()
    if not parts:
        return
    bits = [outcome.trainer.evaluate(part.measured()) * BITS for part in parts.values()]
    echo("\nbits per character" + "".join(f"{name:>12}" for name in parts))
    for name, row in {**yardsticks, "this network": bits}.items():
        echo(f"  {name:<16}" + "".join(f"{value:12.3f}" for value in row))
    echo()


def _speed(stream: TextStream, outcome: Outcome, epoch: int) -> None:
    rate = outcome.updates * stream.predictions / epoch / max(outcome.seconds, 1e-9)
    step = outcome.trainer.step
    echo(f"trained     {step:,} updates, {step / epoch:.1f} epochs; {outcome.time}")
    echo(f"speed       {rate:,.0f} characters per second in training")
