"""Ragged collections: nothing is lost or moved, little is padding, an epoch is always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import GRU, Adam, CrossEntropy, Dense, Embedding, MeanPool, Network
from rnncore.data import Ragged, RaggedSource
from rnncore.trainer import Trainer

lists = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def numbered(lengths, features=None):
    """Sequences whose every step is another number, so that each can be found again."""
    flat = np.arange(sum(lengths))
    if features:
        flat = flat[:, None] + np.arange(features) / 10
    return Ragged(flat, np.cumsum([0, *lengths]))


@given(lists, st.sampled_from([None, 1, 3]))
def test_a_list_and_its_flat_array_are_the_same(lengths, features):
    ragged = numbered(lengths, features)
    again = Ragged.from_list(list(ragged))
    np.testing.assert_array_equal(again.flat, ragged.flat)
    np.testing.assert_array_equal(again.offsets, ragged.offsets)
    assert len(again) == len(lengths)
    assert again.lengths.tolist() == lengths
    assert again.features == features


@given(lists, st.sampled_from([None, 2]), st.data())
def test_rows_that_are_taken_or_padded_are_those_of_the_collection(lengths, features, data):
    ragged = numbered(lengths, features)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9)))
    padded, taken = ragged.pad(rows), ragged.take(rows)
    assert padded.shape[:2] == (max(ragged.lengths[rows]), len(rows))
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(taken[b], ragged[row])
        np.testing.assert_array_equal(padded[: lengths[row], b], ragged[row])
        assert not padded[lengths[row] :, b].any()


@given(lists, st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_every_sequence_comes_once_an_epoch_with_its_own_target(lengths, rows, epoch, shuffle):
    ragged = numbered(lengths)
    source = RaggedSource(ragged, np.arange(len(lengths)), rows, seed=3, shuffle=shuffle)
    seen = []
    batches = list(source.batches(epoch))
    assert len(batches) == len(source)
    for batch in batches:
        assert batch.x.shape[1] == len(batch.target) <= rows
        held = np.full(len(batch.target), len(batch.x)) if batch.lengths is None else batch.lengths
        for b, number in enumerate(batch.target):
            np.testing.assert_array_equal(batch.x[: held[b], b], ragged[number])
            assert held[b] == lengths[number]
        seen += batch.target.tolist()
    assert sorted(seen) == list(range(len(lengths)))


@given(lists, st.integers(1, 40), st.sampled_from([0.01, 0.05, 0.2]))
def test_padding_stays_within_its_bound_for_any_lengths(lengths, rows, waste):
    source = RaggedSource(numbered(lengths), None, rows, waste=waste)
    steps = padded = 0
    for batch in source.batches(0):
        steps += batch.x.shape[0] * batch.x.shape[1]
        padded += 0 if batch.lengths is None else int((len(batch.x) - batch.lengths).sum())
    assert padded <= waste * steps
    assert padded / steps == pytest.approx(source.padding)


@pytest.mark.parametrize("steps", [20, 100, 1000])
@pytest.mark.parametrize("kind", ["uniform", "names", "sentences", "documents"])
def test_padding_is_below_five_percent_in_full_batches(kind, steps, rng):
    """Lengths drawn uniformly, and as names, sentences and documents have them; few batches are split."""
    n = 4000
    lengths = {
        "uniform": lambda: rng.integers(1, steps + 1, n),
        "names": lambda: np.clip(rng.normal(7, 2, n), 2, steps),
        "sentences": lambda: np.clip(rng.gamma(4, 5, n), 1, steps),
        "documents": lambda: np.clip(rng.lognormal(np.log(steps / 5), 1, n), 1, steps),
    }[kind]()
    source = RaggedSource(numbered(lengths.astype(int).tolist()), None, 32)
    assert source.padding < 0.05
    assert len(source) <= 1.2 * n / 32


@given(lists, st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_is_a_function_of_seed_and_number(lengths, rows, epoch, start):
    ragged, targets = numbered(lengths), np.arange(len(lengths))
    whole = [batch.target for batch in RaggedSource(ragged, targets, rows, seed=7).batches(epoch)]
    again = [batch.target for batch in RaggedSource(ragged, targets, rows, seed=7).batches(epoch, start)]
    assert all(np.array_equal(a, b) for a, b in zip(whole[start:], again, strict=True))
    indices = RaggedSource(ragged, targets, rows, seed=7).indices(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(whole, indices, strict=True))


def test_epochs_and_seeds_differ():
    source = RaggedSource(numbered([5] * 40), np.arange(40), 8, seed=1)
    other = RaggedSource(numbered([5] * 40), np.arange(40), 8, seed=2)
    orders = [np.concatenate(s.indices(epoch)).tolist() for s in (source, other) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_targets_may_stand_at_every_step():
    ragged = numbered([3, 1, 2])
    source = RaggedSource(ragged, [10 * row for row in ragged], 2, waste=0.9)
    for batch in source.batches(0):
        np.testing.assert_array_equal(batch.target, 10 * batch.x)


def test_numbers_become_the_networks_type_and_ids_stay():
    (batch,) = RaggedSource([np.zeros((4, 2))], np.ones((1, 3)), dtype="float32").batches(0)
    assert batch.x.dtype == batch.target.dtype == np.float32
    (batch,) = RaggedSource([np.zeros(4, np.uint8)], np.ones(1, np.int16)).batches(0)
    assert (batch.x.dtype, batch.target.dtype) == (np.uint8, np.int16)


def test_a_mapped_file_gives_the_same_batches(tmp_path, rng):
    ragged = Ragged(rng.standard_normal((100, 3)), np.array([0, 10, 35, 36, 100]))
    np.save(tmp_path / "steps.npy", ragged.flat)
    mapped = Ragged(np.load(tmp_path / "steps.npy", mmap_mode="r"), ragged.offsets)
    assert isinstance(mapped.flat, np.memmap)
    for a, b in zip(RaggedSource(ragged).batches(0), RaggedSource(mapped).batches(0), strict=True):
        np.testing.assert_array_equal(a.x, b.x)


def test_a_network_learns_from_it_and_a_resumed_run_is_the_uninterrupted_one(tmp_path, rng):
    """Which of two symbols is the more frequent: many-to-one, through the Trainer."""
    sequences = [rng.integers(0, 2, n) for n in rng.integers(3, 15, 80)]
    source = RaggedSource(sequences, np.array([int(2 * s.sum() > len(s)) for s in sequences]), 16, seed=1)

    def run(steps, resume=False):
        net = Network(Embedding(2, 3), GRU(3, 6), MeanPool(), Dense(6, 2), seed=1)
        path = tmp_path / "run.safetensors"
        trainer = Trainer(net, CrossEntropy(), Adam(1e-2), checkpoint=path, progress="off")
        return net, trainer.fit(source, steps=steps, resume=resume)

    whole, history = run(60)
    run(17)
    resumed, _ = run(60, resume=True)
    np.testing.assert_array_equal(whole.params.flat, resumed.params.flat)
    losses = history.steps.column("loss")
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()


ONE = [np.zeros(2)]


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: Ragged([1], [0, 1]), TypeError, "flat is list"),
        (lambda: Ragged(np.zeros((2, 3, 4)), [0, 2]), ValueError, r"flat has shape \(2, 3, 4\)"),
        (lambda: Ragged(np.zeros(3), [0.0, 3.0]), TypeError, "offsets are float64"),
        (lambda: Ragged(np.zeros(3), [0]), ValueError, r"\(N\+1,\)"),
        (lambda: Ragged(np.zeros(3), [0, 2]), ValueError, "from 0 to 2, but from 0 to the 3"),
        (lambda: Ragged(np.zeros(3), [0, 2, 2, 3]), ValueError, "sequence 1 has 0 steps"),
        (lambda: Ragged(np.zeros(3), [0, 2, 1, 3]), ValueError, "sequence 1 has -1 steps"),
        (lambda: Ragged.from_list([]), ValueError, "empty"),
        (lambda: Ragged.from_list("abc"), TypeError, "a str"),
        (lambda: Ragged.from_list([[1], []]), ValueError, r"sequences\[1\] has shape \(0,\)"),
        (lambda: Ragged.from_list([[1], 2]), ValueError, r"sequences\[1\] has shape \(\)"),
        (lambda: Ragged.from_list([[1], ["a"]]), TypeError, r"sequences\[1\] is <U1"),
        (lambda: Ragged.from_list([[[1, 2], [3]]]), ValueError, r"sequences\[0\] is no array"),
        (lambda: Ragged.from_list([np.ones((2, 3)), np.ones((2, 4))]), ValueError, r"\(T, 3\) is wanted, as"),
        (lambda: RaggedSource(ONE, np.zeros(2, int)), ValueError, r"\(1,\) or \(1, K\)"),
        (lambda: RaggedSource(ONE, np.zeros(1)), TypeError, "class ids"),
        (lambda: RaggedSource(ONE, "a"), TypeError, "targets are a str"),
        (lambda: RaggedSource(ONE, [np.zeros(3)]), ValueError, r"targets\[0\] has 3 steps, but .* 2"),
        (lambda: RaggedSource(ONE, [np.zeros(2)] * 2), ValueError, "targets are 2"),
        (lambda: RaggedSource(ONE, waste=0), ValueError, "waste is 0"),
        (lambda: RaggedSource(ONE, batch_size=0), ValueError, "batch_size is 0"),
    ],
)
def test_what_is_no_collection_is_one_error(build, kind, message):
    with pytest.raises(kind, match=message):
        build()


def test_an_index_beyond_the_end_is_an_error():
    ragged = numbered([2, 3])
    assert ragged[-1].tolist() == [2, 3, 4]
    with pytest.raises(IndexError, match="sequence 2"):
        ragged[2]
    with pytest.raises(TypeError, match=r"index is slice\(0, 1, None\), but a whole number"):
        ragged[0:1]


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([True, False, True], TypeError, "rows are bool, but integers"),
        ([0.5], TypeError, "rows are float64"),
        ([], ValueError, "rows have shape"),
        ([[0]], ValueError, "rows have shape"),
        ([-1], ValueError, "rows have -1, but numbers from 0 to 2"),
        ([0, 3], ValueError, "rows have 3, but numbers from 0 to 2"),
    ],
)
def test_only_numbers_of_sequences_can_be_taken(rows, error, words):
    """A mask would otherwise be read as the numbers 0 and 1."""
    with pytest.raises(error, match=words):
        Ragged.from_list([[1, 2], [3], [4]]).take(rows)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("shuffle", "x", "shuffle is 'x', but True or False"),
        ("dtype", "int8", "dtype is int8, but float32 or float64"),
        ("waste", "a", "waste is 'a', but a number"),
        ("targets", np.array(["a", "b"]), "targets are <U1, but class ids"),
        ("targets", np.array([True, False]), "targets are bool, but class ids"),
    ],
)
def test_wrong_arguments_of_a_source_are_named(argument, value, words):
    arguments = {"targets": np.array([0, 1]), argument: value}
    with pytest.raises(TypeError, match=words):
        RaggedSource([[1.0, 2.0], [3.0]], **arguments)


def test_a_masked_sequence_is_refused():
    with pytest.raises(TypeError, match=r"sequences\[1\] is a masked array"):
        Ragged.from_list([[1.0], np.ma.masked_array([1.0, 2.0], [False, True])])
