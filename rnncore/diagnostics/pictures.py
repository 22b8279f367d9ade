"""Pictures of what the diagnostics measure (matplotlib, the extra ``plot``).

Each takes matplotlib axes, or makes a figure of its own, and returns the axes. Lines differ in dash and
shade and heat maps run from white to black, so that all is legible in print without colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
FLOOR = 1e-12  # of a share on a logarithmic axis: what has gone below has gone

Flows = GradientFlow | Mapping[str, GradientFlow]


def _axes(axes: Any, width: float = 7.5, height: float = 4.0) -> Any:
    return new_figure(width, height).subplots() if axes is None else axes


def _finish(ax: Any, title: str, x: str, y: str, legend: bool = False) -> Any:
    ax.set_title(title, loc="left", fontsize=10)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        ax.legend(frameon=False, fontsize=9)
    return ax


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
    ax = _axes(axes)
    _grid(ax)
    for (label, layer, state), (dash, color) in zip(_lines(flows), cycle(STYLES)):
        norms = layer.mean(state)
        ax.plot(np.where(norms > 0, norms, np.nan), linestyle=dash, color=color, linewidth=1.6, label=label)
    ax.set_yscale("log")
    return _finish(
        ax, "Gradient flow", "step t (0: the initial state)", "norm of dL/dh[t], dL/dc[t] (L2)", True
    )


def lag_picture(flows: Flows, axes: Any = None) -> Any:
    """How much of the last step's gradient is left so many steps back, and where it falls below 1%.

    Parameters
    ----------
    flows, axes
        As `flow_picture` takes them.
    """
    ax = _axes(axes)
    _grid(ax)
    for (label, layer, state), (dash, color) in zip(_lines(flows), cycle(STYLES)):
        left = layer.left(state)
        shown = np.where(np.isfinite(left), np.maximum(left, FLOOR), np.nan)
        text = f"{label}: half-life {layer.half_life(state):.3g}, reach {layer.reach(state):.4g}"
        ax.plot(shown, linestyle=dash, color=color, linewidth=1.6, label=text)
    ax.axhline(SHARE_LEFT, color=REFERENCE, linewidth=1.0, linestyle=":")
    ax.annotate(
        "1%", (1, SHARE_LEFT), xycoords=("axes fraction", "data"), xytext=(-2, 2), color=REFERENCE,
        textcoords="offset points", ha="right", va="bottom", fontsize=9,
    )  # fmt: skip
    ax.set_yscale("log")
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
    image = ax.pcolormesh(np.arange(norms.shape[1] + 1) - 0.5, edges, shown, cmap="Greys")
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
    ax = _axes(axes)
    _grid(ax)
    styles = cycle(STYLES)
    for layer in contributions:
        for weight in layer.matrix:
            dash, color = next(styles)
            norms = layer.by_lag(weight)
            label = f"layer {layer.name} ({layer.kind}), {weight}"
            ax.plot(
                np.where(norms > 0, norms, np.nan), linestyle=dash, color=color, linewidth=1.6, label=label
            )
    ax.set_yscale("log")
    return _finish(ax, "Contributions by lag", "lag t - k (steps)", "norm (Frobenius)", True)


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
    ax = _axes(axes)
    _grid(ax)
    several = [spectra] if isinstance(spectra, Spectrum) else list(spectra)
    for spectrum, (dash, color) in zip(several, cycle(STYLES)):
        logs = spectrum.log_values[row] / math.log(10)
        index = np.arange(1, len(logs) + 1)
        label = f"{spectrum.t - spectrum.k} steps"
        ax.plot(index, np.where(np.isfinite(logs), logs, np.nan), linestyle=dash, color=color, label=label)
    longest = several[-1]
    bounds: list[tuple[float, str, Any]] = [
        (float(longest.log_stepwise[row]), "product of the steps' norms", ":"),
        (longest.log_textbook, "textbook bound", (0, (1, 3))),
    ]
    for value, name, dash in bounds:
        if math.isfinite(value):
            text = f"{name}, {longest.t - longest.k} steps"
            ax.axhline(value / math.log(10), color=REFERENCE, linewidth=1.2, linestyle=dash, label=text)
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
    return _finish(ax, title, "real part", "imaginary part", True)


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
    index = np.arange(1, len(spectrum.exponents) + 1)
    ax.axhline(0, color=REFERENCE, linewidth=1.0, linestyle=":")
    ax.errorbar(
        index, spectrum.exponents, spectrum.error, fmt="o-", color=DARK, markersize=3, linewidth=1.2,
        capsize=2, label=f"{spectrum.regime}: largest {spectrum.exponents[0]:.4f}",
    )  # fmt: skip
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
    low = -1.0 if gate in "gnh" else 0.0
    values: NDArray[np.float64] = health.activity[:, place].T
    high = max(1.0, float(values.max(initial=1.0))) if gate == "h" else 1.0
    image = ax.imshow(values, aspect="auto", cmap="Greys", vmin=low, vmax=high, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="activation (mean over rows)")
    title = f"Gate {gate} of layer {health.name} ({health.kind}): {health.saturated[place]:.0%} saturated"
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
    for name, (dash, color) in zip(layers, cycle(STYLES)):
        steps = len(monitor.profiles[-1][name])
        reach = np.minimum(monitor.column(f"{name}.reach"), steps)
        above.plot(step, reach, marker="o", markersize=3, linestyle=dash, color=color, label=f"layer {name}")
    ratios = [name for name in monitor.columns if name.endswith(".update_ratio") and "bias" not in name]
    for name, (dash, color) in zip(ratios, cycle(STYLES), strict=False):
        label = name.removesuffix(".update_ratio")
        below.plot(
            step, monitor.column(name), marker="o", markersize=3, linestyle=dash, color=color, label=label
        )
    below.set_yscale("log")
    below.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(integer=True))
    for ax in (above, below):
        _grid(ax)
    _finish(above, "Training: how far the gradient reaches", "", "reach (steps)", True)
    _finish(below, "Training: update-to-weight ratios", "update", "norm of update / norm of weights", True)
    return above, below
