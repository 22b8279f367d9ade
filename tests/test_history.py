"""The history: a table that reads like a list, and its three outer forms."""

import csv
import json
import math

import numpy as np
import pytest

from rnncore.trainer import History
from rnncore.trainer.history import Table


def filled(steps=40):
    history = History()
    for step in range(1, steps + 1):
        history.steps.append(step, 1 / step, float(step), 1e-3, 0.1 * step)
    history.validations.append(20, 0.5)
    history.validations.append(40, math.inf)
    history.stopped = "steps"
    return history


def test_rows_read_like_dictionaries():
    steps = filled().steps
    assert len(steps) == 40
    assert steps[0] == {"step": 1, "loss": 1.0, "grad_norm": 1.0, "lr": 1e-3, "seconds": 0.1}
    assert steps[-1]["step"] == 40
    assert isinstance(steps[-1]["step"], int)
    assert [row["step"] for row in steps[5:8]] == [6, 7, 8]
    assert [row["loss"] for row in steps] == steps.column("loss").tolist()
    with pytest.raises(IndexError):
        steps[40]
    with pytest.raises(KeyError, match="there are step, loss"):
        steps.column("losses")


def test_room_is_reserved_once():
    """With the number of steps known, no append moves the rows."""
    table = Table(("step", "loss"))
    table.append(0, 1.0)
    table.reserve(1000)
    place = table.array.ctypes.data
    for step in range(1, 1000):
        table.append(step, 0.0)
    assert table.array.ctypes.data == place
    assert table[0] == {"step": 0, "loss": 1.0}
    np.testing.assert_array_equal(table.column("step"), np.arange(1000))


def test_goes_through_json_unchanged():
    history = filled()
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


def test_csv_holds_every_step(tmp_path):
    history = filled()
    history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 41))
    assert [float(row["loss"]) for row in rows] == history.steps.column("loss").tolist()
    validated = {row["step"]: row["validation_loss"] for row in rows if row["validation_loss"]}
    assert validated == {"20": "0.5", "40": "inf"}


def test_empty_history_can_be_shown_and_written(tmp_path):
    history = History()
    assert "0 steps" in repr(history)
    history.to_csv(tmp_path / "history.csv")
    assert History.from_dict(history.to_dict()) == history
