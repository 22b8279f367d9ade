"""One self-contained HTML page with all that `diagnose` found, and the pictures: no other file, no
network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..disk import write_atomically
from ..network import Network
from ..pictures import new_figure
from . import pictures
from .common import Array, recurrent_layers, row_lengths
from .contributions import Contributions, weight_contributions
from .flow import gradient_flow
from .jacobians import jacobian_spectrum
from .lyapunov import lyapunov_exponents
from .monitor import GradientMonitor
from .verdict import Report

SPANS = (1, 10, 50)  # steps, of the Jacobians whose singular values are shown
EXPONENTS, EXPONENT_STEPS = 16, 300  # the largest ones, and the steps they are averaged over
LOSSES = 8  # steps whose losses are taken apart

_SEVERAL_WAYS = (
    "a step is no function of the one state before it, and so there is neither a Jacobian nor a Lyapunov "
    "exponent, and no contributions of single steps are shown."
)
_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
pre { background: #f4f4f4; padding: 0.6em 0.8em; overflow-x: auto; }
img { max-width: 100%; } h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
"""


def write_page(
    path: Any,
    report: Report,
    net: Network,
    x: Array,
    target: Array,
    loss: Any,
    lengths: Any = None,
    state: Any = None,
    title: str = "Diagnosis",
    monitor: GradientMonitor | None = None,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The file.
    report
        What ``diagnose(net, (x, target, lengths), loss, state)`` returned.
    net, x, target, loss, lengths, state
        What it was given, for the pictures that need more than the report.
    title
        Of the page.
    monitor
        One that watched the training, for the picture of it.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", _findings(report)]
    if report.flow is not None:
        drawn = _pictures(report, net, x, target, loss, lengths, state)
        parts += [f"<h2>{html.escape(head)}</h2>\n{_image(axes)}" for head, axes in drawn]
        ways = [name for name, layer in recurrent_layers(net).items() if not layer.one_step]
        parts += [f"<p>Layer {html.escape(name)}: {_SEVERAL_WAYS}</p>" for name in ways]
    if monitor is not None and monitor.history:
        parts.append(f"<h2>Training</h2>\n{_image(pictures.monitor_picture(monitor)[0])}")
    parts.append(f"<h2>All numbers</h2>\n<pre>{html.escape(str(report))}</pre>")
    body = "\n".join(parts)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
    write_atomically(path, page.encode(errors="replace"))


def _findings(report: Report) -> str:
    """The verdict and what to change, as HTML."""
    lines = [
        f"<p><strong>Verdict: {report.verdict}</strong> (loss {report.loss:.4g}, {report.steps} steps)</p>"
    ]
    for finding in report.findings:
        lines.append(f"<h2>{html.escape(finding.problem)}</h2>\n<p>{html.escape(finding.text)}.</p>")
        for remedy in finding.remedies:
            lines.append(f"<pre>{html.escape(remedy.code)}</pre><p>{html.escape(remedy.why)}</p>")
    return "\n".join(lines)


def _pictures(
    report: Report, net: Network, x: Array, target: Array, loss: Any, lengths: Any, state: Any
) -> Iterator[tuple[str, Any]]:
    """Headings and axes."""
    assert report.flow is not None
    assert report.health is not None
    yield "Gradient flow", pictures.flow_picture(report.flow)
    yield "Reach of the gradient", pictures.lag_picture(report.flow)
    layers = recurrent_layers(net)
    parts = None
    if all(layer.one_step for layer in layers.values()):
        parts = _contributions(net, x, target, loss, lengths, state)
        yield "Contributions by lag", pictures.contribution_lag_picture(list(parts))
    tapes: dict[str, Any] = {}
    gradient_flow(net, x, target, loss, lengths, state, tapes=tapes)
    for name, layer in layers.items():
        head = f"Layer {name}, {type(layer).__name__}"
        if parts is not None and name in parts.layers and len(parts[name].steps) > 1:
            yield f"{head}: contributions", pictures.contribution_picture(parts[name])
        tape, health = tapes[name], report.health[name]
        row = int(np.argmax(row_lengths(tape)))
        last = int(row_lengths(tape)[row])
        spans = sorted({min(span, last) for span in SPANS})
        if layer.one_step:
            spectra = [jacobian_spectrum(layer, tape, last, last - span, rows=[row]) for span in spans]
            left, middle, right = new_figure(13, 5).subplots(1, 3)
            pictures.spectrum_picture(spectra, left)
            pictures.eigenvalue_picture(health, middle)
            driven = np.ascontiguousarray(tape.x[: min(last, EXPONENT_STEPS), row : row + 1])
            size = sum(layer.state_widths)
            exponents = lyapunov_exponents(layer, driven, k=min(EXPONENTS, size))
            yield f"{head}: dynamics", pictures.lyapunov_picture(exponents, right)
        count = len(health.gates)
        axes = np.ravel(new_figure(7.5, 1 + 2.2 * count).subplots(count, 1, sharex=True, squeeze=False))
        for gate, place in zip(health.gates, axes, strict=True):
            pictures.gate_picture(health, gate, place).label_outer()
        yield f"{head}: gates", axes[0]


def _contributions(
    net: Network, x: Array, target: Array, loss: Any, lengths: Any, state: Any
) -> Contributions:
    """The contributions of the rows, and to the losses, whose lags are the same."""
    if not any(layer.pools for layer in net.layers):
        shortest = len(x) if lengths is None else int(np.min(lengths))
        steps = np.unique(np.linspace(0, shortest - 1, LOSSES).round().astype(int)).tolist()
        return weight_contributions(net, x, target, loss, lengths, state, steps)
    if lengths is None or state is not None:
        return weight_contributions(net, x, target, loss, lengths, state)
    last = int(np.max(lengths))  # the one loss of a row is at its own end
    rows = np.flatnonzero(np.asarray(lengths) == last)
    return weight_contributions(net, np.ascontiguousarray(x[:last, rows]), target[rows].copy(), loss)


def _image(axes: Any) -> str:
    """The figure that axes belong to, as an image inside the page."""
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=90)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    titles = "; ".join(ax.get_title(loc="left") for ax in axes.figure.axes if ax.get_title(loc="left"))
    return f'<img alt="{html.escape(titles)}" src="data:image/png;base64,{data}">'
