"""The training loop: what an update is, what validation may not touch, how training ends."""

import math
import os
import signal
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import CLASSES, Source, batch, draw_batch, make_trainer, measured, text_network

from rnncore import LSTM, Dense, Dropout, Embedding, LastStep, Network
from rnncore.clipping import ClipNorm, ClipStep, ClipValue
from rnncore.data import RaggedSource
from rnncore.losses import CrossEntropy, SquaredError
from rnncore.optimizers import SGD, Adam
from rnncore.regularizers import L1, L2
from rnncore.schedules import Linear, Plateau, Step
from rnncore.trainer import Trainer, predict


def after(batches, steps=1, net=None, rate=0.5, **more):
    """Parameters after some steps of plain SGD."""
    net = text_network(dtype="float64") if net is None else net
    make_trainer(net, SGD(rate), **more).fit(batches, steps=steps)
    return net.params.flat


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 8), st.booleans(), st.integers(0))
def test_accumulated_minibatches_equal_their_concatenation(rows, steps, ragged, seed):
    """Minibatches of unequal weight: one update from all of them is the update from the one large batch."""
    rng = np.random.default_rng(seed)
    parts = [
        draw_batch(steps, n, seed + i, lengths=rng.integers(1, steps + 1, n) if ragged else None)
        for i, n in enumerate(rows)
    ]
    whole = batch(
        np.concatenate([part.x for part in parts], axis=1),
        np.concatenate([part.target for part in parts], axis=1),
        np.concatenate([part.lengths for part in parts]) if ragged else None,
    )
    np.testing.assert_allclose(after(parts, accumulate=len(parts)), after([whole]), rtol=1e-10, atol=1e-13)


def test_accumulated_minibatches_of_pooled_targets():
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((6, 5, 3)), rng.integers(0, 4, 5)

    def net():
        return Network(LSTM(3, 4), LastStep(), Dense(4, 4), dtype="float64")

    parts = [batch(np.ascontiguousarray(x[:, rows]), target[rows]) for rows in (slice(0, 2), slice(2, 5))]
    ours, whole = after(parts, net=net(), accumulate=2), after([batch(x, target)], net=net())
    np.testing.assert_allclose(ours, whole, rtol=1e-10)


def test_tuples_are_batches():
    whole, ragged = draw_batch(), draw_batch(lengths=np.array([12, 5, 7]))
    given = [(whole.x, whole.target), (ragged.x, ragged.target, ragged.lengths)]
    np.testing.assert_array_equal(after(given), after([whole, ragged]))
    assert make_trainer().evaluate(given) == make_trainer().evaluate([whole, ragged])


def test_documents_in_a_segment_count_as_one_minibatch():
    """Borders change where the state comes from, not how often is updated."""
    source = Source(batches=4, starts=True)
    trainer = make_trainer(bptt=6, accumulate=2)
    history = trainer.fit(source, epochs=1)
    assert len(history.steps) == 4 * 2 / 2


def test_update_is_average_penalty_clip_step():
    """One update, taken apart."""
    parts = [draw_batch(5, 2, 0), draw_batch(5, 4, 1)]
    net, other = text_network(dtype="float64"), text_network(dtype="float64")
    clip = ClipNorm(0.1)
    penalties = [L2(0.01), L1(0.02, "*.bias")]
    trainer = make_trainer(
        net, SGD(1.0), accumulate=2, regularizer=penalties, clip=clip, schedule=Step(0.5, 1, 0.1)
    )
    history = trainer.fit(parts, steps=1)

    loss = CrossEntropy()
    values = []
    for part, share in zip(parts, (2 / 6, 4 / 6), strict=True):
        y, _, tape = other.forward(part.x)
        value, dy = loss(y, part.target)
        other.backward(dy * share, tape)
        values.append(value * share)
    penalty = L2(0.01)(other.params, other.grads) + L1(0.02, "*.bias")(other.params, other.grads)
    norm = float(np.linalg.norm(other.grads.flat))
    other.params.flat[...] -= 0.5 * other.grads.flat * 0.1 / norm
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-10)
    (row,) = history.steps
    assert row["loss"] == pytest.approx(sum(values))
    assert row["grad_norm"] == pytest.approx(norm)
    assert row["lr"] == 0.5
    assert trainer.penalty == pytest.approx(penalty)
    assert (clip.calls, clip.clipped) == (1, 1)


