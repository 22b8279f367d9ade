"""Checkpoints: a resumed run is the run that never stopped, and a bad file changes nothing."""

import json
import os
import signal

import numpy as np
import pytest
from training import Source, draw_batch, make_trainer, measured, text_network

from rnncore.clipping import ClipNorm, ClipStep
from rnncore.files import read_tensors
from rnncore.losses import CrossEntropy
from rnncore.optimizers import SGD, Adam, RMSprop
from rnncore.regularizers import L1, NormStabilizer
from rnncore.schedules import Constant, Plateau
from rnncore.trainer import Trainer

EPOCHS = 3
VALIDATION = [draw_batch(30, 2, seed=77)]


class Counting(CrossEntropy):
    """Presses Ctrl-C at one call: training stops after that minibatch, or evaluation after that segment."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.calls = at, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__call__(*arguments)


class Run:
    """One configuration of a training run, made anew as often as needed."""

    def __init__(self, cell, optimizer, accumulate, bptt, patience, validate_every, **source):
        self.cell, self.optimizer, self.accumulate, self.bptt = cell, optimizer, accumulate, bptt
        self.fit = {"epochs": EPOCHS, "validation": VALIDATION}
        self.fit |= {"validate_every": validate_every, "patience": patience}
        self.source = source

    def trainer(self, path, stop=None, seed=1):
        return Trainer(
            text_network(self.cell, dropout=0.3, seed=seed),
            Counting(stop),
            self.optimizer(),
            clip=[ClipNorm(0.5), ClipStep(0.05)],
            accumulate=self.accumulate,
            bptt=self.bptt,
            schedule=Plateau(0.02, 0.5, 0),
            regularizer=[L1(1e-3), NormStabilizer(0.1)],
            checkpoint=path,
            checkpoint_every=None if path is None else 1000,
            progress="off",
        )

    def train(self, trainer, resume=False):
        return trainer.fit(Source(steps=13, **self.source), resume=resume, **self.fit)


RUNS = {
    "segments": Run("lstm", Adam, 1, 4, None, 3, starts=True, batches=1),
    "accumulated": Run("gru", lambda: RMSprop(momentum=0.5), 3, 5, None, 2, ragged=True, batches=2),
    "whole": Run("elman", lambda: SGD(0.1, 0.9, True), 2, None, 5, None, batches=3),
    "windows of noisy units": Run("noisy", Adam, 2, (3, 6), None, 2, starts=True, batches=1),
    "skips": Run("skip", Adam, 1, (2, 5), None, 3, starts=True, ragged=True, batches=1),
}


def result(trainer, history):
    """All that must be equal, bit for bit."""
    return {
        "params": trainer.net.params.flat.tobytes(),
        "optimizer": {name: np.asarray(value).tobytes() for name, value in trainer.optimizer.state().items()},
        "schedule": trainer.schedule.state(),
        "clips": [clip.state() for clip in trainer.clips],
        "rng": trainer.net.rng.bit_generator.state,
        "history": measured(history),
        "stopped": history.stopped,
    }


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_resumed_run_is_the_uninterrupted_one(run, tmp_path):
    """Stopped after every possible minibatch and in every validation, within windows and batches too."""
    trainer = run.trainer(None)
    wanted = result(trainer, run.train(trainer))
    calls = trainer.loss.calls
    assert calls > 10
    unfinished = 0
    for stop in range(1, calls):
        path = tmp_path / f"{stop}.safetensors"
        first = run.trainer(path, stop)
        stopped = run.train(first)
        if stopped.stopped != "interrupted":
            continue  # the last validation, behind the end of the run
        unfinished += first._run.position.window > 0
        second = run.trainer(path, seed=99)
        assert result(second, run.train(second, resume=True)) == wanted, f"stopped in call {stop}"
    assert run.accumulate == 1 or unfinished, "no run was stopped within a window"


def test_run_may_be_resumed_again_and_again(tmp_path):
    """A process that dies every nine passes, a few more than a validation takes, gets there all the same."""
    run, path = RUNS["accumulated"], tmp_path / "run.safetensors"
    trainer = run.trainer(None)
    wanted = result(trainer, run.train(trainer))
    history = run.train(trainer := run.trainer(path, 9))
    resumed = 0
    while history.stopped == "interrupted" and resumed < 20:
        history = run.train(trainer := run.trainer(path, 9), resume=True)
        resumed += 1
    assert resumed > 3
    assert result(trainer, history) == wanted


@pytest.mark.parametrize("first", [1, 2, 3, 4, 7, 8])
def test_finished_run_can_be_gone_on_with(first, tmp_path):
    """Steps in two calls of fit are steps in one; the validation at the end of the first leaves no trace."""
    path = tmp_path / "run.safetensors"
    more = {"validation": VALIDATION, "patience": 100}

    def trainer(**arguments):
        return make_trainer(text_network(dropout=0.2), schedule=Plateau(0.05, 0.5, 0), **arguments)

    whole = trainer()
    wanted = result(whole, whole.fit(Source(), steps=8, **more))
    one = trainer(checkpoint=path)
    assert one.fit(Source(), steps=first, **more).validations[-1]["step"] == first
    two = trainer(checkpoint=path)
    assert result(two, two.fit(Source(), steps=8, resume=True, **more)) == wanted


@pytest.mark.parametrize("again", [1e-2, 3e-3])
def test_a_rate_given_anew_counts_and_one_that_was_not_goes_on(again, tmp_path):
    """A monitor divides the rate; a resumed run goes on with that, but with another one if it is told so."""

    class Halving:
        def on_step(self, trainer):
            trainer.optimizer.lr /= 2

    def trainer(lr):
        return make_trainer(optimizer=Adam(lr), checkpoint=tmp_path / "run", monitor=Halving())

    trainer(1e-2).fit(Source(), steps=3)
    first = trainer(again)
    rates = first.fit(Source(), steps=5, resume=True).steps.column("lr")
    begin = 1e-2 / 8 if again == 1e-2 else again
    np.testing.assert_allclose(rates[3:], [begin, begin / 2])
    assert first.fit(Source(), steps=6, resume=True).steps[-1]["lr"] == begin / 4  # without a restart
    assert trainer(again).fit(Source(), steps=7, resume=True).steps[-1]["lr"] == begin / 8


def test_a_run_goes_on_with_rows_as_they_were(tmp_path):
    def trainer():
        return make_trainer(bptt=4, checkpoint=tmp_path / "run")

    trainer().fit(Source(), steps=2)
    resumed = trainer()
    before = resumed.net.params.flat.copy()
    with pytest.raises(ValueError, match="x has 5 rows, but the checkpoint was written amid 3"):
        resumed.fit(Source(rows=5), steps=4, resume=True)
    assert not np.array_equal(resumed.net.params.flat, before)  # those of the file: step 2
    assert resumed.step == 2


def test_every_so_many_steps_a_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    steps = []

    class Look:
        def on_step(self, trainer):
            steps.append(read_tensors(path)[1]["position"]["step"] if path.exists() else 0)

    make_trainer(checkpoint=path, checkpoint_every=2, monitor=Look()).fit(Source(), steps=7)
    assert steps == [0, 0, 2, 2, 4, 4, 6]
    assert read_tensors(path)[1]["position"]["step"] == 7


def test_monitor_with_a_state_is_part_of_the_run(tmp_path):
    path = tmp_path / "run.safetensors"

    class Monitor:
        def __init__(self):
            self.norms = np.zeros(0)

        def on_step(self, trainer):
            self.norms = np.append(self.norms, trainer.history.steps[-1]["grad_norm"])

        def state(self):
            return {"norms": self.norms, "version": 1}

        def load_state(self, state):
            self.norms = state["norms"]

    make_trainer(checkpoint=path, monitor=Monitor()).fit(Source(), steps=3)
    monitor = Monitor()
    history = make_trainer(checkpoint=path, monitor=monitor).fit(Source(), steps=5, resume=True)
    np.testing.assert_array_equal(monitor.norms, history.steps.column("grad_norm"))


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    make_trainer(checkpoint=path).fit(Source(), steps=2)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make_trainer(checkpoint=path).fit(Source(), steps=3)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_a_checkpoint_that_cannot_be_written_is_known_before_the_first_update(tmp_path):
    for path in ("/proc/x", tmp_path / ("x" * 300), tmp_path):
        trainer = make_trainer(checkpoint=path)
        before = trainer.net.params.flat.copy()
        with pytest.raises(OSError, match=os.path.basename(path)):
            trainer.fit(Source(), steps=3)
        np.testing.assert_array_equal(trainer.net.params.flat, before)


@pytest.fixture
def written(tmp_path):
    """A checkpoint after 2 steps, half a window, with a carried state."""
    path = tmp_path / "run.safetensors"
    more = {"accumulate": 2, "bptt": 5, "checkpoint": path, "progress": "off"}
    trainer = Trainer(text_network(), Counting(5), Adam(), **more)
    assert trainer.fit(Source(), epochs=2).stopped == "interrupted"
    return path


def resume(path, net=None, **more):
    """Resume; if that fails, nothing may have changed."""
    arguments = {"accumulate": 2, "bptt": 5, "checkpoint": path, **more}
    trainer = make_trainer(net, **arguments)
    before, rng = trainer.net.params.flat.copy(), trainer.net.rng.bit_generator.state
    state = json.dumps(trainer.optimizer.state())
    try:
        return trainer.fit(Source(), epochs=2, resume=True)
    except (ValueError, OSError):
        np.testing.assert_array_equal(trainer.net.params.flat, before)
        assert trainer.net.rng.bit_generator.state == rng
        assert json.dumps(trainer.optimizer.state()) == state
        raise


def test_sound_file_is_read(written):
    assert len(resume(written).steps) == 10


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cell": "gru"}, "another network: layer 1 is {'type': 'LSTM', .*}, here {'type': 'GRU', "),
        ({"dtype": "float64"}, "is float32 .*, but the network's parameters are float64"),
        ({"optimizer": SGD(0.1)}, "written with optimizer 'Adam', but this run has optimizer 'SGD'$"),
        ({"accumulate": 3}, "with accumulate 2, but this run has accumulate 3$"),
        ({"bptt": None}, "bptt 5, but this run has bptt None"),
        ({"schedule": Constant(0.1)}, "this run has schedule 'Constant'"),
        ({"clip": ClipNorm(1.0)}, "this run has clip0 'ClipNorm'"),
    ],
)
def test_checkpoint_of_another_run_is_refused(written, more, message):
    architecture = {name: more[name] for name in ("cell", "dtype") if name in more}
    settings = {name: value for name, value in more.items() if name not in architecture}
    with pytest.raises(ValueError, match=message):
        resume(written, text_network(**architecture), **settings)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        resume(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 0.5, -1])
def test_truncated_file_is_one_clear_error(written, keep):
    data = written.read_bytes()
    written.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"^.*run\.safetensors"):
        resume(written)


def change(path, edit):
    """Write the file again with other contents, as someone who knows the format would."""
    from rnncore.files import write_tensors

    tensors, metadata = read_tensors(path)
    edit(tensors, metadata)
    write_tensors(path, tensors, metadata)


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


FORGERIES = {
    "no position": lambda t, m: m.pop("position"),
    "position of another type": lambda t, m: m["position"].update(step="3"),
    "negative batch": lambda t, m: m["position"].update(batch=-1),
    "no generators": lambda t, m: m.pop("generators"),
    "another generator": lambda t, m: m["generators"]["network"].update(bit_generator="MT19937"),
    "generator of text": lambda t, m: m["generators"].update(network="PCG64"),
    "state that is not there": lambda t, m: m.update(carry=[99]),
    "carry of text": lambda t, m: m.update(carry=["x"]),
    "carry without end": lambda t, m: m.update(carry=nested(900)),
    "carry too deep for a state": lambda t, m: m.update(carry=nested(300)),
    "carry of infinity": lambda t, m: m.update(carry=[float("inf")]),
    "carry of one axis": lambda t, m: t.update({key: t[key][..., 0] for key in t if "state." in key}),
    "carry of fewer units": lambda t, m: t.update({key: t[key][..., 1:] for key in t if "state." in key}),
    "layers without end in each other": lambda t, m: m.update(layers=nested(900)),
    "settings without end in each other": lambda t, m: m["settings"].update(bptt=nested(900)),
    "generator of too many bits": lambda t, m: m["generators"]["network"]["state"].update(state=2**200),
    "generator below 0": lambda t, m: m["generators"]["network"]["state"].update(inc=-1),
    "steps beyond all counts": lambda t, m: m["position"].update(step=2**63),
    "time beyond all counts": lambda t, m: m["position"].update(time=10**4000),
    "no gradient": lambda t, m: t.pop("grads"),
    "no history": lambda t, m: t.pop("history.steps"),
    "history of another shape": lambda t, m: t.update({"history.steps": np.zeros(3)}),
    "no parameters": lambda t, m: t.pop("params"),
    "fewer parameters": lambda t, m: t.update(params=t["params"][:-1]),
    "parameters in double": lambda t, m: t.update(params=t["params"].astype("d")),
    "fewer means": lambda t, m: t.update({"optimizer.mean": t["optimizer.mean"][:-1]}),
    "no means": lambda t, m: t.pop("optimizer.mean"),
    "another buffer": lambda t, m: t.update({"optimizer.third": t["optimizer.mean"]}),
    "rate of text": lambda t, m: m["parts"]["optimizer"]["state"].update(lr="fast"),
    "parts of text": lambda t, m: m.update(parts="optimizer"),
    "part of text": lambda t, m: m["parts"].update(optimizer="Adam"),
    "another kind": lambda t, m: m.update(kind="model"),
    "another version": lambda t, m: m.update(version=99),
    "a version without end": lambda t, m: m.update(version="9" * 5000),
    "layers without end": lambda t, m: m.update(layers=["x"] * 5000),
    "settings without end": lambda t, m: m["settings"].update(accumulate="x" * 5000),
    "parts without end": lambda t, m: m["parts"].update(optimizer={"type": "x" * 5000}),
    "a position without end": lambda t, m: m.update(position="x" * 5000),
}


@pytest.mark.parametrize("edit", FORGERIES.values(), ids=FORGERIES)
def test_forged_file_is_one_clear_error(written, edit):
    change(written, edit)
    with pytest.raises(ValueError, match=r"run\.safetensors") as caught:
        resume(written)
    assert len(str(caught.value)) < 1500
