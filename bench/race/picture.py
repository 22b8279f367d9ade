"""Results as a picture: ratios to the best peer over the shapes, and fractions of the machine's peak."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from race import summary
from race.grid import GATES
from race.report import CELLS

COLOURS = ("#0b6e99", "#d9730d", "#6940a5", "#448361")


def draw(results: dict[str, Any], path: Path) -> None:
    """A column a cell; a row each for training, inference and the fraction of the peak. Writes a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(GATES), sharex="col", sharey="row", squeeze=False)
    for column, cell in enumerate(GATES):
        for row, mode in enumerate(("training", "inference")):
            plot(axes[row][column], results, mode, cell, summary.ratio)
            axes[row][column].set_yscale("log")
            axes[row][column].yaxis.set_major_formatter("{x:g}")
            axes[row][column].yaxis.set_minor_formatter("{x:g}")
            axes[row][column].tick_params(axis="y", which="minor", labelsize=7)
            axes[row][column].axhline(1, color="black", linewidth=0.8)
        axes[0][column].axhline(summary.TARGETS[cell], color="grey", linewidth=0.8, linestyle=":")
        axes[0][column].set_title(CELLS[cell])
        plot(axes[2][column], results, "training", cell, partial(summary.fraction, results))
        axes[2][column].axhline(1, color="black", linewidth=0.8)
    axes[0][0].set_ylabel("training: times as fast as the\nfaster of PyTorch and JAX")
    axes[1][0].set_ylabel("inference: times as fast as the fastest\nof ONNX Runtime, PyTorch and JAX")
    axes[2][0].set_ylabel("training: products a second\nover the machine's sgemm peak")
    axes[2][0].set_ylim(bottom=0)  # after all three are drawn: it ends the search for a common scale
    shown = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        shown.update(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="upper right", frameon=False)
    machine = results["machine"]
    figure.suptitle(
        f"rnncore and its peers: {machine['processor']}, {machine['cores']} cores, {results['date']}\n"
        "float32, I = H; dotted: the target of the geometric mean"
    )
    figure.savefig(path, dpi=110)


def plot(axis: Any, results: dict[str, Any], mode: str, cell: str, value: Any) -> None:
    """One line for each thread count and batch over the units."""
    records = summary.chosen(results, mode, cell)
    for colour, threads in zip(COLOURS, summary.thread_counts(results), strict=False):
        label = f"{threads} thread{'s' * (threads > 1)}"
        for batch in sorted({old["B"] for old in records}):
            found = [(n, value(old, threads)) for n, old in enumerate(records) if old["B"] == batch]
            points = [(place, number) for place, number in found if number is not None]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", color=colour, ms=4, lw=1, label=label)
    names = [f"B{old['B']} H{old['H']}" for old in records]
    axis.set_xticks(range(len(records)), names, rotation=90, fontsize=7)
    axis.tick_params(labelbottom=True)
    axis.grid(axis="y", which="both", alpha=0.2)