@pytest.mark.parametrize("clip", [None, ClipValue(1e-3), [ClipValue(1e-3), ClipNorm(1e-4)], ClipNorm(1e-4)])
def test_recorded_norm_is_the_one_before_clipping(clip):
    plain = make_trainer().fit([draw_batch()], steps=1).steps[0]["grad_norm"]
    assert make_trainer(clip=clip).fit([draw_batch()], steps=1).steps[0]["grad_norm"] == plain > 1e-2


def test_truncated_gradient_stops_at_the_segments_and_the_state_does_not():
    """Against the loop written out: state carried over, tape not."""
    given = draw_batch(11, 3)
    net, other = text_network(dtype="float64"), text_network(dtype="float64")
    make_trainer(net, SGD(0.3), bptt=4).fit([given], epochs=1)
    loss, state = CrossEntropy(), None
    for first in (0, 4, 8):
        x, target = given.x[first : first + 4], given.target[first : first + 4]
        other.zero_grad()
        y, state, tape = other.forward(x, state)
        other.backward(loss(y, target)[1], tape)
        other.params.flat[...] -= 0.3 * other.grads.flat
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)


def test_state_begins_at_zero_in_every_batch():
    given = draw_batch(8, 2)
    twice = after([given, given], steps=4, bptt=4)
    np.testing.assert_array_equal(twice, after([given], steps=4, bptt=4))


@pytest.mark.parametrize(("accumulate", "updates"), [(1, 5), (2, 3), (3, 2), (5, 1), (7, 1)])
def test_what_is_left_of_a_window_makes_an_update(accumulate, updates):
    history = make_trainer(accumulate=accumulate).fit(Source(batches=5), epochs=2)
    assert len(history.steps) == 2 * updates
    assert history.stopped == "epochs"


def test_steps_and_epochs_whichever_comes_first():
    assert len(make_trainer().fit(Source(), epochs=2, steps=5).steps) == 5
    history = make_trainer().fit(Source(), epochs=1, steps=5)
    assert (len(history.steps), history.stopped) == (3, "epochs")


def test_schedule_sets_every_rate():
    schedule = Linear(0.1, 6, warmup=2)
    history = make_trainer(schedule=schedule).fit(Source(), steps=6)
    assert history.steps.column("lr").tolist() == [schedule(step) for step in range(6)]


def test_same_seeds_same_run():
    first, second = (make_trainer(text_network(dropout=0.3)).fit(Source(), epochs=2) for _ in range(2))
    assert measured(first) == measured(second)


def test_training_learns():
    trainer = make_trainer(optimizer=Adam(0.02), clip=ClipNorm(1.0), bptt=20)
    history = trainer.fit([draw_batch(400, 4)], epochs=8)
    losses = history.steps.column("loss")
    assert losses[-1] < 0.6 * losses[0]


def test_validation_touches_nothing():
    """A run that is validated in mid-stream is the run that is not."""
    runs = []
    for more in ({}, {"validation": Source(seed=5), "validate_every": 2}):
        trainer = make_trainer(text_network(dropout=0.3), bptt=5)
        runs.append(measured(trainer.fit(Source(starts=True), epochs=2, **more))[0])
        assert trainer.net.training
    assert runs[0] == runs[1]


@pytest.mark.parametrize("more", [{}, {"starts": True}, {"ragged": True}])
def test_evaluation_does_not_depend_on_the_segments(more):
    net = text_network(dropout=0.5, dtype="float64")
    values = [make_trainer(net, bptt=bptt).evaluate(Source(**more)) for bptt in (None, 1, 5, 12)]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


def test_evaluation_is_the_mean_over_all_valid_steps():
    net, loss = text_network(dropout=0.5, dtype="float64"), CrossEntropy()
    source = Source(ragged=True)
    total = weight = 0
    net.eval()
    for part in source.batches(0):
        count = loss.count(part.target, part.lengths)
        total += count * loss(net.forward(part.x, None, part.lengths)[0], part.target, part.lengths)[0]
        weight += count
    assert make_trainer(net).evaluate(source) == pytest.approx(total / weight, rel=1e-12)
    assert not net.training, "evaluation leaves the mode as it was"


def test_validation_falls_after_each_epoch_and_at_the_end():
    history = make_trainer().fit(Source(), steps=7, validation=Source())
    assert [row["step"] for row in history.validations] == [3, 6, 7]
    history = make_trainer().fit(Source(), steps=7, validation=Source(), validate_every=2)
    assert [row["step"] for row in history.validations] == [2, 4, 6, 7]


