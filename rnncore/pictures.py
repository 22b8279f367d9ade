"""Pictures of training and of what comes of it (matplotlib, the extra ``plot``).

Each takes matplotlib axes, or makes a figure of its own, and returns the axes. A figure made here is drawn by
Agg and stays clear of pyplot: no window opens, and the backend that the user has chosen remains.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .disk import write_atomically
from .trainer import History

# Dark and light, so that the lines differ in print without colours too; the two strong ones are told apart by
# readers with any colour vision.
FAINT, DARK, STRONG, REFERENCE = "#b8c4d0", "#1f4e79", "#d1495b", "#6b6b6b"


def matplotlib_module(name: str) -> Any:
    """``matplotlib.<name>``, imported when it is needed.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'pictures want matplotlib, which is not installed: pip install "rnncore[plot]"', name=error.name
        ) from error


def new_figure(width: float, height: float) -> Any:
    """A figure of so many inches, drawn by Agg."""
    figure = matplotlib_module("figure").Figure(figsize=(width, height), layout="constrained")
    matplotlib_module("backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if no kind of picture has this file name."""
    suffix = os.path.splitext(path)[1][1:].lower()
    known = new_figure(1, 1).canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f"the picture is {os.fspath(path)}, but an ending of {', '.join(known)} is wanted")


def save_picture(path: str | os.PathLike[str], axes: Any) -> None:
    """Write the figure that axes belong to; the kind of file follows the name, such as ``.png`` or ``.svg``.

    Parameters
    ----------
    path
        The file.
    axes
        Axes, or a sequence of them.

    Raises
    ------
    ValueError
        If the name ends in nothing known.
    """
    check_name(path)
    first = axes if not isinstance(axes, (Sequence, np.ndarray)) else np.ravel(np.asarray(axes))[0]
    picture = io.BytesIO()
    kind = os.path.splitext(path)[1][1:].lower()
    figure = first.figure.canvas.figure  # the whole figure, where axes are in a part of one
    figure.savefig(picture, format=kind, dpi=150)
    write_atomically(path, picture.getvalue())


def training_picture(
    history: History,
    axes: Any = None,
    threshold: float | None = None,
    scale: float = 1.0,
    label: str = "loss",
    references: Mapping[str, float] | None = None,
) -> tuple[Any, Any]:
    """Loss curves above, the norm of the gradient below, over the updates.

    Above: the loss of each update, its running mean, the validation losses, the lowest of them marked. Below:
    the norm before clipping, and the clip threshold.

    Parameters
    ----------
    history
        What ``Trainer.fit`` returned; at least one update.
    axes
        Two axes to draw into; None makes a figure.
    threshold
        Of ClipNorm; None if there was none.
    scale, label
        Losses are multiplied by ``scale`` and called ``label``, with the unit:
        ``1 / math.log(2), "bits per character"``.
    references
        Names and values, in the unit of the label, of levels to compare with.

    Returns
    -------
    The two axes.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is no update in the history, or there are not two axes.
    """
    if not len(history.steps):
        raise ValueError("history has no update, but at least one is wanted to draw")
    if axes is None:
        axes = new_figure(7.5, 6.0).subplots(2, 1, sharex=True, height_ratios=(3, 2))
    if np.size(axes) != 2:
        raise ValueError(f"axes are {np.size(axes)}, but two are wanted: for losses and gradient")
    above, below = np.ravel(np.asarray(axes, dtype=object))
    _draw_losses(above, history, scale, label, references or {})
    _draw_gradient(below, history, threshold)
    below.set_xlabel("update")
    for ax in (above, below):
        ax.grid(True, which="major", color="#e6e6e6", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlim(0, history.steps[-1]["step"] * 1.005)
        ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3)
    return above, below


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The mean of each value and those around it, about ``window`` in all, fewer at the ends: ``(N,)``."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    first, last = np.maximum(here - window // 2, 0), np.minimum(here + window // 2 + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _draw_losses(
    ax: Any, history: History, scale: float, label: str, references: Mapping[str, float]
) -> None:
    step = history.steps.column("step")
    loss = history.steps.column("loss") * scale
    _draw_smoothed(ax, step, loss, running_mean, "training")
    lowest = min([*references.values(), float(loss.min())])
    if len(history.validations):
        at = history.validations.column("step")
        value = history.validations.column("loss") * scale
        best = int(np.argmin(value))
        lowest = min(lowest, float(value[best]))
        ax.plot(at, value, "o--", color=STRONG, linewidth=1.4, markersize=4, label="validation")
        late = at[best] > 0.9 * step[-1]
        ax.annotate(
            f"{value[best]:.3f}", (at[best], value[best]), xytext=(7, 0) if late else (0, -8),
            textcoords="offset points", ha="left" if late else "center", va="center" if late else "top",
            color=STRONG, fontsize=9, annotation_clip=False,
        )  # fmt: skip
    for name, height in references.items():
        ax.axhline(height, color=REFERENCE, linewidth=1.0, linestyle=":")
        ax.annotate(
            f"{name}  {height:.3f}", (1, height), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", va="bottom", color=REFERENCE, fontsize=9,
        )  # fmt: skip
    # The first updates tower above the rest: the part that one looks at gets the room.
    high = max([*references.values(), float(np.quantile(loss, 0.98)), lowest + 1e-3])
    ax.set_ylim(lowest - 0.06 * (high - lowest), high + 0.10 * (high - lowest))
    ax.set_ylabel(label)


