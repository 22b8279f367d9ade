"""Pictures of the diagnostics: they draw what was measured, where they are told, with units and labels."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from training import Source, make_trainer

from rnncore import LSTM, Dense, Elman, Network, SquaredError
from rnncore.diagnostics import (
    GradientFlow,
    GradientMonitor,
    cell_health,
    gradient_flow,
    jacobian_spectrum,
    lyapunov_exponents,
    weight_contributions,
)

pytest.importorskip("matplotlib")

from rnncore import pictures as frame
from rnncore.diagnostics import pictures

T, B, I, H = 12, 3, 2, 5


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(0)
    net = Network(LSTM(I, H), Elman(H, H), Dense(H, 2), seed=1, dtype="float64")
    x, target = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))
    monitor = GradientMonitor(every=3, warn=False)
    make_trainer(monitor=monitor).fit(Source(), steps=7)
    _, _, tape = net.forward(x)
    return {
        "flow": gradient_flow(net, x, target, SquaredError()),
        "contributions": weight_contributions(net, x, target, SquaredError()),
        "spectrum": jacobian_spectrum(net.layers[0], tape[0]),
        "lyapunov": lyapunov_exponents(net.layers[0], x),
        "health": cell_health(net, x),
        "monitor": monitor,
    }


DRAWINGS = {
    "flow": lambda m, axes=None: pictures.flow_picture(m["flow"], axes),
    "lag": lambda m, axes=None: pictures.lag_picture({"before": m["flow"], "after": m["flow"]}, axes),
    "contribution": lambda m, axes=None: pictures.contribution_picture(m["contributions"][0], axes=axes),
    "contribution by lag": lambda m, axes=None: pictures.contribution_lag_picture(m["contributions"], axes),
    "spectrum": lambda m, axes=None: pictures.spectrum_picture(m["spectrum"], axes),
    "eigenvalues": lambda m, axes=None: pictures.eigenvalue_picture(m["health"][0], axes),
    "lyapunov": lambda m, axes=None: pictures.lyapunov_picture(m["lyapunov"], axes),
    "gate": lambda m, axes=None: pictures.gate_picture(m["health"][0], "f", axes),
    "unit": lambda m, axes=None: pictures.gate_picture(m["health"][1], axes=axes),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_draws_into_the_axes_it_is_given_and_names_its_units(name, measured, tmp_path):
    figure = frame.new_figure(6, 4)
    axes = figure.subplots()
    assert DRAWINGS[name](measured, axes) is axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert axes.get_title(loc="left")
    own = DRAWINGS[name](measured)
    frame.save_picture(tmp_path / "a.png", own)
    assert (tmp_path / "a.png").stat().st_size > 2000


def test_lines_are_the_numbers(measured):
    flow = measured["flow"]
    lines = pictures.flow_picture(flow).get_lines()
    want = [layer.mean(state) for layer in flow for state in layer.norms]
    for line, norms in zip(lines, want, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), norms)
    ax = pictures.lag_picture(flow)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), flow[0].left("h"))
    assert "half-life" in ax.get_legend().get_texts()[0].get_text()
    bars = pictures.lyapunov_picture(measured["lyapunov"]).containers[0]
    np.testing.assert_array_equal(bars[0].get_ydata(), measured["lyapunov"].exponents)


def test_lines_differ_without_colours(measured):
    """Up to 25 of them, in dash or marker."""
    lines = pictures.flow_picture(dict.fromkeys("abcdefgh", measured["flow"])).get_lines()
    assert len(lines) == 24
    looks = {(str(line._unscaled_dash_pattern), line.get_marker()) for line in lines}
    assert len(looks) == len(lines)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_legend_hides_no_line(measured, count):
    """It has a ground of its own, or stands below the axes."""
    axes = pictures.lag_picture(dict.fromkeys("abcdefgh"[:count], measured["flow"]))
    axes.figure.canvas.draw()
    inside, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    below = legend.y1 < inside.y0
    assert below == (count > 1)
    assert below or axes.get_legend().get_frame_on()
    page = axes.figure.bbox
    assert page.x0 <= legend.x0 < legend.x1 <= page.x1
    assert page.y0 <= legend.y0


def test_a_layer_without_a_gradient_is_called_so_and_a_gone_share_leaves_the_axes(measured):
    flow = measured["flow"]["1"]
    nothing = dataclasses.replace(flow, lags={"h": 0 * flow.lags["h"]})
    gone = dataclasses.replace(flow, lags={"h": np.geomspace(1, 1e-30, T)[:, None] * np.ones((1, B))})
    axes = pictures.lag_picture(GradientFlow(0.0, {"0": nothing, "1": gone}))
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "no gradient" in texts[0]
    np.testing.assert_array_equal(axes.get_lines()[1].get_ydata(), gone.left())
    assert axes.get_ylim()[0] == pictures.FLOOR


def test_exponents_without_bound_below_are_told(measured):
    found = dataclasses.replace(measured["lyapunov"], exponents=np.array([0.0, -1.0, -np.inf, -np.inf]))
    found = dataclasses.replace(found, error=np.array([0.1, 0.1, np.nan, np.nan]))
    axes = pictures.lyapunov_picture(found)
    assert "2 at minus infinity" in axes.get_legend().get_texts()[0].get_text()
    assert axes.get_xlim() == (0.5, 4.5)


def test_the_grey_of_units_spans_their_range(measured):
    health = measured["health"][1]
    ranges = ((-0.5, 0.5, (-1, 1)), (0.0, 0.4, (0, 1)), (0.0, 7.0, (0, 7)), (-3.0, 1.0, (-3, 3)))
    for low, high, want in ranges:
        activity = np.linspace(low, high, health.activity.size).reshape(health.activity.shape)
        unbounded = np.full_like(health.saturated, np.nan)
        axes = pictures.gate_picture(dataclasses.replace(health, activity=activity, saturated=unbounded))
        assert axes.get_images()[0].get_clim() == pytest.approx(want)
        assert axes.get_title(loc="left") == "State h of layer 1 (Elman)"


def test_the_monitor_has_two_axes(measured):
    above, below = pictures.monitor_picture(measured["monitor"])
    assert "reach" in above.get_ylabel()
    np.testing.assert_array_equal(below.get_lines()[0].get_xdata(), measured["monitor"].column("step"))
    with pytest.raises(ValueError, match="axes are 1"):
        pictures.monitor_picture(measured["monitor"], frame.new_figure(3, 3).subplots())
    with pytest.raises(ValueError, match="looked at nothing"):
        pictures.monitor_picture(GradientMonitor())


def test_an_unknown_gate_or_weight_is_refused(measured):
    with pytest.raises(ValueError, match="gate is 'z', but layer 0 has i, f, g, o"):
        pictures.gate_picture(measured["health"][0], "z")
    with pytest.raises(ValueError, match="weight is 'bias'"):
        pictures.contribution_picture(measured["contributions"][0], "bias")


def test_matplotlib_is_imported_when_something_is_drawn():
    code = "import sys, rnncore.diagnostics.pictures; print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
