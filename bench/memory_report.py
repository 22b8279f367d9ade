"""From the runs of ``bench/long_memory.py`` to a Markdown table and a heat map."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_runs import REMEDIES

Line = dict[str, str]


@dataclass(frozen=True)
class Cell:
    """One remedy on one problem of one length, at the learning rate at which it did best."""

    problem: str
    length: int
    remedy: str
    rate: float
    solved: int
    runs: int
    updates: float  # medians: of the runs that solved it, or of all where none did
    sequences: float
    seconds: float
    error: float
    naive: float
    weights: int
    exploded: int

    @property
    def share(self) -> float:
        return self.solved / self.runs


def cells(lines: Sequence[Line]) -> list[Cell]:
    """Each (problem, length, remedy) at its best rate: most solved, then fewest updates, then least error."""
    groups: dict[tuple[str, int, str], dict[str, list[Line]]] = {}
    for line in lines:
        key = line["problem"], int(line["length"]), line["remedy"]
        groups.setdefault(key, {}).setdefault(line["rate"], []).append(line)
    return [
        min((cell(*key, rate, runs) for rate, runs in rates.items()), key=rank)
        for key, rates in groups.items()
    ]


def rank(cell: Cell) -> tuple[float, float, float]:
    return -cell.share, cell.updates, cell.error if math.isfinite(cell.error) else math.inf


def cell(problem: str, length: int, remedy: str, rate: str, runs: list[Line]) -> Cell:
    solved = [run for run in runs if run["solved"] == "1"]
    shown = solved or runs

    def median(name: str) -> float:
        return statistics.median(float(run[name]) for run in shown)

    return Cell(
        problem, length, remedy, float(rate), len(solved), len(runs), median("updates"), median("sequences"),
        median("seconds"), median("error"), float(runs[0]["naive"]), int(runs[0]["weights"]),
        sum(run["ended"].startswith("exploded") for run in runs),
    )  # fmt: skip


def write_table(path: Path, lines: Sequence[Line], rows: Sequence[Any]) -> None:
    """Two tables: against the papers, and all cells."""
    found = cells(lines)
    text = [
        "# Long memory",
        "",
        "Medians are over the seeds that solved the problem, or all where none did.",
        "",
    ]
    text += ["## Against the papers", "", "| problem, T | source, published | ours |", "|---|---|---|"]
    for row in rows:
        own = [c for c in found if (c.problem, c.length) == (row.name, row.length)]
        if row.source and own:
            ours = "; ".join(told(c) for c in own)
            text.append(f"| {row.name}, {row.length} | {row.source}: {row.published} | {ours} |")
    text += [
        "", "## All", "",
        "| problem | T | remedy | weights | rate | solved | updates | sequences | seconds | error | naive |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    text += [
        f"| {c.problem} | {c.length} | {c.remedy} | {c.weights:,} | {c.rate:g} | {c.solved}/{c.runs} "
        f"| {c.updates:,.0f} | {c.sequences:,.0f} | {c.seconds:.1f} | {c.error:.3g} | {c.naive:.3g} |"
        for c in sorted(found, key=lambda c: (c.problem, c.length, -c.share, c.updates))
    ]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def told(c: Cell) -> str:
    """One remedy's result in words."""
    named = f"{c.remedy} ({c.weights:,} weights)"
    exploded = f", {c.exploded} exploded" if c.exploded else ""
    if c.solved:
        after = f"after {c.sequences:,.0f} sequences, {c.seconds:.0f} s"
        return f"{named}: {c.solved} of {c.runs} seeds, error {c.error:.2g} {after}{exploded}"
    return f"{named}: none of {c.runs}, error {c.error:.2g}{exploded}"


def write_map(path: Path, lines: Sequence[Line]) -> None:
    """Remedies down, problems and lengths across; colour is the share of seeds that solved it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = {(c.remedy, c.problem, c.length): c for c in cells(lines)}
    remedies = sorted({remedy for remedy, _, _ in found}, key=list(REMEDIES).index)
    columns = sorted({(problem, length) for _, problem, length in found})
    figure = Figure(figsize=(2.6 + 0.75 * len(columns), 1.9 + 0.45 * len(remedies)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = [
        [found[r, *c].share if (r, *c) in found else math.nan for c in columns] for r in remedies
    ]  # fmt: skip
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for y, remedy in enumerate(remedies):
        for x, column in enumerate(columns):
            if (remedy, *column) in found:
                c = found[remedy, *column]
                note = f"{c.solved}/{c.runs}" + (f"\n{short(c.updates)}" if c.solved else "")
                axes.text(
                    x,
                    y,
                    note,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="black" if c.share > 0.5 else "white",
                )
    axes.set_xticks(
        range(len(columns)), [f"{name}\nT = {t}" for name, t in columns], rotation=60, ha="right", fontsize=8
    )
    axes.set_yticks(range(len(remedies)), remedies, fontsize=9)
    axes.set_title("Seeds that solved it, and the updates they took (median)", fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label="share of seeds", shrink=0.8)
    figure.savefig(path, dpi=150)


def short(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number:.0f}"