def _draw_gradient(ax: Any, history: History, threshold: float | None) -> None:
    step, norm = history.steps.column("step"), history.steps.column("grad_norm")
    positive = bool(norm.min() > 0)
    _draw_smoothed(ax, step, norm, _running_geometric_mean if positive else running_mean, "before clipping")
    if threshold is not None:
        ax.axhline(
            threshold, color=STRONG, linewidth=1.4, linestyle="--",
            label=f"clip threshold {threshold:g}: {np.mean(norm > threshold):.0%} of updates exceed it",
        )  # fmt: skip
    if positive:
        ticker = matplotlib_module("ticker")
        ax.set_yscale("log")
        lowest, highest = norm.min(), max(norm.max(), threshold or 0.0)
        ax.set_ylim(lowest / 1.3, highest * 1.3)
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if highest < 100 * lowest else (1,)))
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(ticker.NullLocator())
    ax.set_ylabel("gradient norm (L2)")


def _running_geometric_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """On a logarithmic axis the line that lies amid the values."""
    return np.asarray(np.exp(running_mean(np.log(values), window)))


def _draw_smoothed(ax: Any, step: Any, values: NDArray[np.float64], mean: Any, label: str) -> None:
    """Values of single updates, faint, and their running mean; where there are few, the values alone."""
    window = len(values) // 50
    if window < 2:
        ax.plot(step, values, color=DARK, linewidth=1.6, label=label)
        return
    ax.plot(step, values, color=FAINT, linewidth=0.7)
    ax.plot(step, mean(values, window), color=DARK, linewidth=1.6, label=f"{label} (mean of {window})")


def confusion_size(classes: int) -> tuple[float, float]:
    """Inches, width and height, that a confusion matrix of so many classes can be read in."""
    side = min(4.0 + 0.35 * classes, 14.0)
    return side + 0.8, side


def confusion_picture(matrix: Any, labels: Sequence[str], axes: Any = None) -> Any:
    """A confusion matrix: how often each class was taken for each other.

    The darker a field, the larger its share of the row; the number is the count, left out where it is 0.

    Parameters
    ----------
    matrix
        Counts ``(C, C)``, a row for each true class, as ``metrics.confusion_matrix`` returns it.
    labels
        C names.
    axes
        To draw into; None makes a figure.

    Returns
    -------
    The axes.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If the matrix is not square, or there is not one label for each row.
    """
    counts = np.asarray(matrix)
    classes = len(labels)
    if counts.shape != (classes, classes) or not classes:
        raise ValueError(f"matrix has shape {counts.shape}, but {classes} labels want ({classes}, {classes})")
    if axes is None:
        axes = new_figure(*confusion_size(classes)).subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Light enough at the dark end for no printer to swallow the number.
    image = axes.imshow(shares, cmap="Greys", vmin=0, vmax=1.25)
    for i, j in np.argwhere(counts):
        color = "white" if image.cmap(image.norm(shares[i, j]))[0] < 0.5 else "black"
        size = 10 if classes <= 8 else 7
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=color, fontsize=size)
    turned = 0 if classes <= 4 else 90
    axes.set_xticks(range(classes), labels, rotation=turned)
    axes.set_yticks(range(classes), labels)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    right = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{right:.1%} of {counts.sum():,} are right", fontsize=10)
    return axes


def forecast_picture(
    series: Any,
    origins: Any,
    forecasts: Any,
    naive: Any,
    axes: Any = None,
    label: str = "value",
    naive_label: str = "naive",
) -> Any:
    """Forecasts of a series, the naive ones beside them, and what happened.

    Parameters
    ----------
    series
        What happened, ``(N,)``; NaN leaves a gap.
    origins
        The first step of each forecast, integers ``(W,)``, at least one; they should not overlap.
    forecasts, naive
        ``(W, horizon)``.
    axes
        To draw into; None makes a figure.
    label, naive_label
        What the series is, and what the naive forecast is called.

    Returns
    -------
    The axes.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If the shapes do not fit, or an origin lies outside the series.
    """
    values, starts = np.asarray(series, np.float64), np.asarray(origins)
    said, plain = np.asarray(forecasts, np.float64), np.asarray(naive, np.float64)
    if values.ndim != 1 or starts.ndim != 1 or not len(starts):
        raise ValueError(f"series has shape {values.shape}, origins {starts.shape}; (N,), (W,) are wanted")
    if said.ndim != 2 or said.shape != plain.shape or len(said) != len(starts):
        raise ValueError(
            f"forecasts have shape {said.shape}, naive {plain.shape}, but ({len(starts)}, horizon) is wanted"
        )
    if starts.min() < 0 or starts.max() > len(values):
        raise ValueError(f"origins run from {starts.min()} to {starts.max()}, but series has {len(values)}")
    if axes is None:
        axes = new_figure(9.0, 5.0).subplots()
    horizon = said.shape[1]
    first, last = max(int(starts.min()) - 2 * horizon, 0), int(starts.max()) + horizon
    steps = np.arange(first, min(last, len(values)))
    axes.plot(steps, values[steps], color="black", linewidth=1.6, label="what happened")
    lines = ((plain, naive_label, REFERENCE, ":", "s"), (said, "this network", STRONG, "-", "o"))
    for rows, name, color, style, marker in lines:
        for number, (start, row) in enumerate(zip(starts.tolist(), rows, strict=True)):
            axes.plot(
                np.arange(start, start + horizon), row, color=color, linestyle=style, linewidth=1.3,
                marker=marker, markersize=4, markerfacecolor="white", label=None if number else name,
            )  # fmt: skip
    for start in starts.tolist():
        axes.axvline(start - 0.5, color="#d0d0d0", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"step; a line where a forecast of {horizon} begins")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3)
    return axes