def test_plateau_learns_of_every_validation():
    schedule = Plateau(1e-9, factor=0.5, patience=1)
    history = make_trainer(schedule=schedule).fit(
        [draw_batch()], epochs=9, validation=[draw_batch(seed=1)], validate_every=1
    )
    assert history.steps[-1]["lr"] < 1e-9
    assert schedule.best == min(row["loss"] for row in history.validations)


def test_early_stopping_restores_the_best_parameters():
    """Too large a rate from step 4 on: training stops ``patience`` validations later, the best comes back."""
    validation = [draw_batch(seed=9)]
    net = text_network()
    seen = {}

    class Keep:
        def on_step(self, trainer):
            seen[trainer.step] = net.params.flat.copy()

    trainer = make_trainer(net, SGD(0.5), schedule=Step(0.2, 4, 1.0), monitor=Keep())
    trainer.schedule.factor = 150.0
    history = trainer.fit(Source(), epochs=50, validation=validation, validate_every=1, patience=3)
    losses = [row["loss"] for row in history.validations]
    best = int(np.argmin(losses))
    assert history.stopped == "patience"
    assert len(losses) == best + 1 + 3
    np.testing.assert_array_equal(net.params.flat, seen[best + 1])
    assert trainer.evaluate(validation) == losses[best]


@pytest.mark.parametrize("stop", [{"steps": 9}, {}])
def test_the_best_parameters_can_be_kept_without_patience(stop):
    """Training goes on to its end, or until a monitor stops it, and the best come back."""
    validation = [draw_batch(seed=9)]
    net, seen = text_network(), {}

    class Keep:
        def on_step(self, trainer):
            seen[trainer.step] = net.params.flat.copy()
            if trainer.step == 9 and not stop:
                trainer.stop("tired")

    trainer = make_trainer(net, SGD(30.0), monitor=Keep())
    history = trainer.fit(Source(), validation=validation, validate_every=1, keep_best=True, **stop)
    losses = [row["loss"] for row in history.validations]
    best = int(np.argmin(losses))
    assert history.stopped == ("steps" if stop else "tired")
    assert len(losses) == 9
    assert best < 8  # at this rate it does not only get better
    np.testing.assert_array_equal(net.params.flat, seen[best + 1])
    assert trainer.validating > 0


def test_a_stopped_run_goes_on_as_the_uninterrupted_one(tmp_path):
    class Stop:
        at = 5

        def on_step(self, trainer):
            if trainer.step == self.at:
                trainer.stop("monitor")

    whole, parts, path = text_network(dropout=0.3), text_network(dropout=0.3), tmp_path / "run"
    make_trainer(whole).fit(Source(), steps=11)
    assert make_trainer(parts, monitor=Stop(), checkpoint=path).fit(Source()).stopped == "monitor"
    assert make_trainer(parts, checkpoint=path).fit(Source(), steps=11, resume=True).stopped == "steps"
    np.testing.assert_array_equal(whole.params.flat, parts.params.flat)
    with pytest.raises(ValueError, match="reason is ''"):
        make_trainer().stop("")


@pytest.mark.parametrize("pooled", [True, False])
def test_predictions_come_in_the_order_of_the_collection(pooled, rng):
    ragged = [rng.integers(0, CLASSES, n) for n in rng.integers(1, 9, 30)]
    pool = [LastStep()] if pooled else []
    net = Network(Embedding(CLASSES, 3), LSTM(3, 4), Dropout(0.5), *pool, Dense(4, 2), dtype="float64")
    y = predict(net, RaggedSource(ragged, batch_size=4, waste=0.3))
    assert net.training
    assert len(y) == len(ragged)
    net.eval()
    for said, sequence in zip(y, ragged, strict=True):
        alone, _, _ = net.forward(sequence[:, None])
        np.testing.assert_allclose(said, alone[0] if pooled else alone[:, 0], atol=1e-12)


def test_step_clipping_is_in_force_while_training_lasts():
    net = text_network()
    clip = ClipStep(1e-4)
    history = make_trainer(net, clip=clip).fit(Source(), epochs=1)
    assert clip.calls == 3
    assert clip.clipped > 0
    assert 0 < clip.mean_factor < 1
    assert net.layers[1].clip_step == math.inf
    plain = make_trainer().fit(Source(), epochs=1)
    assert history.steps[0]["grad_norm"] < plain.steps[0]["grad_norm"]


