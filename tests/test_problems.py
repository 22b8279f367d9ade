"""Generated problems: the answer is in the sequence where it should be, the measures are what they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore import LSTM, Adam, ClipNorm, Dense, Dropout, Elman, LastStep, Trainer
from rnncore.problems import (
    Adding,
    CopyMemory,
    DelayedName,
    Digits,
    Multiplication,
    RandomPermutation,
    Sine,
    TemporalOrder,
    WarpedRecall,
)
from rnncore.problems.names import NAMES

PROBLEMS = {
    "adding": lambda **more: Adding((20, 30), **more),
    "adding of 1997": lambda **more: Adding((20, 30), original=True, **more),
    "multiplication": lambda **more: Multiplication((20, 30), **more),
    "order of 2": lambda **more: TemporalOrder((20, 30), **more),
    "order of 3, 1997": lambda **more: TemporalOrder((20, 30), symbols=3, original=True, **more),
    "copy": lambda **more: CopyMemory((5, 9), **more),
    "permutation": lambda **more: RandomPermutation((5, 9), alphabet=12, **more),
    "uniform warp": lambda **more: WarpedRecall((20, 30), warp="uniform", stretch=4, **more),
    "variable warp": lambda **more: WarpedRecall(
        (20, 30), warp="variable", stretch=4, filler="blank", **more
    ),
    "name": lambda **more: DelayedName((9, 14), **more),
    "sine": lambda **more: Sine((20, 30), periods="fast", noise=0.1, **more),
}
every = pytest.mark.parametrize("name", PROBLEMS)


def same(one, other):
    return all(
        np.array_equal(getattr(one, part), getattr(other, part)) for part in ("x", "target", "lengths")
    )


def perfect(problem, batch):
    """Outputs that are right everywhere."""
    if batch.target.dtype.kind == "f":
        return batch.target.copy()
    return 50.0 * (np.arange(problem.outputs) == batch.target[..., None])


@every
def test_the_same_seed_gives_the_same_batches(name):
    first, again, other = PROBLEMS[name](), PROBLEMS[name](), PROBLEMS[name](seed=1)
    batches = list(first.batches(2))
    assert len(batches) == len(first) == 100
    assert all(same(one, two) for one, two in zip(batches[97:], again.batches(2, start=97), strict=True))
    assert not same(batches[0], next(other.batches(2)))
    assert not same(batches[0], next(first.batches(3)))
    assert not same(batches[0], next(first.test(20)))
    assert same(next(first.test(20)), next(again.test(20)))
    assert same(next(first.validation(20)), next(again.validation(20)))
    assert not same(next(first.validation(20)), next(first.test(20)))
    assert not same(batches[0], next(first.validation(20)))


@every
@given(seed=st.integers(0, 999), rows=st.integers(1, 5))
@settings(max_examples=15)
def test_a_batch_is_one_that_network_and_loss_take(name, seed, rows):
    problem = PROBLEMS[name](seed=seed, batch_size=rows, dtype="float64")
    batch = next(problem.batches(0))
    net = problem.network(lambda inputs: (LSTM(inputs, 3), Elman(3, 4)), seed=seed)
    assert net.dtype == np.float64
    y, _, tape = net.forward(batch.x, None, batch.lengths)
    value, dy = problem.loss(y, batch.target, batch.lengths)
    net.backward(dy, tape)
    assert math.isfinite(value)
    assert batch.lengths is None or batch.lengths.max() == len(batch.x)
    assert y.ndim == (2 if problem.pools else 3)


@every
def test_right_answers_solve_it_and_naive_ones_do_not(name):
    problem = PROBLEMS[name]()
    for batch in problem.test(600):
        y = perfect(problem, batch)
        assert problem.error(y, batch.target, batch.lengths) < 1e-9
        assert problem.solved(y, batch.target, batch.lengths)
    assert all(error > problem.threshold for error in problem.naive().values())


@every
@pytest.mark.parametrize("part", ["test", "validation"])
def test_errors_are_measured_over_all_sequences(name, part):
    """In parts of 256 as in one."""
    problem = PROBLEMS[name]()
    net = problem.network(lambda inputs: Elman(inputs, 3))
    parts = [
        problem.error(net.forward(b.x, None, b.lengths)[0], b.target, b.lengths) * b.x.shape[1]
        for b in getattr(problem, part)(300)
    ]
    assert problem.evaluate(net, 300, part) == pytest.approx(sum(parts) / 300)


@pytest.mark.parametrize("cell", [lambda inputs: (), lambda inputs: Dropout(0.1)])
def test_a_network_may_do_without_recurrence(cell):
    net = Adding(9).network(cell)
    assert isinstance(net.layers[-2], LastStep)
    assert isinstance(net.layers[-1], Dense)
    assert net.layers[-1].in_features == 2


def test_what_is_measured_is_what_is_said():
    assert Adding(9).measure == "mean squared error"
    assert Adding(9, original=True).measure == Multiplication(9).measure == "share wrong by more than 0.04"


def long(problem):
    return next(problem.test(256))


def test_adding_marks_two_numbers_and_wants_their_sum():
    batch = long(problem := Adding((20, 40)))
    for row, length in enumerate(batch.lengths):
        marked = np.flatnonzero(batch.x[:, row, 1])
        assert len(marked) == 2
        assert marked[0] < length // 2 <= marked[1] < length
        assert batch.target[row, 0] == pytest.approx(batch.x[marked, row, 0].sum(), rel=1e-6)
    draws = problem.draw(np.random.default_rng(0), 20_000)
    assert np.mean((draws.target - 1) ** 2) == pytest.approx(problem.naive()["the mean"], rel=0.03)


def test_adding_of_1997():
    problem = Adding((100, 110), original=True)
    batch = problem.draw(np.random.default_rng(1), 5000)
    for row, length in enumerate(batch.lengths):
        numbers, marks = batch.x[:length, row].T
        marked = np.flatnonzero(marks == 1)
        assert len(marked) == 2
        assert marked[0] < 10 or marked[1] < 10
        assert marked[1] < length // 2
        assert marks[-1] == -1
        assert marks[0] == (1 if marked[0] == 0 else -1)
        assert batch.target[row, 0] == pytest.approx(0.5 + numbers[marked].sum() / 4, abs=1e-6)
    assert 100 <= batch.lengths.min() < batch.lengths.max() <= 110
    constant = problem.error(np.full_like(batch.target, 0.5), batch.target)
    assert constant == pytest.approx(problem.naive()["the mean"], abs=0.02)


def test_multiplication_marks_two_numbers_and_wants_their_product():
    problem = Multiplication(30)
    batch = problem.draw(np.random.default_rng(2), 20_000)
    marked = np.where(batch.x[:, :, 1] == 1, batch.x[:, :, 0], 1)
    np.testing.assert_allclose(marked.prod(axis=0), batch.target[:, 0], rtol=1e-5)
    assert (batch.x[:, :, 1].sum(axis=0) == 2).all()
    for name, constant in (("the mean", 0.25), ("the best constant, 0.04", 0.04)):
        error = problem.error(np.full_like(batch.target, constant), batch.target)
        assert error == pytest.approx(problem.naive()[name], abs=0.02)


@pytest.mark.parametrize("symbols", [2, 3])
@pytest.mark.parametrize("original", [False, True])
def test_temporal_order_asks_for_the_symbols_in_their_order(symbols, original):
    batch = long(TemporalOrder((100, 110), symbols=symbols, original=original))
    ids = batch.x.argmax(axis=-1)
    spans = {2: [(0.1, 0.2), (0.5, 0.6)], 3: [(0.1, 0.2), (0.33, 0.43), (0.66, 0.76)]}[symbols]
    for row, length in enumerate(batch.lengths):
        places = np.flatnonzero(ids[:length, row] < 2)
        assert len(places) == symbols
        for place, (low, high) in zip(places, spans, strict=True):
            assert int(low * length) <= place <= high * length
        assert int("".join(map(str, ids[places, row])), 2) == batch.target[row]
        if original:
            assert (ids[0, row], ids[length - 1, row]) == (6, 7)
    assert set(batch.target) == set(range(2**symbols))


def test_temporal_order_of_1997_wants_answers_that_are_sure():
    problem = TemporalOrder(100, original=True)
    target = np.array([0, 1])
    logits = np.log([[0.71, 0.2, 0.05, 0.04], [0.2, 0.69, 0.06, 0.05]])
    assert problem.error(logits, target) == 0.5
    assert TemporalOrder(100).error(logits, target) == 0


def test_copy_memory_repeats_the_symbols_after_the_signal():
    problem = CopyMemory(7)
    batch = long(problem)
    ids = batch.x.argmax(axis=-1)
    assert ids.shape == (27, 256)
    np.testing.assert_array_equal(batch.target[-10:], ids[:10])
    assert (batch.target[:-10] == 8).all()
    assert (ids[16] == 9).all()
    assert (ids[10:16] == 8).all()
    assert (ids[17:] == 8).all()
    # Who knows when to answer, but not what.
    memoryless = np.full((27, 256, 9), -50.0)
    memoryless[:-10, :, 8] = 50
    memoryless[-10:, :, :8] = 50
    assert problem.error(memoryless, batch.target) == pytest.approx(problem.naive()["memoryless"], rel=1e-6)


def test_memoryless_answers_over_a_range_of_delays_have_their_mean():
    problem, rng = CopyMemory((1, 300)), np.random.default_rng(0)
    steps = [len(problem.draw(rng, 1).x) for _ in range(2000)]
    drawn = np.mean([10 * math.log(8) / n for n in steps])
    assert problem.naive()["memoryless"] == pytest.approx(drawn, rel=0.05)
    assert problem.threshold == problem.naive()["memoryless"] / 10


def test_permutation_ends_as_it_began():
    batch = long(RandomPermutation(9, alphabet=12))
    ids = batch.x.argmax(axis=-1)
    np.testing.assert_array_equal(ids[0], batch.target)
    assert set(ids[0]) == {0, 1}
    assert set(ids[1:].ravel()) == set(range(2, 12))


@pytest.mark.parametrize("warp", ["none", "uniform", "variable"])
@pytest.mark.parametrize("filler", ["repeat", "blank"])
def test_warped_recall_is_the_unwarped_one_stretched(warp, filler):
    problem = WarpedRecall(60, warp=warp, stretch=4, filler=filler)
    batch = long(problem)
    ids = batch.x.argmax(axis=-1)
    for row in range(256):
        changes = ids[1:, row] != 10 if filler == "blank" else np.diff(ids[:, row]) != 0
        begins = np.concatenate([[0], 1 + np.flatnonzero(changes)])
        durations = np.diff([*begins, 60])
        if warp == "variable":
            assert durations.max() <= 4
        else:
            assert set(durations[:-1]) == {4 if warp == "uniform" else 1}
        told = np.repeat([10, *ids[begins, row][:-1]], durations)
        np.testing.assert_array_equal(told, batch.target[:, row])


def test_variable_warps_differ_from_symbol_to_symbol():
    ids = long(WarpedRecall(60, warp="variable", stretch=4, filler="blank")).x.argmax(axis=-1)
    gaps = np.diff(np.flatnonzero(ids[:, 0] != 10))
    assert set(gaps) == {1, 2, 3, 4}


@pytest.mark.parametrize("between", [9, 16, 64])
def test_the_name_stands_so_many_words_before_its_place(between):
    problem = DelayedName(between)
    batch = long(problem)
    for row in range(256):
        words = problem.sentence(batch.x[:, row]).split()
        named = [place for place, word in enumerate(words) if word in NAMES]
        asker, asked, again = (words[place] for place in named)
        assert asker == again != asked
        assert NAMES[batch.target[row]] == asked
        assert len(words) - named[1] - 1 == between
        assert words[-3:] == ["said", "hi", "to"]


def test_sines_are_clean_ahead_of_what_is_seen():
    batch = long(Sine(80, periods=(9.0, 9.0), ahead=3))
    np.testing.assert_allclose(batch.x[3:], batch.target[:-3], atol=1e-6)
    np.testing.assert_allclose(batch.x[9:], batch.x[:-9], atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("periods", ["slow", "fast", "both"])
def test_naive_sines(noise, periods):
    problem = Sine(400, periods=periods, noise=noise)
    batch = problem.draw(np.random.default_rng(3), 500)
    naive = problem.naive()
    assert problem.error(batch.x, batch.target) == pytest.approx(naive["the latest value"], rel=0.05)
    assert problem.error(np.zeros_like(batch.x), batch.target) == pytest.approx(naive["the mean"], rel=0.05)


def test_digits_are_split_once_for_all_seeds():
    """No seed is ever trained on what another is tested on, or looked at with."""
    pytest.importorskip("sklearn")

    def images(batches):
        return [row.tobytes() for batch in batches for row in batch.x[:, :, 0].T]

    problems = [Digits(64, batch_size=25, seed=seed) for seed in (0, 1, 500_000)]
    shown = [images(problem.batches(0)) for problem in problems]
    test, validation = ({*images(getattr(problems[0], part)(9999))} for part in ("test", "validation"))
    assert (len(shown[0]), len(test), len(validation)) == (1250, 359, 179)  # and 9 in no whole batch
    for problem, seen in zip(problems, shown, strict=True):
        assert images(problem.test(359)) == images(problems[0].test(9999))
        assert images(problem.validation(179)) == images(problems[0].validation(9999))
        drawn = images([problem.draw(np.random.default_rng(0), 5000)])
        assert not {*seen, *drawn} & (test | validation)
    assert not test & validation
    assert shown[0] != shown[1]
    assert {*shown[0]} | {*shown[1]} > {*shown[0]}, "the nine left out are others"


def test_more_digits_side_by_side_than_there_are_make_one_batch():
    pytest.importorskip("sklearn")
    problem = Digits(64, batch_size=1500)
    (batch,) = problem.batches(0)
    assert batch.x.shape == (64, 1500, 1)
    assert len(problem) == 1


def test_errors_of_digits_are_those_of_each_image_once():
    pytest.importorskip("sklearn")
    problem = Digits(64)
    net = problem.network(lambda inputs: Elman(inputs, 3))
    (first, second) = problem.test(9999)
    y = np.concatenate([net.forward(batch.x)[0] for batch in (first, second)])
    wrong = y.argmax(axis=1) != np.concatenate([first.target, second.target])
    assert problem.evaluate(net) == pytest.approx(wrong.sum() / 359)


def test_digits_are_read_whole():
    pytest.importorskip("sklearn")
    x = np.concatenate([batch.x for batch in Digits(64).batches(0)], axis=1)
    assert x.min() == 0
    assert x.max() == 1
    assert next(Digits(100).batches(0)).x.shape == (100, 20, 1)
    with pytest.raises(ValueError, match="length is 65, but a square"):
        Digits(65)


def test_a_network_learns_a_short_one():
    problem = Adding(8, batch_size=32, seed=1)
    net = problem.network(lambda inputs: LSTM(inputs, 16))
    Trainer(net, problem.loss, Adam(1e-2), clip=ClipNorm(1.0), progress="off").fit(problem, steps=400)
    assert problem.evaluate(net, 512) < problem.threshold


def test_a_part_that_is_none_is_refused():
    problem = Adding(9)
    net = problem.network(lambda inputs: Elman(inputs, 3))
    with pytest.raises(ValueError, match="part is 'training', but one of test, validation is wanted"):
        problem.evaluate(net, 20, "training")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adding(3), ValueError, "length is 3, but at least 4"),
        (lambda: Adding((9, 5)), ValueError, r"length is \(9, 5\)"),
        (lambda: Adding(9.5), TypeError, "length is 9.5"),
        (lambda: Adding(9, seed=-1), ValueError, "seed is -1"),
        (lambda: Adding(9, batch_size=0), ValueError, "batch_size is 0"),
        (lambda: Adding(9, dtype="int32"), TypeError, "dtype is int32"),
        (lambda: Adding(9, dtype="half a number"), TypeError, "dtype is 'half a number'"),
        (lambda: Adding(9, dtype=None), TypeError, "dtype is None"),
        (lambda: Adding(9, original="no"), TypeError, "original is 'no'"),
        (lambda: TemporalOrder(50, original=1), TypeError, "original is 1"),
        (lambda: TemporalOrder(50, symbols=4), ValueError, "symbols is 4"),
        (lambda: TemporalOrder(50, symbols=2.0), TypeError, "symbols is 2.0"),
        (lambda: TemporalOrder(50, symbols=[2]), TypeError, r"symbols is \[2\]"),
        (lambda: WarpedRecall(10), ValueError, "length is 10, but more than 10 is wanted"),
        (lambda: WarpedRecall((3, 9), warp="variable", stretch=3), ValueError, r"length is \(3, 9\)"),
        (lambda: WarpedRecall(1, warp="none"), ValueError, "length is 1, but more than 1"),
        (lambda: RandomPermutation(5, alphabet=2), ValueError, "alphabet is 2"),
        (lambda: WarpedRecall(9, warp="odd"), ValueError, "warp is 'odd'"),
        (lambda: WarpedRecall(19, filler="odd"), ValueError, "filler is 'odd'"),
        (lambda: WarpedRecall(19, symbols=2), ValueError, "symbols is 2"),
        (lambda: DelayedName(8), ValueError, "length is 8, but at least 9"),
        (lambda: Sine(9, periods="odd"), ValueError, "periods are 'odd'"),
        (lambda: Sine(9, periods=(9, 5)), ValueError, r"periods are \(9, 5\)"),
        (lambda: Sine(9, noise=-1), ValueError, "noise is -1"),
    ],
)
def test_wrong_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
