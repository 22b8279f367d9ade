"""The campaign finds what it looks for, a short part of it finds nothing, and what it found stays away."""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "bench"))

from campaign import kept, subjects  # noqa: E402
from campaign.isolation import SANITIZED, Broken, Limits, Skip, isolated  # noqa: E402
from campaign.ledger import Ledger  # noqa: E402
from campaign.subjects import FORMATS, NAMES, Subject  # noqa: E402
from campaign.turns import Campaign  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
KEPT = sorted(Path(__file__).with_name("kept").glob("*.json"))
# Names and tries: seconds altogether, some of which are waiting.
PARTS = [
    (",".join(FORMATS), 30),
    ("interrupts,threads,forks,settings,calls,gradients,bits", 4),
    ("kills,disks,allocations", 1),
]


def throw(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: None, "passed"),
        (throw(ValueError("no")), "refused"),
        (throw(Skip("nothing")), "skipped"),
        (throw(KeyError("key")), "exception"),
        (throw(RecursionError()), "exception"),
        (throw(SystemExit(0)), "exception"),
        (throw(Broken("a promise")), "broken promise"),
        (os.abort, "crash"),
        (lambda: os._exit(3), "crash"),
        (lambda: ctypes.string_at(0), "crash"),
        (lambda: time.sleep(60), "hang"),
    ],
)
def test_every_way_to_fail_is_seen(call, kind):
    limits = Limits(0.2 if kind == "hang" else 1)
    outcome = isolated(call, limits)
    assert outcome.kind == kind
    assert outcome.fault == (kind not in ("passed", "refused", "skipped"))


def test_what_never_ends_is_ended():
    def loop():
        while True:
            pass

    assert isolated(loop, Limits(1)).kind in ("slow", "hang")  # as the machine has time for it, or not


@pytest.mark.skipif(SANITIZED, reason="sanitizers reserve all addresses")
def test_memory_is_limited_and_a_memory_error_is_seen_behind_any_other():
    def much():
        try:
            bytearray(80_000_000)
        except MemoryError as error:
            raise ValueError("no room") from error

    assert isolated(much, Limits(memory=50_000_000)).kind == "memory"
    assert isolated(much, Limits(memory=500_000_000)).kind == "passed"


def test_what_fails_is_counted_kept_and_becomes_a_test(tmp_path, monkeypatch):
    def run(rng, path):
        if path.read_bytes() == b"bad":
            raise KeyError(path.name)

    def make(rng):
        return b"bad" if rng.random() < 0.5 else b"good"

    made = Subject("models", "made up", run, make, suffix=".txt")
    monkeypatch.setattr(kept, "subject", lambda name: made)
    monkeypatch.setattr(kept, "TESTS", tmp_path / "tests")
    ledger = Ledger(tmp_path / "ledger.json", seed=1)
    Campaign([made], ledger, tmp_path).tries(30)
    row = ledger.rows["models"]
    assert 5 < row.faults < 25
    assert (row.tries, row.number, list(row.kinds.values())) == (30, 30, [row.faults])
    assert f"| models | made up | 30 | 0 | {row.seconds:.0f} | {row.faults} |" in ledger.table(
        {"models": "made up"}
    )
    (place,) = (tmp_path / "kept").iterdir()
    assert len(list(place.glob("*.json"))) == kept.EACH
    (test,) = kept.make_tests(tmp_path / "kept")
    assert kept.read(test).again().kind == "exception"

    again = Ledger(tmp_path / "ledger.json", seed=9)
    again.resume()
    assert (again.seed, again.rows) == (1, ledger.rows)
    Campaign([made], again, tmp_path).tries(3)
    assert again.rows["models"].number == 33


@pytest.mark.parametrize("name", NAMES)
def test_every_subject_is_described(name):
    found = subjects.subject(name)
    assert found.name == name
    assert found.about
    assert (found.make is not None) == (name in FORMATS)


@pytest.mark.parametrize(("names", "tries"), PARTS, ids=["files", "calls", "processes"])
def test_a_short_campaign_finds_nothing(names, tries, tmp_path):
    place = str(Path(rnncore.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": place}
    command = [sys.executable, str(ROOT / "bench" / "campaign"), "--tries", str(tries), "--only", names]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "ledger.json").read_text())["rows"]
    assert list(rows) == names.split(",")
    for name, row in rows.items():
        if name in FORMATS and not subjects.subject(name).lacks():
            assert 0 < row["refused"] < row["tries"], f"{name}: all are refused, or none"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_was_found_stays_away(path):
    failure = kept.read(path)
    if lacking := subjects.subject(failure.subject).lacks():
        pytest.skip(f"no {lacking}")
    outcome = failure.again()
    assert not outcome.fault, f"{outcome.kind}: {outcome.what} ({outcome.where})\n{outcome.details}"