class Raise:
    """A monitor that does something at one step."""

    def __init__(self, at, action):
        self.at, self.action, self.seen = at, action, []

    def on_step(self, trainer):
        self.seen.append(trainer.step)
        if trainer.step == self.at:
            self.action()


def interrupt():
    raise KeyboardInterrupt


def press():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("action", [interrupt, press])
def test_ctrl_c_ends_cleanly_with_the_work_saved(action, tmp_path):
    path = tmp_path / "run.safetensors"
    net = text_network().eval()
    trainer = make_trainer(net, monitor=Raise(4, action), checkpoint=path)
    history = trainer.fit(Source(), epochs=100)
    assert history.stopped == "interrupted"
    assert len(history.steps) == 4
    assert path.exists()
    assert not net.training
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert math.isfinite(trainer.evaluate(Source())), "an old Ctrl-C is forgotten"


def test_second_ctrl_c_ends_within_a_minibatch(tmp_path):
    """The half-done minibatch is not saved."""
    path = tmp_path / "run.safetensors"

    class Slow(CrossEntropy):
        calls = 0

        def __call__(self, *arguments):
            Slow.calls += 1
            if Slow.calls == 5:
                press()
                press()
            return super().__call__(*arguments)

    trainer = Trainer(text_network(), Slow(), Adam(), checkpoint=path, checkpoint_every=2, progress="off")
    history = trainer.fit(Source(), epochs=100)
    assert (history.stopped, len(history.steps)) == ("interrupted", 4)
    before = path.read_bytes()
    again = make_trainer(checkpoint=path)
    again.fit(Source(), steps=4, resume=True)
    assert before
    assert again.step == 4


def test_training_in_another_thread_leaves_signals_alone():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(make_trainer().fit(Source(), epochs=1)))
    thread.start()
    thread.join()
    assert len(histories[0].steps) == 3


def test_monitor_sees_every_step():
    monitor = Raise(None, None)
    make_trainer(monitor=monitor, accumulate=2).fit(Source(), epochs=2)
    assert monitor.seen == [1, 2, 3, 4]


def real_batch(steps=5, rows=2, seed=0):
    x, target = (np.random.default_rng(seed).standard_normal((steps, rows, n)).astype("f") for n in (3, 2))
    return batch(x, target)


def regression(**more):
    net = Network(LSTM(3, 4), Dropout(0.0), Dense(4, 2))
    return Trainer(net, SquaredError(), SGD(0.1), **{"progress": "off", **more})


