"""``rnncore sample``: a network writes."""

from __future__ import annotations

from collections.abc import Iterator

import click
import numpy as np
from numpy.typing import NDArray

from ..data import Vocabulary
from ..files import load
from ..layers import Embedding
from ..network import Network
from .terminal import echo


def generate(
    net: Network,
    vocabulary: Vocabulary,
    prompt: str,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> Iterator[str]:
    """Characters that the network draws one after another, each from its prediction after all before it.

    Parameters
    ----------
    prompt
        What it reads first; empty stands for a line break, or the first character of the vocabulary.
    temperature
        p(c) ~ exp(y[c] / temperature): 1 draws as the network predicts, less is more cautious, 0 always takes
        the likeliest.
    rng
        Where the draws come from.

    Raises
    ------
    ValueError
        If the prompt has a character that the vocabulary lacks.
    """
    if not 0 <= temperature < np.inf:
        raise ValueError(f"temperature is {temperature}, but a finite number of at least 0 is wanted")
    first = "\n" if "\n" in vocabulary else vocabulary.to_list()[0]
    ids = vocabulary.encode(prompt or first)
    state = None
    training = net.training
    net.eval()
    try:
        for _ in range(length):
            y, state, _ = net.forward(ids[:, None], state, record=False)
            ids = np.array([_draw(y[-1, 0].astype(np.float64), temperature, rng)], np.int32)
            yield vocabulary.decode(ids)
    finally:
        net.train(training)


def _draw(y: NDArray[np.float64], temperature: float, rng: np.random.Generator) -> int:
    """A class from its logits: the largest after Gumbel noise (Gumbel, 1954) is a draw from the softmax."""
    return int(np.argmax(y + temperature * rng.gumbel(size=y.shape) if temperature else y))


def text_network(path: str) -> tuple[Network, Vocabulary]:
    """A model file's network and vocabulary.

    Raises
    ------
    ValueError
        If it is no network that reads and predicts characters.
    """
    net = load(path)
    vocabulary: Vocabulary | None = net.vocabulary
    if vocabulary is None:
        raise ValueError(f"{path} holds no vocabulary: it is no network that writes text")
    first, last = net.layers[0], net.layers[-1]
    outputs = getattr(last, "out_features", getattr(last, "hidden_size", None))
    inputs = first.num_embeddings if isinstance(first, Embedding) else None
    if not inputs == outputs == len(vocabulary) or any(layer.pools for layer in net.layers):
        raise ValueError(
            f"{path} holds {len(vocabulary)} characters and a network of {inputs or 'no'} ids and {outputs} "
            "outputs, but one of each per character is wanted"
        )
    return net, vocabulary


@click.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("--prompt", default="", help="The text to go on from.")
@click.option("--length", type=click.IntRange(min=0), default=500, show_default=True, help="In characters.")
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.8, show_default=True,
    help="1: as the network predicts; less: more cautious; 0: always the likeliest.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of the draws; another one each time if not given.")
def sample(model: str, prompt: str, length: int, temperature: float, seed: int | None) -> None:
    """Let the network in the file MODEL write, character by character."""
    net, vocabulary = text_network(model)
    write(net, vocabulary, prompt, length, temperature, seed)


def write(
    net: Network, vocabulary: Vocabulary, prompt: str, length: int, temperature: float, seed: int | None
) -> None:
    """Print the prompt and what the network makes of it, as it comes."""
    characters = generate(net, vocabulary, prompt, length, temperature, np.random.default_rng(seed))
    vocabulary.encode(prompt)  # an error comes before anything is printed
    echo(prompt, nl=False)
    for character in characters:
        echo(character, nl=False)  # click flushes
    echo()
