"""CTC against all alignments, finite differences and PyTorch; decoding against all labels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import assert_close, derivative

import rnncore
from rnncore import GRU, Adam, Dense, Network, Trainer, kernels, reference
from rnncore.ctc import CTC
from rnncore.data import Batch

T, B, C = 6, 5, 4
# Empty, one, equal neighbours, as many as fit, with a repetition that just fits.
TARGETS = [[], [3], [2, 2, 1], [1, 2, 3, 1], [1, 1]]
LENGTHS = np.array([2, 6, 4, 4, 3])


@pytest.fixture(params=["reference", "kernels"])
def backend(request, monkeypatch):
    module = {"reference": reference, "kernels": kernels}[request.param]
    monkeypatch.setattr(CTC, "backend", module)
    return module


def collapse(path, blank):
    """What an alignment says."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def log_probabilities(y, blank):
    """log p of every sequence of labels for one row's logits (n, C), by all C^n alignments."""
    lp = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
    found = {}
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        labels = collapse(path, blank)
        found[labels] = np.logaddexp(found.get(labels, -np.inf), lp[np.arange(len(y)), path].sum())
    return found


def drawn(seed=0, shape=(T, B, C), dtype="float64"):
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def shifted(targets, blank):
    """Labels 1.. as the ids that are not the blank, in order."""
    return [[label - (label <= blank) for label in row] for row in targets]


@pytest.mark.parametrize("blank", [0, 2, 3])
def test_the_loss_is_that_of_all_alignments(backend, blank):
    y, targets = drawn(), shifted(TARGETS, blank)
    value, _ = CTC(blank)(y, targets, LENGTHS)
    wanted = [
        -log_probabilities(y[:n, b], blank)[tuple(row)]
        for b, (n, row) in enumerate(zip(LENGTHS, targets, strict=True))
    ]
    assert_close(value, np.mean(wanted), 1e-13)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0, 3.0, 2.0]], ids=["even", "weighted"])
def test_the_gradient_is_that_of_finite_differences(backend, lengths, weights):
    y, loss = drawn(), CTC(1)
    targets = shifted(TARGETS, 1)
    _, dy = loss(y, targets, lengths, weights)
    slopes = np.zeros_like(y)
    for place in np.ndindex(y.shape):

        def moved(s, place=place):
            near = y.copy()
            near[place] += s
            return loss(near, targets, lengths, weights)[0]

        slopes[place] = derivative(moved)
    assert_close(dy, slopes, 1e-9)
    assert dy[0].any()


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("infinite", ["zero", "keep"])
def test_loss_and_gradient_are_those_of_torch(backend, lengths, blank, infinite):
    """Also of rows that have no alignment, whose gradient PyTorch gives as 0 with zero_infinity."""
    torch = pytest.importorskip("torch")
    # The last row's labels take nine steps and have six at most.
    targets = shifted([*TARGETS[:-1], [1, 1, 2, 2, 3, 3]], blank)
    y = drawn(3)
    value, dy = CTC(blank, infinite)(y, targets, lengths)
    leaf = torch.tensor(y, requires_grad=True)
    arguments = (
        torch.tensor([label for row in targets for label in row]),
        torch.tensor([T] * B if lengths is None else lengths),
        torch.tensor([len(row) for row in targets]),
    )
    peer = torch.nn.CTCLoss(blank, reduction="sum", zero_infinity=True)(leaf.log_softmax(2), *arguments) / B
    peer.backward()
    if infinite == "zero":
        assert_close(value, peer.item(), 1e-9)
    else:
        assert value == np.inf
    assert_close(dy, leaf.grad.numpy(), 1e-9)
    assert not dy[:, -1].any()