def test_parameter_that_is_not_finite_is_named(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = regression(checkpoint=path, checkpoint_every=1)

    def spoil():
        trainer.net.params["0.weight_hh"][1, 2] = np.nan

    trainer.monitor = Raise(3, spoil)
    with pytest.raises(FloatingPointError, match=r"^step 3: the checkpoint is not .* '0\.weight_hh'$"):
        trainer.fit([real_batch()], steps=9)
    trainer = regression(checkpoint=path)
    trainer.fit([real_batch()], steps=2, resume=True)
    assert trainer.step == 2
    trainer.net.params["2.bias"][0] = np.inf
    with pytest.raises(FloatingPointError, match=r"^step 1: the loss is (nan|inf): a lower.*; .* '2\.bias'$"):
        trainer.fit([real_batch()], steps=9)


def test_loss_that_overflows_is_reported_before_anything_changes():
    trainer = regression()
    trainer.net.params["2.bias"][...] = 1e30
    before = trainer.net.params.flat.copy()
    with pytest.raises(FloatingPointError, match=r"^step 1: the loss is inf: .*; all parameters are fin"):
        trainer.fit([real_batch()], steps=1)
    np.testing.assert_array_equal(trainer.net.params.flat, before)


@pytest.mark.parametrize("clip", [None, ClipNorm(1.0), ClipValue(1.0)])
def test_gradient_that_is_not_finite_is_reported_before_anything_changes(clip):
    trainer = regression(clip=clip)

    class Spoil(L2):
        def __call__(self, params, grads):
            grads["2.weight"][0, 1] = np.nan
            return 0.0

    trainer.regularizers = [Spoil(0.1)]
    before = trainer.net.params.flat.copy()
    with pytest.raises(FloatingPointError, match=r"^step 1: the gradient is .* first in '2\.weight'"):
        trainer.fit([real_batch()], steps=1)
    np.testing.assert_array_equal(trainer.net.params.flat, before)


def test_bad_batch_changes_nothing():
    """The error says which batch, and the parameters are those of the last update."""
    trainer = make_trainer()
    good, bad = draw_batch(), draw_batch()
    bad.target = bad.target[:-1]
    with pytest.raises(ValueError, match="target has shape"):
        trainer.fit([good, bad], epochs=1)
    assert trainer.step == 1
    with pytest.raises(TypeError, match="batch 1 of epoch 0's x is a list"):
        trainer.fit([good, batch([[0]], good.target)], epochs=1)


def test_lines_are_plain_and_bars_need_a_terminal(capsys):
    make_trainer(progress="auto").fit(Source(), epochs=2, validation=Source())
    out, err = capsys.readouterr()
    assert not out
    assert [line.split()[:2] for line in err.splitlines()] == [["step", "3"], ["step", "6"]]
    assert "\r" not in err


def test_bar_shows_the_steps(capsys):
    pytest.importorskip("tqdm")
    make_trainer(progress="bar").fit(Source(), epochs=2, validation=Source())
    err = capsys.readouterr().err
    assert "6/6" in err
    assert "validation loss" in err


def test_a_bar_without_tqdm_is_refused_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "rnncore\[cli\]"'):
        make_trainer(progress="bar")


def test_off_is_silent(capsys):
    make_trainer(progress="off").fit(Source(), epochs=2, validation=Source())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"net": LSTM(2, 2)}, TypeError, "net is a LSTM"),
        ({"loss": CrossEntropy}, TypeError, "loss is <class"),
        ({"optimizer": "adam"}, TypeError, "optimizer is 'adam'"),
        ({"clip": 1.0}, TypeError, "clip is 1.0"),
        ({"clip": Adam()}, TypeError, "clip is Adam.*with a call is wanted"),
        ({"clip": [ClipNorm(1.0), None]}, TypeError, "clip is None"),
        ({"regularizer": 0.1}, TypeError, "regularizer is 0.1"),
        ({"schedule": 0.1}, TypeError, "schedule is 0.1"),
        ({"monitor": print}, TypeError, "monitor is <built-in"),
        ({"accumulate": 0}, ValueError, "accumulate is 0"),
        ({"accumulate": 1.5}, TypeError, "accumulate is 1.5"),
        ({"bptt": -1}, ValueError, "bptt is -1"),
        ({"progress": "loud"}, ValueError, "progress is 'loud'"),
        ({"checkpoint_every": 5}, ValueError, "checkpoint_every is given"),
        ({"checkpoint": "/no/such/folder/run"}, ValueError, "checkpoint is .* its folder does not exist"),
    ],
)
def test_bad_arguments_are_named(more, error, message):
    arguments = {"net": text_network(), "loss": CrossEntropy(), "optimizer": Adam(), **more}
    with pytest.raises(error, match=f"^{message}"):
        Trainer(**arguments)


def test_step_clipping_needs_a_recurrent_layer():
    with pytest.raises(ValueError, match="no recurrent layer"):
        Trainer(Network(Dense(2, CLASSES)), CrossEntropy(), Adam(), clip=ClipStep(1.0))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({}, ValueError, "neither epochs nor steps"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"steps": 2.0}, TypeError, "steps is 2.0"),
        ({"steps": 2, "patience": 3}, ValueError, "validate_every or patience"),
        ({"steps": 2, "keep_best": True}, ValueError, "no data to validate on"),
        ({"steps": 2, "resume": True}, ValueError, "resume is True"),
        ({"steps": 2, "validation": 3}, TypeError, "validation is a int"),
        ({"steps": 2, "train": {}}, TypeError, "train is a dict"),
        ({"steps": 2, "train": []}, ValueError, "train yields no batch"),
        ({"steps": 2, "validation": []}, ValueError, "yields no batch"),
    ],
)
def test_bad_calls_of_fit_are_named(more, error, message):
    with pytest.raises(error, match=message):
        make_trainer().fit(**{"train": Source(), **more})


def test_a_schedule_that_waits_for_validations_wants_some():
    trainer = make_trainer(schedule=Plateau(0.1))
    with pytest.raises(ValueError, match="the schedule is a Plateau, which waits for validations"):
        trainer.fit(Source(), steps=2)
    trainer.fit(Source(), steps=2, validation=Source())


def test_penalty_on_no_parameter_is_refused_at_once():
    with pytest.raises(ValueError, match=r"'\*\.weigth', which matches none"):
        make_trainer(regularizer=L2(0.1, "*.weigth"))
