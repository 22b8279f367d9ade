"""Schedules: bounds, ends, monotony."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.schedules import Constant, Cosine, Linear, Plateau, Step

rates = st.floats(1e-6, 10.0)


@given(rates, st.integers(0, 10**6))
def test_constant_is_constant(lr, step):
    assert Constant(lr)(step) == lr


@given(rates, st.integers(1, 50), st.floats(0.01, 1.0), st.integers(0, 500))
def test_step_multiplies_once_per_period(lr, every, factor, step):
    schedule = Step(lr, every, factor)
    assert schedule(step + every) == pytest.approx(factor * schedule(step))
    assert schedule(step // every * every) == schedule(step)


@pytest.mark.parametrize("kind", [Cosine, Linear])
@given(lr=rates, steps=st.integers(2, 300), share=st.floats(0, 1), data=st.data())
def test_decay_runs_from_the_rate_to_the_final_one(kind, lr, steps, share, data):
    warmup = data.draw(st.integers(0, steps - 1))
    final = share * lr
    schedule = kind(lr, steps, final, warmup)
    rising = [schedule(step) for step in range(warmup)]
    falling = [schedule(step) for step in range(warmup, steps + 1)]
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b - 1e-12 * lr for a, b in itertools.pairwise(falling))
    assert falling[0] == pytest.approx(lr)
    assert falling[-1] == pytest.approx(final, abs=1e-12)
    assert schedule(steps + 1000) == pytest.approx(final, abs=1e-12)
    if warmup:
        assert rising[0] == pytest.approx(lr / warmup)
        assert rising[-1] == lr


def test_linear_and_cosine_meet_half_way():
    assert Linear(1.0, 100)(50) == pytest.approx(Cosine(1.0, 100)(50))
    assert Linear(1.0, 100)(25) == pytest.approx(0.75)
    assert Cosine(1.0, 100)(25) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))


@pytest.mark.parametrize(
    "text",
    [
        "Constant(lr=0.1)",
        "Step(lr=0.1, every=3, factor=0.5)", "Cosine(lr=0.1, final=0.01, steps=9, warmup=2)",
        "Linear(lr=0.1, final=0.0, steps=9, warmup=0)", "Plateau(lr=0.1, min_lr=0.0, factor=0.5, patience=1)",
    ],
)  # fmt: skip
def test_a_schedule_says_how_to_make_it(text):
    schedule = eval(text)  # names of this module
    assert repr(schedule) == text
    assert [eval(repr(schedule))(step) for step in range(12)] == [schedule(step) for step in range(12)]


def test_plateau_waits_for_its_patience():
    schedule = Plateau(1.0, factor=0.5, patience=2, min_lr=0.2)
    seen = []
    for value in (3.0, 2.0, 2.0, 2.5, 2.0, 1.0, 1.5, math.nan, 1.5, 9, 9, 9, 9, 9, 9):
        schedule.observe(value)
        seen.append(schedule(0))
    # 2.0 is the best; the third validation without a lower one halves the rate, and the waiting starts anew.
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(0, 30))
def test_plateau_state_carries_a_run_over(values, split):
    whole = Plateau(1.0, 0.5, 1)
    first, second = Plateau(1.0, 0.5, 1), Plateau(1.0, 0.5, 1)
    for value in values[:split]:
        first.observe(value)
    second.load_state(json.loads(json.dumps(first.state())))
    for value in values[split:]:
        second.observe(value)
    for value in values:
        whole.observe(value)
    assert second(0) == whole(0)
    assert second.state() == whole.state()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Constant(-1), "lr"),
        (lambda: Constant(math.nan), "lr"),
        (lambda: Step(1.0, 0, 0.5), "every"),
        (lambda: Step(1.0, 5, 0.0), "factor"),
        (lambda: Step(1.0, 5, 2.0), "factor"),
        (lambda: Cosine(1.0, 0), "steps"),
        (lambda: Linear(1.0, 10, final=-1.0), "final"),
        (lambda: Linear(1.0, 10, warmup=10), "warmup"),
        (lambda: Plateau(1.0, patience=-1), "patience"),
    ],
)
def test_settings_out_of_range_are_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        make()


def test_state_of_another_schedule_is_refused():
    with pytest.raises(ValueError, match="Plateau has current, best, waited"):
        Plateau(1.0).load_state(Constant(1.0).state())
