"""The monitor: it changes nothing, sees what gradient_flow sees, warns once, and writes what it saw."""

import csv
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from training import Source, draw_batch, make_trainer, measured, text_network

from rnncore import ClipNorm, ClipParameter, ClipStep, CrossEntropy, Dense, Elman, Embedding, Network
from rnncore.diagnostics import GradientMonitor, GradientWarning, diagnose, gradient_flow


def trained(steps=12, net=None, monitor=None, **more):
    monitor = monitor or GradientMonitor(every=5, warn=False)
    trainer = make_trainer(net or text_network(dropout=0.2), monitor=monitor, **more)
    trainer.fit(Source(ragged=more.get("bptt") is None), steps=steps)
    return trainer, monitor


@pytest.mark.parametrize("bptt", [None, 5])
def test_training_is_not_changed_by_a_bit(bptt):
    watched, _ = trained(bptt=bptt, clip=ClipNorm(0.1))
    alone = make_trainer(text_network(dropout=0.2), bptt=bptt, clip=ClipNorm(0.1))
    alone.fit(Source(ragged=bptt is None), steps=12)
    assert measured(watched.history) == measured(alone.history)
    np.testing.assert_array_equal(watched.net.params.flat, alone.net.params.flat)
    assert watched.net.rng.bit_generator.state == alone.net.rng.bit_generator.state


def test_looks_come_early_and_then_every_so_often():
    trainer, monitor = trained(steps=16)
    assert monitor.column("step").tolist() == [2, 5, 10, 15]
    steps = trainer.history.steps
    for row in monitor.history:
        assert row["loss"] == steps[int(row["step"]) - 1]["loss"]
        assert row["grad_norm"] == steps[int(row["step"]) - 1]["grad_norm"]


def test_what_is_recorded_is_what_gradient_flow_measures():
    trainer, monitor = trained(steps=10)
    piece = trainer.piece
    flow = gradient_flow(trainer.net, piece.x, piece.target, CrossEntropy(), piece.lengths, trainer.entered)
    assert monitor.column("1.half_life")[-1] == max(flow["1"].half_life("c"), flow["1"].half_life("h"))
    assert monitor.column("1.reach")[-1] == max(flow["1"].reach("c"), flow["1"].reach("h"))
    np.testing.assert_array_equal(monitor.profiles[-1]["1"], flow["1"].left("c"))


def test_monitor_and_verdict_measure_the_same_under_the_same_name():
    trainer, monitor = trained(steps=10, monitor=GradientMonitor(every=5, rows=100, warn=False))
    piece = trainer.piece
    report = diagnose(trainer.net, piece, CrossEntropy(), trainer.entered)
    health = report.health["1"]
    want = {name: value for name, value in report.measures["1"].items() if f"1.{name}" in monitor.columns}
    assert {"reach", "half_life", "growth", "saturated", "dead"} <= set(want)
    assert {name: monitor.column(f"1.{name}")[-1] for name in want} == want
    assert want["saturated"] == health.saturated[health.gates.index("g")]
    gates = [health.saturated[health.gates.index(gate)] for gate in "ifo"]
    assert monitor.column("1.saturated_gates")[-1] == pytest.approx(np.mean(gates))


def test_update_ratios_are_the_latest_update_over_the_weights():
    class Spy(GradientMonitor):
        def on_step(self, trainer):
            params.append(trainer.net.params.flat.copy())
            super().on_step(trainer)

    params = []
    trainer, monitor = trained(monitor=Spy(every=5, warn=False))
    before, after = params[8], params[9]
    start = 0
    for name in trainer.net.params.names:
        part = slice(start, start + trainer.net.params[name].size)
        start = part.stop
        norm = np.linalg.norm(before[part])
        want = np.linalg.norm(after[part] - before[part]) / norm if norm else np.inf
        assert monitor.column(f"{name}.update_ratio")[-1] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize(("threshold", "share"), [(1e-9, 1.0), (1e6, 0.0)])
@pytest.mark.parametrize("clip", [ClipNorm, ClipParameter])
def test_clipped_is_the_share_of_updates_since_the_last_look(clip, threshold, share):
    _, monitor = trained(clip=clip(threshold))
    assert (monitor.column("clipped") == share).all()


def test_interventions_inside_bptt_are_counted():
    trainer, monitor = trained(clip=[ClipStep(1e-9), ClipStep(1.0), ClipNorm(1e6)])
    assert (monitor.column("clipped_steps") > 0).all()
    assert monitor.column("clipped_steps").sum() <= trainer.clips[0].clipped
    assert (monitor.column("clipped") == 0).all()


def sick(scale):
    net = Network(Embedding(7, 4), Elman(4, 5, "identity"), Dense(5, 7), seed=1)
    net.params["1.weight_hh"][...] *= scale
    return net


@pytest.mark.parametrize(("scale", "word"), [(0.05, "vanishes"), (2.0, "explodes")])
def test_one_warning_early_in_plain_words(scale, word):
    with pytest.warns(GradientWarning, match=rf"update 2, layer 1 \(Elman\): the gradient {word}") as caught:
        trained(steps=15, net=sick(scale), monitor=GradientMonitor(every=5))
    assert len(caught) == 1


def test_no_warning_for_a_healthy_network():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(steps=15, net=sick(1.0), monitor=GradientMonitor(every=5))


def test_a_resumed_run_has_the_history_of_one_that_never_stopped(tmp_path):
    path = tmp_path / "run.safetensors"
    _, whole = trained(steps=16)
    trained(steps=9, checkpoint=path, checkpoint_every=3)
    monitor = GradientMonitor(every=5, warn=False)
    trainer = make_trainer(text_network(dropout=0.2), monitor=monitor, checkpoint=path, checkpoint_every=3)
    trainer.fit(Source(ragged=True), steps=16, resume=True)
    assert json.dumps(monitor.history) == json.dumps(whole.history)
    for got, want in zip(monitor.profiles, whole.profiles, strict=True):
        np.testing.assert_array_equal(got["1"], want["1"])


def test_files_hold_what_was_measured(tmp_path):
    _, monitor = trained()
    monitor.to_csv(tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [float(row["1.growth"]) for row in rows] == monitor.column("1.growth").tolist()
    monitor.to_jsonl(tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == monitor.column("loss").tolist()
    assert len(lines[0]["profile.1"]) == len(monitor.profiles[0]["1"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_event_files_are_read_by_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    _, monitor = trained()
    monitor.to_tensorboard(tmp_path / "events")
    (path,) = (tmp_path / "events").iterdir()
    events = [event for event in LegacyEventFileLoader(str(path)).Load() if event.HasField("summary")]
    assert [event.step for event in events] == [2, 5, 10]
    values = {value.tag: value.simple_value for value in events[-1].summary.value}
    assert values["loss"] == pytest.approx(monitor.history[-1]["loss"])
    assert set(values) == set(monitor.history[-1])


def test_without_tensorboard_the_error_says_how_to_get_it(tmp_path):
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from rnncore.diagnostics import GradientMonitor\n"
        f"GradientMonitor().to_tensorboard({str(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "rnncore[tensorboard]"' in done.stderr


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="every is 0"):
        GradientMonitor(every=0)
    with pytest.raises(TypeError, match=r"rows is 1\.5"):
        GradientMonitor(rows=1.5)
    monitor = GradientMonitor()
    with pytest.raises(KeyError, match="no column 'loss'; there are none yet"):
        monitor.column("loss")
    with pytest.raises(ValueError, match="no layer with a recurrent state"):
        make_trainer(Network(Embedding(7, 7)), monitor=monitor).fit([draw_batch()], steps=3)
