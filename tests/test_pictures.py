"""Pictures: they show what the history holds, draw where they are told, leave the user's backend alone."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnncore import pictures
from rnncore.trainer import History

pytest.importorskip("matplotlib")


def make_history(updates, validations=(), norm=0.5):
    history = History()
    for step in range(1, updates + 1):
        history.steps.append(step, 3 / step**0.5, norm, 1e-3, step)
    for step, loss in validations:
        history.validations.append(step, loss)
    return history


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)), st.integers(1, 80))
def test_a_running_mean_stays_between_its_neighbours(values, window):
    mean = pictures.running_mean(values, window)
    for i in range(len(values)):
        near = values[max(i - window // 2, 0) : i + window // 2 + 1]
        assert mean[i] == pytest.approx(near.mean(), abs=1e-9)


def test_the_curves_are_the_history_in_the_unit_that_was_asked_for():
    history = make_history(30, [(10, 2.0), (20, 1.5), (30, 1.75)])
    above, below = pictures.training_picture(history, threshold=0.4, scale=2, label="double losses")
    np.testing.assert_array_equal(lines(above)["training"][:, 1], 2 * history.steps.column("loss"))
    np.testing.assert_array_equal(lines(above)["validation"], [[10, 4], [20, 3], [30, 3.5]])
    np.testing.assert_array_equal(lines(below)["before clipping"][:, 1], history.steps.column("grad_norm"))
    (threshold,) = (line for name, line in lines(below).items() if name.startswith("clip threshold 0.4"))
    assert (threshold[:, 1] == 0.4).all()
    assert any("100%" in name for name in lines(below))
    assert above.get_ylabel() == "double losses"
    assert "norm" in below.get_ylabel()
    assert below.get_xlabel() == "update"
    assert "3.000" in [text.get_text() for text in above.texts]


def test_many_updates_are_smoothed():
    history = make_history(1000)
    above, _ = pictures.training_picture(history)
    np.testing.assert_allclose(
        lines(above)["training (mean of 20)"][:, 1], pictures.running_mean(history.steps.column("loss"), 20)
    )


@pytest.mark.parametrize("history", [make_history(1), make_history(3, norm=0.0), make_history(2, [(0, 1.0)])])
def test_whatever_was_trained_can_be_drawn(history, tmp_path):
    path = tmp_path / "picture.png"
    pictures.save_picture(path, pictures.training_picture(history, references={"trigram": 1.2}))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_axes_of_the_caller_are_drawn_into_and_returned():
    axes = pictures.new_figure(4, 4).subplots(2)
    above, below = pictures.training_picture(make_history(5), axes=axes)
    assert above is axes[0]
    assert below is axes[1]
    assert above.get_lines()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="no update"):
        pictures.training_picture(History())
    with pytest.raises(ValueError, match="axes are 3"):
        pictures.training_picture(make_history(2), axes=pictures.new_figure(4, 4).subplots(3))


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"rnncore\[plot\]"):
        pictures.training_picture(make_history(2))


def test_pictures_leave_pyplot_and_its_backend_alone(tmp_path):
    script = (
        "import sys\n"
        "from rnncore import pictures\n"
        "from rnncore.trainer import History\n"
        "assert 'matplotlib' not in sys.modules\n"
        "history = History()\n"
        "history.steps.append(1, 1.0, 1.0, 1e-3, 1.0)\n"
        f"pictures.save_picture({str(tmp_path / 'picture.png')!r}, pictures.training_picture(history))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@settings(max_examples=10)
@given(arrays(np.int64, st.integers(1, 6).map(lambda n: (n, n)), elements=st.integers(0, 30)))
def test_every_count_of_a_confusion_stands_in_its_field(matrix):
    labels = [f"class {i}" for i in range(len(matrix))]
    axes = pictures.confusion_picture(matrix, labels)
    found = {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in axes.texts}
    assert found == {(i, j): int(matrix[i, j]) for i, j in np.argwhere(matrix)}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == labels
    assert [tick.get_text() for tick in axes.get_xticklabels()] == labels
    shades = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shades * np.maximum(matrix.sum(1, keepdims=True), 1), matrix)


def test_numbers_can_be_read_on_their_fields_in_black_and_white():
    """In every field number and ground differ by at least half of the way from black to white."""
    counts = np.array([[100 - k, k] for k in range(0, 101, 10)])
    for row in counts:
        axes = pictures.confusion_picture(np.array([row, [0, 1]]), "ab")
        image = axes.images[0]
        for text in axes.texts:
            j, i = map(int, text.get_position())
            ground = np.mean(image.cmap(image.norm(np.asarray(image.get_array())[i, j]))[:3])
            ink = {"white": 1.0, "black": 0.0}[text.get_color()]
            assert abs(ink - ground) >= 0.5


@settings(max_examples=10)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_forecasts_stand_at_their_steps_beside_the_naive_ones(count, horizon, seed):
    rng = np.random.default_rng(seed)
    series = rng.standard_normal(50)
    origins = 20 + np.arange(count) * horizon
    said, naive = rng.standard_normal((2, count, horizon))
    axes = pictures.forecast_picture(series, origins, said, naive, label="heat", naive_label="as before")
    curves = [line for line in axes.get_lines() if len(line.get_xdata()) and line.get_color() != "#d0d0d0"]
    happened, *rest = curves
    steps = happened.get_xdata().astype(int)
    np.testing.assert_array_equal(happened.get_ydata(), series[steps])
    assert steps[0] < 20
    assert steps[-1] == origins[-1] + horizon - 1
    for rows, drawn in ((naive, rest[:count]), (said, rest[count:])):
        for origin, row, line in zip(origins, rows, drawn, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(origin, origin + horizon))
            np.testing.assert_array_equal(line.get_ydata(), row)
    styles = {(line.get_linestyle(), line.get_marker()) for line in (happened, rest[0], rest[-1])}
    assert len(styles) == 3  # without colours the three still differ
    assert [text.get_text() for text in axes.get_legend().get_texts()][1] == "as before"


def test_they_draw_where_they_are_told(tmp_path):
    axes = pictures.new_figure(8, 4).subplots(1, 2)
    assert pictures.confusion_picture([[1, 2], [3, 4]], "ab", axes[0]) is axes[0]
    assert pictures.forecast_picture([1.0, 2, 3], [2], [[3.0]], [[2.0]], axes[1]) is axes[1]
    pictures.save_picture(tmp_path / "both.svg", axes)
    assert b"<svg" in (tmp_path / "both.svg").read_bytes()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pictures.confusion_picture(np.zeros((2, 3)), "ab"), r"\(2, 3\), but 2 labels"),
        (lambda: pictures.confusion_picture(np.zeros((0, 0)), ""), "0 labels"),
        (lambda: pictures.forecast_picture([[1.0]], [0], [[1.0]], [[1.0]]), r"\(1, 1\)"),
        (lambda: pictures.forecast_picture([1.0], [], np.zeros((0, 1)), np.zeros((0, 1))), r"origins \(0,\)"),
        (lambda: pictures.forecast_picture([1.0], [1], [[1.0]], [[1.0, 2.0]]), r"\(1, horizon\)"),
        (lambda: pictures.forecast_picture([1.0], [2], [[1.0]], [[1.0]]), "from 2 to 2, but series has 1"),
    ],
)
def test_what_cannot_be_drawn_is_one_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
