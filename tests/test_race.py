"""The race against other libraries, run with made-up ones: what is checked, kept, and said of the results.

How fast anything is, is not tested.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnncore

pytest.importorskip("click")
pytest.importorskip("tqdm")

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

from race import __main__ as command
from race import grid, measure, ours, picture, problem, report, summary
from race.crew import Crew
from race.grid import Case, Entrant
from race.results import Results, key

CASE = Case("gru", "training", 3, 2, 4, 5)
MACHINE = {"processor": "abacus", "cores": 2, "caches": "", "system": "wood"}
VERSIONS = {"rnncore": "1", "build": "a", "instruction set": "beads", "numpy": "2"}
PLAN = measure.Plan(rounds=2, seconds=1e-4)

# A library as the worker wants it: the reference's results, after what LIBRARY says has been done to them.
LIBRARY = """
import os
from race import ours

def start(threads):
    return {{"{name}": "1"}}

class Layer(ours.Layer):
    def __init__(self, library, problem):
        super().__init__("reference", problem)

    def arrays(self, mode):
        arrays = super().arrays(mode)
        {deed}
        return arrays
"""
DEEDS = {
    "right": "pass",
    "wrong": "arrays['weight_hh'] = arrays['weight_hh'][::-1]",
    "dying": "os._exit(3)",
    "raising": "raise ValueError('no such cell')",
}


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """The load of the machine that runs the tests is nobody's business, and takes its time to measure."""
    monkeypatch.setattr(command.machine, "busy", lambda: 0.25)


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    """One case, run by rnncore, the reference, and libraries that fail in every way they can."""
    folder = tmp_path_factory.mktemp("libraries")
    for name, deed in DEEDS.items():
        (folder / f"{name}.py").write_text(LIBRARY.format(name=name, deed=deed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(rnncore.__file__).parents[1])]))
        libraries = ("reference", "rnncore", *DEEDS, "unheard_of")
        with Crew(grid.entrants((1,), libraries), []) as crew:
            record = measure.measure(CASE, crew, PLAN, folder)
            left = {entrant.library for entrant in crew.workers}
            crew.revive()
            revived = {entrant.library for entrant in crew.workers}
            yield {"record": record, "absent": crew.absent, "left": left, "revived": revived}


def test_those_that_agree_with_the_reference_are_timed(race):
    record = race["record"]
    assert set(record["seconds"]) == {"reference", "rnncore", "right"}
    assert all(counts["1"] > 0 for counts in record["seconds"].values())
    assert record["differences"]["rnncore"]["1"] < 1e-5
    assert record["differences"]["right"]["1"] == 0


def test_one_that_computes_something_else_is_named_and_not_timed(race):
    assert race["record"]["missing"]["wrong"]["1"].startswith("DIFFERS: weight_hh")


def test_one_that_dies_or_raises_is_reported_and_the_race_goes_on(race):
    assert race["record"]["missing"]["raising"]["1"] == "ValueError: no such cell"
    assert race["record"]["missing"]["dying"]["1"].startswith("ended with status 3")
    assert race["left"] == {"reference", "rnncore", *DEEDS} - {"dying"}
    assert race["revived"] == {"reference", "rnncore", *DEEDS}


def test_one_that_is_not_installed_is_absent(race):
    assert race["absent"] == {Entrant("unheard_of", 1): "ModuleNotFoundError: No module named 'unheard_of'"}


def record(case=CASE, **seconds):
    """A record with these seconds, each library on one thread and twice as fast on two."""
    times = {library: {"1": time, "2": time / 2} for library, time in seconds.items()}
    return {**case.asdict(), "seconds": times, "rounds": {}, "differences": {}, "missing": {}}


TIMES = st.floats(1e-6, 10)


@given(TIMES, TIMES, TIMES, TIMES)
def test_ratio_is_the_fastest_peers_time_over_ours(own, torch, jax, onnx):
    measured = {"rnncore": own, "torch": torch, "jax": jax, "onnxruntime": onnx}
    training = record(**measured)
    inference = record(Case("gru", "inference", 3, 2, 4, 5), **measured)
    assert summary.ratio(training, 1) == min(torch, jax) / own
    assert summary.ratio(inference, 1) == min(torch, jax, onnx) / own
    assert summary.ratio(training, 2) == pytest.approx(summary.ratio(training, 1))
    assert summary.scaling(training, 2) == pytest.approx(2)
    assert summary.ratio(record(rnncore=own, torch=torch), 1) == torch / own
    assert summary.ratio(record(rnncore=own), 1) is None
    assert summary.ratio(record(torch=torch), 1) is None


