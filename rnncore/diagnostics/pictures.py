"""Pictures of what the diagnostics measure (matplotlib, the extra ``plot``).

Each takes matplotlib axes, or makes a figure of its own, and returns the axes. Lines differ in dash and
shade and heat maps run from white to black, so that all is legible in print without colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pictures import DARK, REFERENCE, STRONG, matplotlib_module, new_figure
from .contributions import LayerContributions
from .flow import SHARE_LEFT, GradientFlow
from .health import LayerHealth
from .jacobians import Spectrum
from .lyapunov import Lyapunov
from .monitor import GradientMonitor

STYLES: tuple[tuple[Any, str], ...] = (
    ("-", DARK),
    ("--", STRONG),
    ("-.", "#000000"),
    (":", "#4c8c4a"),
    ((0, (5, 1, 1, 1, 1, 1)), "#8a6d3b"),
)
MARKERS = (None, "o", "s", "^", "v")  # so that lines beyond those differ from them
BESIDE = 4  # lines that a legend inside of the axes has room for
FLOOR = 1e-12  # of a share on a logarithmic axis: what has gone below has gone

Floats = NDArray[np.float64]
Flows = GradientFlow | Mapping[str, GradientFlow]


def _axes(axes: Any, width: float = 7.5, height: float = 4.0, lines: int = 0) -> Any:
    height += 0.2 * lines if lines > BESIDE else 0.0
    return new_figure(width, height).subplots() if axes is None else axes


def _styles() -> Iterator[dict[str, Any]]:
    """How to draw one line after the other, so that no two look alike, in print without colours either."""
    for marker in cycle(MARKERS):
        for dash, color in STYLES:
            own = {"marker": marker, "markersize": 4} if marker else {}
            yield {"linestyle": dash, "color": color, "linewidth": 1.6, **own}


def _line(ax: Any, values: Floats, style: dict[str, Any], label: str) -> None:
    """One value a step, where it is above 0; ten markers, if the style has any."""
    shown = np.where(values > 0, values, np.nan)
    ax.plot(shown, **style, markevery=max(1, len(values) // 10), label=label)


def _finish(ax: Any, title: str, x: str, y: str, legend: bool = False) -> Any:
    ax.set_title(title, loc="left", fontsize=10)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    if legend and len(ax.get_legend_handles_labels()[0]) <= BESIDE:
        ax.legend(fontsize=9, framealpha=0.85, edgecolor="none")  # a line behind it strikes out no word
    elif legend:
        _legend_below(ax, 1)
    return ax


def _legend_below(ax: Any, columns: int) -> None:
    # So many points below, room for the axis: a share of a height that makes way for it would not settle.
    place = matplotlib_module("transforms").offset_copy(ax.transAxes, ax.get_figure(), y=-38, units="points")
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=place, ncols=columns, frameon=False,
        fontsize=9, borderaxespad=0,
    )  # fmt: skip


def _whole(*axes: Any) -> None:
    """Ticks at whole numbers alone."""
    for axis in axes:
        axis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True, min_n_ticks=1))


def _grid(ax: Any) -> None:
    ax.grid(True, color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)


def _lines(flows: Flows) -> list[tuple[str, Any, str]]:
    """Label, layer and state of every line: one for each layer and state of each network."""
    if isinstance(flows, GradientFlow):
        flows = {"": flows}
    found = []
    for name, flow in flows.items():
        for layer in flow:
            for state in layer.norms:
                own = f"layer {layer.name} ({layer.kind}), {state}"
                found.append((f"{name}: {own}" if name else own, layer, state))
    return found


def flow_picture(flows: Flows, axes: Any = None) -> Any:
    """The norm of the whole loss's gradient in every state, over the steps.

    Parameters
    ----------
    flows
        What `gradient_flow` measured; or several by name, such as one for each remedy, drawn over each other.
    axes
        Where to draw; None makes a figure.
    """
    lines = _lines(flows)
    ax = _axes(axes, lines=len(lines))
    _grid(ax)
    for (label, layer, state), style in zip(lines, _styles(), strict=False):
        _line(ax, layer.mean(state), style, label)
    ax.set_yscale("log")
    what = ", ".join(f"dL/d{state}[t]" for state in dict.fromkeys(state for _, _, state in lines))
    return _finish(ax, "Gradient flow", "step t (0: the initial state)", f"norm of {what} (L2)", True)


def lag_picture(flows: Flows, axes: Any = None) -> Any:
    """How much of the last step's gradient is left so many steps back, and where it falls below 1%.

    Parameters
    ----------
    flows, axes
        As `flow_picture` takes them.
    """
    lines, least = _lines(flows), SHARE_LEFT
    ax = _axes(axes, lines=len(lines))
    _grid(ax)
    for (label, layer, state), style in zip(lines, _styles(), strict=False):
        left = layer.left(state)
        there = left[np.isfinite(left) & (left > 0)]
        text = f"{label}: half-life {layer.half_life(state):.3g}, reach {layer.reach(state):.4g}"
        least = min(least, float(there.min(initial=least)))
        _line(ax, left, style, text if len(there) else f"{label}: no gradient")
    ax.axhline(SHARE_LEFT, color=REFERENCE, linewidth=1.0, linestyle=":")
    ax.annotate(
        "1%", (1, SHARE_LEFT), xycoords=("axes fraction", "data"), xytext=(-2, 2), color=REFERENCE,
        textcoords="offset points", ha="right", va="bottom", fontsize=9,
    )  # fmt: skip
    ax.set_yscale("log")
    if least < FLOOR:
        ax.set_ylim(bottom=FLOOR)
    return _finish(ax, "Reach of the gradient", "lag (steps back)", "share of the gradient left", True)


def contribution_picture(
    contributions: LayerContributions, weight: str = "weight_hh", axes: Any = None
) -> Any:
    """What the use of a weight at step k adds to the gradient of the loss at step t: a heat map.

    Parameters
    ----------
    contributions
        A layer of what `weight_contributions` measured.
    weight
        ``"weight_hh"`` or ``"weight_ih"``.
    axes
        Where to draw; None makes a figure.
    """
    ax = _axes(axes, 6.5, 5.0)
    contributions.by_lag(weight)  # an unknown weight is an error now
    norms = contributions.matrix[weight]
    with np.errstate(divide="ignore"):
        logs = np.log10(np.where(norms > 0, norms, np.nan))
    high = float(np.nanmax(logs)) if np.isfinite(logs).any() else 0.0
    shown = np.ma.masked_invalid(np.maximum(logs, high - 8))
    steps = contributions.steps
    edges = np.concatenate([[-0.5], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 0.5]]) if len(steps) > 1 else (
        np.array([steps[0] - 0.5, steps[0] + 0.5])
    )  # fmt: skip
    ax.patch.set(hatch="///", edgecolor="#dcdcdc")  # where there is nothing: white is little
    image = ax.pcolormesh(np.arange(norms.shape[1] + 1) - 0.5, edges, shown, cmap="Greys")
    ax.set_xlim(-0.5, steps[-1] + 0.5)
    _whole(ax.xaxis, ax.yaxis)
    ax.figure.colorbar(image, ax=ax, label="log10 of the norm (Frobenius)")
    title = f"Contributions to the gradient of {weight}, layer {contributions.name}"
    return _finish(ax, title, "step k, where the weight is used", "step t, where the loss is")


def contribution_lag_picture(contributions: Sequence[LayerContributions], axes: Any = None) -> Any:
    """The mean contribution to the weights' gradients by lag t - k.

    Parameters
    ----------
    contributions
        Layers of what `weight_contributions` measured; itself, too.
    axes
        Where to draw; None makes a figure.
    """
    ax = _axes(axes, lines=sum(len(layer.matrix) for layer in contributions))
    _grid(ax)
    styles = _styles()
    for layer in contributions:
        for weight in layer.matrix:
            label = f"layer {layer.name} ({layer.kind}), {weight}"
            _line(ax, layer.by_lag(weight), next(styles), label)
    ax.set_yscale("log")
    return _finish(ax, "Contributions by lag", "lag t - k (steps)", "norm (Frobenius)", True)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def spectrum_picture(spectra: Spectrum | Sequence[Spectrum], axes: Any = None, row: int = 0) -> Any:
    """The singular values of dh[t]/dh[k] over one span or several, and what the bounds say.

    Parameters
    ----------
    spectra
        What `jacobian_spectrum` computed, of one span or of several.
    axes
        Where to draw; None makes a figure.
    row
        Of the batch, or of those that were chosen.
    """
    several = [spectra] if isinstance(spectra, Spectrum) else list(spectra)
    ax = _axes(axes, lines=len(several) + 2)
    _grid(ax)
    for spectrum, style in zip(several, _styles(), strict=False):
        logs = spectrum.log_values[row] / math.log(10)
        index = np.arange(1, len(logs) + 1)
        alone = {"marker": "o", "markersize": 4} if len(logs) == 1 else {}
        label = _steps(spectrum.t - spectrum.k)
        ax.plot(index, np.where(np.isfinite(logs), logs, np.nan), **{**style, **alone}, label=label)
    longest = several[-1]
    bounds: list[tuple[float, str, Any]] = [
        (float(longest.log_stepwise[row]), "product of the steps' norms", ":"),
        (longest.log_textbook, "textbook bound", (0, (7, 2, 1, 2))),
    ]
    for value, name, dash in bounds:
        if math.isfinite(value):
            text = f"{name}, {_steps(longest.t - longest.k)}"
            ax.axhline(value / math.log(10), color=REFERENCE, linewidth=1.2, linestyle=dash, label=text)
    _whole(ax.xaxis)
    ax.set_xlim(0.5, several[0].log_values.shape[1] + 0.5)
    title = "Singular values of the Jacobian"
    return _finish(ax, title, "singular value, largest first", "log10 of the singular value", True)


def eigenvalue_picture(health: LayerHealth, axes: Any = None) -> Any:
    """The eigenvalues of each gate's recurrent weights beside the unit circle.

    Parameters
    ----------
    health
        A layer of what `cell_health` measured.
    axes
        Where to draw; None makes a figure.
    """
    ax = _axes(axes, 5.0, 5.0)
    _grid(ax)
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color=REFERENCE, linewidth=1.0, label="unit circle")
    for gate, values, marker, (_, color) in zip(
        health.gates, health.eigenvalues, "ox+^", cycle(STYLES), strict=False
    ):
        label = f"{gate}: spectral radius {np.abs(values).max():.3f}"
        face = {"facecolors": "none"} if marker in "o^" else {}
        edge = {"edgecolors": color} if face else {"color": color}
        ax.scatter(values.real, values.imag, s=14, marker=marker, linewidths=0.9, label=label, **face, **edge)
    ax.set_aspect("equal")
    title = f"Eigenvalues of weight_hh, layer {health.name} ({health.kind})"
    # Below: inside there are eigenvalues everywhere.
    _legend_below(ax, 2)
    return _finish(ax, title, "real part", "imaginary part")


def lyapunov_picture(spectrum: Lyapunov, axes: Any = None) -> Any:
    """The Lyapunov exponents with their standard errors.

    Parameters
    ----------
    spectrum
        What `lyapunov_exponents` computed.
    axes
        Where to draw; None makes a figure.
    """
    ax = _axes(axes)
    _grid(ax)
    index, values = np.arange(1, len(spectrum.exponents) + 1), spectrum.exponents
    text = f"{spectrum.regime}: largest {values[0]:.4f}"
    if (gone := int(np.isinf(values).sum())) > 0:
        text += f"\n{gone} at minus infinity"
    ax.axhline(0, color=REFERENCE, linewidth=1.0, linestyle=":")
    ax.errorbar(
        index, np.where(np.isfinite(values), values, np.nan), spectrum.error, fmt="o-", color=DARK,
        markersize=3, linewidth=1.2, capsize=2, label=text,
    )  # fmt: skip
    _whole(ax.xaxis)
    ax.set_xlim(0.5, len(index) + 0.5)
    return _finish(ax, "Lyapunov spectrum", "exponent, largest first", "nats per step", True)


def gate_picture(health: LayerHealth, gate: str | None = None, axes: Any = None) -> Any:
    """The activation of a gate, unit by unit, over the steps: a heat map of the mean over rows.

    Parameters
    ----------
    health
        A layer of what `cell_health` measured.
    gate
        Its name; the second if it is not given, which keeps the state in an LSTM and a GRU, or the only one.
    axes
        Where to draw; None makes a figure.
    """
    if gate is None:
        gate = health.gates[min(1, len(health.gates) - 1)]
    if gate not in health.gates:
        raise ValueError(f"gate is {gate!r}, but layer {health.name} has {', '.join(health.gates)}")
    ax = _axes(axes)
    place = health.gates.index(gate)
    values: Floats = health.activity[:, place].T
    high = max(1.0, float(np.abs(values).max(initial=0)))
    low = -high if float(values.min(initial=0)) < 0 else 0.0
    edges = (0.5, values.shape[1] + 0.5, values.shape[0] - 0.5, -0.5)  # what step t does stands in h[t]
    image = ax.imshow(
        values, aspect="auto", cmap="Greys", vmin=low, vmax=high, interpolation="nearest", extent=edges
    )
    _whole(ax.xaxis, ax.yaxis)
    ax.figure.colorbar(image, ax=ax, label="mean over rows")
    what = "State h" if gate == "h" else f"Gate {gate}"
    title = f"{what} of layer {health.name} ({health.kind})"
    if not math.isnan(health.saturated[place]):
        title += f": {health.saturated[place]:.0%} saturated"
    return _finish(ax, title, "step t", "unit")


def monitor_picture(monitor: GradientMonitor, axes: Any = None) -> Any:
    """What a monitor saw: the reach of the gradient above, the update ratios of the weights below.

    Parameters
    ----------
    monitor
        One that has looked at least once.
    axes
        Two axes; None makes a figure.

    Returns
    -------
    The two axes.
    """
    if not monitor.history:
        raise ValueError("monitor has looked at nothing yet: train for two updates at least")
    if axes is None:
        axes = new_figure(7.5, 6.0).subplots(2, 1, sharex=True)
    if np.size(axes) != 2:
        raise ValueError(f"axes are {np.size(axes)}, but two are wanted: for reach and update ratios")
    above, below = np.ravel(np.asarray(axes, dtype=object))
    step = monitor.column("step")
    layers = list(monitor.profiles[0])
    for name, style in zip(layers, _styles(), strict=False):
        steps = [len(profile[name]) for profile in monitor.profiles]
        reach = np.minimum(monitor.column(f"{name}.reach"), steps)
        above.plot(step, reach, **{"marker": ".", **style}, label=f"layer {name}")
    whole = [max(map(len, profile.values())) for profile in monitor.profiles]
    above.plot(step, whole, color=REFERENCE, linewidth=1.0, linestyle=":", label="all steps")
    above.set_ylim(bottom=0)
    ratios = [name for name in monitor.columns if name.endswith(".update_ratio") and "bias" not in name]
    for name, style in zip(ratios, _styles(), strict=False):
        label = name.removesuffix(".update_ratio")
        below.plot(step, monitor.column(name), **{"marker": ".", **style}, label=label)
    below.set_yscale("log")
    _whole(below.xaxis)
    for ax in (above, below):
        _grid(ax)
    _finish(above, "Training: how far the gradient reaches", "", "reach (steps)", True)
    _finish(below, "Training: update-to-weight ratios", "update", "norm of update / norm of weights", True)
    return above, below