@pytest.mark.parametrize("shape", [(200, 4, 30, 40), (50, 3, 2, 20), (300, 2, 80, 149)])
def test_long_sequences_are_those_of_torch(shape):
    torch = pytest.importorskip("torch")
    steps, rows, classes, most = shape
    rng = np.random.default_rng(1)
    y = drawn(2, (steps, rows, classes))
    lengths = rng.integers(steps - 10, steps + 1, rows)
    targets = [rng.integers(1, classes, rng.integers(1, most // 2)) for _ in range(rows)]
    value, dy = CTC()(y, targets, lengths)
    leaf = torch.tensor(y, requires_grad=True)
    counts = torch.tensor([len(row) for row in targets])
    flat = torch.tensor(np.concatenate(targets))
    peer = torch.nn.CTCLoss(reduction="sum")(leaf.log_softmax(2), flat, torch.tensor(lengths), counts) / rows
    peer.backward()
    assert_close(value, peer.item(), 1e-9)
    assert_close(dy, leaf.grad.numpy(), 1e-9)


@st.composite
def problems(draw):
    """y, targets that fit or not, lengths and blank."""
    steps, rows, classes = draw(st.integers(1, 9)), draw(st.integers(1, 5)), draw(st.integers(2, 6))
    blank = draw(st.integers(0, classes - 1))
    label = st.integers(0, classes - 1).filter(lambda label: label != blank)
    targets = draw(st.lists(st.lists(label, max_size=6), min_size=rows, max_size=rows))
    lengths = draw(st.none() | st.lists(st.integers(1, steps), min_size=rows, max_size=rows))
    return drawn(draw(st.integers(0, 99)), (steps, rows, classes)), targets, lengths, blank


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(problem=problems())
@settings(max_examples=60)
def test_kernels_compute_what_the_reference_computes(dtype, problem):
    y, targets, lengths, blank = problem
    y = y.astype(dtype)
    if lengths is not None:
        y[np.arange(len(y))[:, None] >= lengths] = np.nan
    results = []
    for module in (kernels, reference):
        loss = CTC(blank, "zero")
        loss.backend = module
        results.append((*loss(y, targets, lengths), loss.decode(y, lengths), *loss.search(y, lengths, 5)))
    (value, dy, path, found, scores), want = results
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert_close(value, want[0], tolerance, scale=1.0)
    assert_close(dy, want[1], tolerance, scale=1 / y.shape[1])
    assert_close(scores, want[4], 1e-12, scale=1.0)
    for got, wanted in zip(path + found, want[2] + want[3], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_padded_row_is_the_row_alone(backend):
    """To rounding, and whatever the padding holds."""
    y, loss = drawn(), CTC()
    y[np.arange(T)[:, None] >= LENGTHS] = np.nan
    value, dy = loss(y, TARGETS, LENGTHS)
    alone = [loss(y[:n, b : b + 1].copy(), TARGETS[b : b + 1]) for b, n in enumerate(LENGTHS)]
    assert_close(value, np.mean([single for single, _ in alone]), 1e-14)
    for b, (n, (_, dy_row)) in enumerate(zip(LENGTHS, alone, strict=True)):
        assert_close(dy[:n, b : b + 1], dy_row / B, 1e-14)
        assert not dy[n:, b].any()


def test_targets_may_come_in_three_forms(backend):
    y, loss = drawn(), CTC()
    flat = [label for row in TARGETS for label in row]
    table = np.full((B, 5), -1)
    for b, row in enumerate(TARGETS):
        table[b, : len(row)] = row
    want, dy = loss(y, TARGETS, LENGTHS)
    for target in ((flat, [len(row) for row in TARGETS]), table, [np.array(row, np.int8) for row in TARGETS]):
        value, other = loss(y, target, LENGTHS)
        assert value == want
        np.testing.assert_array_equal(other, dy)
        assert loss.count(target, LENGTHS) == B


def test_a_logit_of_minus_infinity_excludes_its_class(backend):
    y, loss = drawn(), CTC(infinite="zero")
    y[:, :, 3] = -np.inf
    value, dy = loss(y, TARGETS)
    without, dy_without = loss(np.delete(y, 3, axis=2), [[], [], *TARGETS[2:3], [], TARGETS[4]])
    assert np.isfinite(value)
    assert np.isfinite(dy).all()
    assert not dy[:, [1, 3]].any(), "these rows want class 3"
    assert_close(dy[:, [0, 2, 4], :3], dy_without[:, [0, 2, 4]], 1e-12)
    assert not dy[:, :, 3].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_value(bad):
    y = drawn()
    y[2, 1, 1] = bad
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(CTC()(y, TARGETS)[0])


def test_threads_do_not_change_a_bit():
    y, rng = drawn(4, (60, 8, 20)), np.random.default_rng(0)
    targets = [rng.integers(1, 20, 12) for _ in range(8)]
    before, results = rnncore.get_num_threads(), []
    try:
        for threads in (1, 4):
            rnncore.set_num_threads(threads)
            results.append((*CTC()(y, targets), *CTC().search(y)))
    finally:
        rnncore.set_num_threads(before)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][3], results[1][3])


# --- decoding


@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_search_finds_the_likeliest_labels_of_all(backend, blank, seed):
    y = drawn(seed, (T - 1, 3, C))
    lengths = np.array([5, 3, 1])
    found, scores = CTC(blank).search(y, lengths, width=400)
    for b, n in enumerate(lengths):
        every = log_probabilities(y[:n, b], blank)
        best = max(every, key=every.get)
        assert tuple(found[b]) == best
        assert_close(scores[b], every[best], 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_search_never_claims_more_than_the_labels_have(backend, seed):
    """With few beams some alignments are lost: the score is minus the loss at most."""
    y = drawn(seed, (12, 3, C))
    found, scores = CTC().search(y, width=3)
    losses = [CTC()(y[:, b : b + 1].copy(), [found[b]])[0] for b in range(3)]
    assert (scores <= -np.array(losses) + 1e-12).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_greedy_labels_are_those_of_the_likeliest_alignment(seed):
    y = drawn(seed)
    y[np.arange(T)[:, None] >= LENGTHS] = np.nan
    for blank in (0, 2):
        found = CTC(blank).decode(y, LENGTHS)
        for b, n in enumerate(LENGTHS):
            assert tuple(found[b]) == collapse(y[:n, b].argmax(axis=1), blank)


def test_search_and_greedy_differ_where_alignments_add_up():
    """Two steps, blank 0.6 each: the likeliest alignment says nothing, 0.36, the label has 0.64."""
    y = np.log(np.array([[[0.6, 0.4]], [[0.6, 0.4]]]))
    assert CTC().decode(y)[0].size == 0
    found, scores = CTC().search(y)
    assert found[0].tolist() == [1]
    assert_close(np.exp(scores), [0.64], 1e-12)


# --- with the Trainer


def test_a_network_learns_to_spell():
    """Each label shows for a few steps, somewhere; the order is all that is told."""
    rng = np.random.default_rng(0)
    steps, rows, labels = 20, 16, 3

    def batch():
        table = np.full((rows, 4), -1)
        x = 0.1 * rng.standard_normal((steps, rows, labels)).astype(np.float32)
        lengths = rng.integers(14, steps + 1, rows)
        for b in range(rows):
            table[b, : rng.integers(2, 5)] = 0
            spoken = np.flatnonzero(table[b] == 0)
            table[b, spoken] = rng.integers(1, labels + 1, len(spoken))
            for place, start in enumerate(np.sort(rng.choice(6, len(spoken), replace=False))):
                x[2 * start : 2 * start + 2, b, table[b, place] - 1] += 1
        return Batch(x, table, lengths)

    net = Network(GRU(labels, 24), Dense(24, labels + 1), seed=1)
    loss, batches = CTC(), [batch() for _ in range(8)]
    trainer = Trainer(net, loss, Adam(0.02), clip=rnncore.ClipNorm(1.0), progress="off")
    trainer.fit(batches, steps=200)
    fresh = batch()
    y, _, _ = net.eval().forward(fresh.x, None, fresh.lengths)
    wanted = [row[row >= 0].tolist() for row in fresh.target]
    found = [row.tolist() for row in loss.search(y, fresh.lengths)[0]]
    right = np.mean([one == other for one, other in zip(found, wanted, strict=True)])
    assert right >= 0.7, right


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"blank": -1}, ValueError, "blank is -1"),
        ({"blank": 1.5}, TypeError, "blank is 1.5"),
        ({"infinite": "ignore"}, ValueError, "infinite is 'ignore', but one of error, zero, keep"),
    ],
)
def test_impossible_settings_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        CTC(**arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"y": [[1.0]]}, TypeError, "y is a list"),
        ({"y": drawn().astype(int)}, TypeError, "y is int64"),
        ({"y": drawn()[0]}, ValueError, r"y has shape \(5, 4\), but \(T, B, C\)"),
        ({"y": drawn()[:, :, :0]}, ValueError, "none of them 0"),
        ({"y": drawn(shape=(T, B, 1))}, ValueError, "target's row 1 is 3, but ids from 0 to 0"),
        ({"lengths": [2, 7, 4, 4, 3]}, ValueError, r"lengths\[1\] is 7, but y has 6 steps"),
        ({"target": TARGETS[:-1]}, ValueError, "target has 4 rows, but y has 5"),
        ({"target": [[], [4], [], [], []]}, ValueError, "label 0 of target's row 1 is 4, but"),
        ({"target": [[], [1, 0], [], [], []]}, ValueError, "label 1 of .* row 1 is 0, but .* the blank, 0"),
        ({"target": [[], [1.5], [], [], []]}, TypeError, r"target\[1\] are float64"),
        ({"target": [[], [[1]], [], [], []]}, ValueError, r"target\[1\] has shape \(1, 1\)"),
        ({"target": "text"}, TypeError, "target is a str"),
        ({"target": ([1], [0, 1, 0, 0])}, ValueError, r"target's lengths have shape \(4,\)"),
        ({"target": ([1], [0, 1, 1, 0, 0])}, ValueError, "add up to 2, but there are 1"),
        ({"target": ([1], [0, 2, -1, 0, 0])}, ValueError, "from -1 to 2"),
        ({"target": ([1], [1], [1])}, TypeError, "target is a tuple of 3"),
        ({"target": np.array([[1, -1, 2]] * B)}, ValueError, r"target\[0\] has a label behind a -1"),
        ({"weights": [1, 2]}, ValueError, "weights have shape"),
        ({"weights": [1, 2, -1, 0, 0]}, ValueError, r"weights\[2\] is -1"),
        ({"weights": [0, 0, np.inf, 0, 0]}, ValueError, r"weights\[2\] is inf"),
        (
            {"lengths": [2, 6, 3, 4, 3]},
            ValueError,
            "target's row 2 has 3 labels, which take 4 steps with the blanks .* but y has 3",
        ),
    ],
)
def test_impossible_arguments_are_refused(changes, error, message):
    arguments = {"y": drawn(), "target": TARGETS, "lengths": LENGTHS} | changes
    with pytest.raises(error, match=message):
        CTC()(**arguments)


def test_decoding_checks_its_arguments():
    with pytest.raises(ValueError, match="blank is 4, but y has 4 classes"):
        CTC(4).decode(drawn())
    with pytest.raises(ValueError, match="width is 0"):
        CTC().search(drawn(), width=0)
    y = drawn()
    y[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"y\[1, 2, 3\] is nan"):
        CTC().search(y)


def test_logits_and_labels_come_through_the_buffer_protocol():
    y = np.random.default_rng(0).standard_normal((6, 2, 3))
    labels = np.array([[1, 2], [2, -1]])
    value, dy = CTC()(y, labels)
    again, dy_again = CTC()(memoryview(y), memoryview(labels))
    assert value == again
    assert np.array_equal(dy, dy_again)
    assert all(map(np.array_equal, CTC().decode(y), CTC().decode(memoryview(y))))
    assert np.array_equal(CTC().search(y)[1], CTC().search(memoryview(y))[1])
