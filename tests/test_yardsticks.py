"""Count models: they are probabilities, agree with a dictionary of counts, and reach what theory says."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import CountModel

CLASSES = 4
ids = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=60).map(np.array)


@st.composite
def documented(draw):
    text = draw(ids)
    return text, sorted(draw(st.sets(st.integers(0, len(text) - 1), max_size=4)))


def slow_probability(documents, order, context, character):
    """The formula of the docstring, read aloud."""
    p = 1 / CLASSES
    for k in range(1, min(order, len(context) + 1) + 1):
        history = tuple(context[len(context) - k + 1 :])
        followers = Counter(
            document[i]
            for document in documents
            for i in range(k - 1, len(document))
            if tuple(document[i - k + 1 : i]) == history
        )
        n, d = followers.total(), len(followers)
        if n:
            p = (followers[character] + d * p) / (n + d)
    return p


def pieces(text, begins):
    return [part.tolist() for part in np.split(text, [place for place in begins if place])]


@given(documented(), documented(), st.integers(1, 4))
def test_probabilities_equal_the_formula(training, held_out, order):
    model = CountModel(training[0], order, CLASSES, training[1])
    expected = [
        slow_probability(pieces(*training), order, document[:i], document[i])
        for document in pieces(*held_out)
        for i in range(1, len(document))
    ]
    np.testing.assert_allclose(model.probabilities(*held_out), expected, rtol=1e-12)


@given(ids, st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=5), st.integers(1, 4))
def test_probabilities_of_all_characters_sum_to_one(training, context, order):
    model = CountModel(training, order, CLASSES)
    total = sum(model.probabilities(np.array([*context, c]))[-1] for c in range(CLASSES))
    assert total == pytest.approx(1, abs=1e-12)


def test_independent_characters_cost_their_entropy(rng):
    p = np.array([0.5, 0.25, 0.125, 0.125])
    training, held_out = (rng.choice(CLASSES, size=100_000, p=p) for _ in range(2))
    for order in (1, 3):
        bits = CountModel(training, order, CLASSES).bits_per_character(held_out)
        assert bits == pytest.approx(1.75, abs=0.01)


def test_a_second_order_chain_costs_its_entropy_rate_to_a_trigram_model_alone(rng):
    """x[t] = x[t-1] xor x[t-2] xor noise: pairs of neighbours are independent, triples are not."""
    noise = rng.random(100_000) < 0.1
    x = [0, 1]
    for flip in noise:
        x.append(x[-1] ^ x[-2] ^ int(flip))
    training, held_out = np.split(np.array(x), 2)
    entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    bits = [CountModel(training, order, 2).bits_per_character(held_out) for order in (1, 2, 3)]
    assert bits == pytest.approx([1, 1, entropy], abs=0.02)


def test_a_text_shorter_than_the_order_counts_what_is_there():
    assert CountModel(np.array([1, 1]), 5, 2).bits_per_character(np.array([1, 1, 1])) < 1


def test_a_megabyte_takes_seconds(rng):
    text = rng.integers(0, 90, 1_000_000)
    began = time.perf_counter()
    CountModel(text, 3, 90).bits_per_character(text[:50_000])
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "order", "classes", "message"),
    [
        (np.array([0, 1, 5]), 1, 4, r"ids\[2\] is 5.*0 to 3"),
        (np.array([-1]), 1, 4, r"ids\[0\] is -1"),
        (np.array([], int), 1, 4, "empty"),
        (np.array([0]), 0, 4, "order is 0"),
        (np.array([0]), 1, 0, "classes is 0"),
        (np.array([0]), 8, 1000, "1000 \\*\\* 8"),
    ],
)
def test_bad_arguments_are_named(text, order, classes, message):
    with pytest.raises(ValueError, match=message):
        CountModel(text, order, classes)


def test_a_single_character_cannot_be_measured():
    with pytest.raises(ValueError, match="nothing to measure"):
        CountModel(np.array([0, 1]), 3, 2).bits_per_character(np.array([1]))