@given(st.lists(TIMES, min_size=1))
def test_the_mean_of_reciprocals_is_the_reciprocal_of_the_mean(values):
    found, turned = summary.spread([*values, None]), summary.spread(1 / value for value in values)
    assert found.mean * turned.mean == pytest.approx(1)
    assert found.least == min(values)
    assert found.number == len(values)


def test_spread_of_nothing_is_none():
    assert summary.spread([None]) is None


def test_a_case_at_the_peak_is_a_fraction_of_one():
    case = Case("lstm", "training", 100, 32, 128, 256)
    content = {"peak": [{"threads": 1, "gflops": rate} for rate in (90.0, 100.0, 400.0)], "cases": []}
    assert summary.fraction(content, record(case, rnncore=case.flops / 100e9), 1) == pytest.approx(1)
    assert summary.fraction(content, record(case, rnncore=1.0), 2) is None
    # Forward, and on the way back as much again for x and h, and for the weights.
    assert case.flops == 3 * Case("lstm", "inference", 100, 32, 128, 256).flops
    assert case.flops == 3 * 2 * 100 * 32 * 4 * 256 * (128 + 256)


def test_the_grid_has_every_cell_mode_and_shape_once():
    cases = grid.cases()
    assert len(set(cases)) == len(cases) == 3 * 2 * 4 * 5
    assert {case.T for case in cases} == {20, 100}
    assert {(entrant.library, entrant.threads) for entrant in grid.entrants((1, 2))} == {
        ("reference", 1), ("c", 1),
        *((name, n) for name in ("rnncore", "torch", "jax", "onnxruntime") for n in (1, 2)),
    }  # fmt: skip


def test_what_goes_beyond_the_grid_is_there_once_and_is_of_a_kind():
    cases = grid.further()
    assert len(set(cases)) == len(cases)
    assert {case.kind for case in cases} == set(grid.KINDS)
    assert {case.T for case in cases if case.kind == "last"} == {100, 1000, 5000}
    assert {case.mode for case in grid.further(modes=("inference",))} == {"inference"}
    assert not set(cases) & set(grid.cases())
    entrants = [str(entrant) for entrant in grid.entrants((1, 2)) if entrant.takes(cases[-1])]
    assert entrants == ["NumPy reference, 1 thread", "rnncore, 1 thread", "C file, 1 thread"]


@pytest.mark.parametrize("cell", grid.GATES)
@pytest.mark.parametrize("kind", grid.KINDS)
def test_reference_and_kernels_agree_on_every_kind(cell, kind):
    mode = next(case.mode for case in grid.further(kinds=(kind,)))
    drawn = problem.draw(Case(cell, mode, problem.SOUND + 3, 2 if mode != "stream" else 1, 4, 5, kind))
    if kind == "trained":
        drawn.weights, before = ours.trained(drawn), drawn.weights
        assert problem.differences(drawn.weights, before)["weight_hh"] > 0.01
    wanted, came = (ours.Layer(library, drawn).arrays(mode) for library in ("reference", "rnncore"))
    assert max(problem.differences(came, wanted).values()) < 1e-5


@pytest.mark.parametrize("cell", grid.GATES)
def test_kinds_are_what_they_say(cell):
    def drawn(kind, mode="training"):
        return problem.draw(Case(cell, mode, problem.SOUND + 3, 2, 4, 5, kind))

    every, last, quiet, silence = map(drawn, ("every", "last", "quiet", "silence"))
    assert every.dy.all()
    assert last.dy[-1].all()
    assert not last.dy[:-1].any()
    assert 0 < np.abs(quiet.x).max() < np.finfo(np.float32).tiny
    assert silence.x[: problem.SOUND].all()
    assert not silence.x[problem.SOUND :].any()
    assert not silence.weights["bias"].any()
    assert silence.weights["weight_hh"].all()
    assert ours.Layer("rnncore", drawn("both", "inference")).arrays("inference")["y"].shape[-1] == 10


@pytest.mark.parametrize("cell", grid.GATES)
def test_all_processes_draw_the_same_numbers(cell):
    case = Case(cell, "training", 3, 2, 4, 5)
    one, other = problem.draw(case), problem.draw(case)
    assert problem.differences(one.weights, other.weights) == dict.fromkeys(one.weights, 0.0)
    assert problem.differences({}, one.weights) == dict.fromkeys(one.weights, float("inf"))


class FakeCrew:
    """Libraries that answer at once; counts what they prepare, and ends the race after ``end`` cases."""

    def __init__(self, end=None):
        self.workers = dict.fromkeys(grid.entrants((1, 2), ("reference", "rnncore", "torch")))
        self.absent, self.prepared, self.end = {}, [], end

    def send(self, entrant, do, **request):
        if do == "prepare" and entrant == Entrant("rnncore", 1):
            if len(self.prepared) == self.end:
                raise KeyboardInterrupt
            self.prepared.append(Case(**request["case"]))
        self.reply = {"seconds": 1e-3 * entrant.threads, "gflops": 100.0, "differences": {"y": 0.0}}

    def receive(self, entrant):
        return self.reply

    def ask(self, entrant, do, **request):
        self.send(entrant, do, **request)
        return self.receive(entrant)

    def revive(self):
        pass


def opened(path, fresh=False, **versions):
    return Results.open(path, MACHINE, {**VERSIONS, **versions}, fresh)


def test_a_race_that_was_ended_goes_on_where_it_was(tmp_path):
    path, wanted = tmp_path / "race.json", grid.cases(batch=(1,), hidden=(32,))
    first, second, third = FakeCrew(end=4), FakeCrew(), FakeCrew()
    with pytest.raises(KeyboardInterrupt):
        command.run(wanted, first, opened(path), PLAN)
    assert [key(old) for old in opened(path).content["cases"]] == [key(case.asdict()) for case in wanted[:4]]
    command.run(wanted, second, opened(path), PLAN)
    assert first.prepared + second.prepared == wanted
    command.run(wanted, third, opened(path), PLAN)
    assert third.prepared == []
    assert [path.name for path in tmp_path.iterdir()] == ["race.json"]


def test_a_library_that_comes_later_is_raced_with_all_others(tmp_path):
    path, wanted = tmp_path / "race.json", [CASE]
    results, crew = opened(path), FakeCrew()
    command.run(wanted, crew, results, PLAN)
    assert not results.lacks(CASE, crew.workers)
    assert results.lacks(CASE, [*crew.workers, Entrant("jax", 1)])
    assert not results.lacks(CASE, [*crew.workers, Entrant("onnxruntime", 1)])  # which does not train


@pytest.mark.parametrize("change", [{"fresh": True}, {"build": "b"}, {"numpy": "3"}])
def test_what_cannot_be_continued_is_kept_aside(tmp_path, change):
    path = tmp_path / "race.json"
    results = opened(path)
    results.add(record(rnncore=1.0))
    results.save()
    assert opened(path, torch="2").content["cases"]  # a library that is new changes nothing
    assert opened(path, **change).content["cases"] == []
    assert json.loads((tmp_path / "race.json.bak").read_text()) == results.content


def test_reports_hold_every_case_and_every_gap(tmp_path):
    results = opened(tmp_path / "race.json")
    command.run(grid.cases(batch=(1, 32), hidden=(32, 128)), FakeCrew(), results, PLAN)
    command.run(grid.further(), FakeCrew(), results, PLAN)
    slow = record(CASE, rnncore=2.0, torch=1.0, jax=3.0)
    slow["missing"] = {"onnxruntime": {"1": "ended with status 3"}}
    results.add(slow)
    results.content["absent"] = {"JAX, 1 thread": "ModuleNotFoundError"}
    text = report.report(results.content)
    for old in results.content["cases"]:
        if old["kind"] != "grid":
            continue
        name = f"{report.CELLS[old['cell']]} T{old['T']} B{old['B']} H{old['H']}"
        assert text.count(f"| {name} |") == (4 if old is not slow else 2), name
    assert f"| {CASE} | 1 | PyTorch | 0.50 |" in text
    assert "- JAX, 1 thread: ModuleNotFoundError" in text
    assert "used up to 25% of it" in text
    assert text.count("| LSTM T100 B8 I16 H64 | 1.00 / 1.00 | 1.00 / 1.00 | 1 | 1 | – |") == 2  # two weights
    assert "| GRU T1 B1 I50 H50 | 1.00 / 1.00 | 1 | – | 1 | – |" in text
    assert "| LSTM T2048 B1 I1 H8 | – / – | 1 | – |" in text  # no C file here
    assert f"- ONNX Runtime, 1 thread, {CASE}: ended with status 3" in text
    quoted = report.fragment(results.content)
    assert quoted.count("| B32 H128 |") == 2
    rows = [line for line in quoted.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5}
    pytest.importorskip("matplotlib")
    picture.draw(results.content, tmp_path / "race.png")
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")


def test_reports_of_nothing_say_so(tmp_path):
    text = report.report(opened(tmp_path / "race.json").content)
    assert "not measured" in text
    assert "| yes |" not in text


@pytest.mark.parametrize(
    "words", ["--cells lstm,rnn", "--batch 0", "--hidden x", "--rounds 0", "--kinds loud"]
)
def test_bad_options_are_refused_before_anything_starts(words):
    import click

    with pytest.raises(click.UsageError):
        command.main.make_context("race", words.split())
