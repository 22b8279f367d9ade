"""Results as Markdown: the whole story, and a fragment with the tables that the README quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from race import summary
from race.grid import GATES, KINDS, NAMES, PEERS

CELLS = {"elman": "Elman", "lstm": "LSTM", "gru": "GRU"}
LIBRARIES = {**NAMES, "numpy": "NumPy", "onnx": "ONNX"}
AGAINST = {
    "training": "Training step, times as fast as the faster of PyTorch and JAX",
    "inference": "Inference, times as fast as the fastest of ONNX Runtime, PyTorch and JAX",
}


def figure(value: float | None) -> str:
    """Two digits or three that mean something; a dash for what was not measured."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def counted(threads: Iterable[int]) -> str:
    """1 thread; 2 threads; 1 / 2 threads."""
    counts = list(threads)
    return " / ".join(map(str, counts)) + (" thread" if counts == [1] else " threads")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def description(results: dict[str, Any]) -> list[str]:
    """Machine, versions, date, peak."""
    machine, versions = results["machine"], dict(results["versions"])
    versions.pop("build", None)
    level = versions.pop("instruction set", "?")
    rates = [
        f"{summary.peak(results, threads):.0f} GFLOP/s on {counted([threads])}"
        for threads in summary.thread_counts(results)
        if summary.peak(results, threads)
    ]
    peak = ", ".join(rates) or "not measured"
    return [
        f"{machine['processor']}, {machine['cores']} cores, caches {machine['caches'] or 'unknown'}; "
        f"{machine['system']}; kernels at level {level}; {results['date']}.",
        ", ".join(f"{LIBRARIES.get(name, name)} {version}" for name, version in versions.items()) + ".",
        f"Peak (large square sgemm, the best of NumPy and PyTorch, median over the run): {peak}.",
        *disturbance(results),
        "",
    ]


def disturbance(results: dict[str, Any]) -> list[str]:
    """A word on the other processes, if they used more than nothing."""
    share = max(results["busy"], default=0.0)
    if share <= summary.QUIET:
        return []
    return [f"**Not a quiet machine:** other processes used up to {share:.0%} of it; figures are noisy."]


def by_shape(
    results: dict[str, Any], mode: str, text: Callable[[summary.Record], str], head: str = "batch, units"
) -> list[str]:
    """Rows of batch and units, a column a cell."""
    cells: dict[tuple[int, int, int], dict[str, str]] = {}
    for record in summary.chosen(results, mode):
        cells.setdefault((record["B"], record["H"], record["T"]), {})[record["cell"]] = text(record)
    rows = [
        [f"B{B} H{H}" + (f" (T{T})" if T != 100 else ""), *(texts.get(cell, "–") for cell in GATES)]
        for (B, H, T), texts in cells.items()
    ]
    return table([head, *CELLS.values()], rows)


def ratios(results: dict[str, Any], mode: str) -> list[str]:
    """The ratio to the best peer at every thread count, and at the end the geometric means."""
    counts = summary.thread_counts(results)

    def text(record: summary.Record) -> str:
        return " / ".join(figure(summary.ratio(record, threads)) for threads in counts)

    lines = by_shape(results, mode, text)
    means, least = ["geometric mean"], ["least"]
    for cell in GATES:
        records = summary.chosen(results, mode, cell)
        spreads = [summary.spread(summary.ratio(old, threads) for old in records) for threads in counts]
        means.append(" / ".join(figure(found and found.mean) for found in spreads))
        least.append(" / ".join(figure(found and found.least) for found in spreads))
    bold = ["| " + " | ".join(f"**{word}**" for word in row) + " |" for row in (means, least)]
    return [*lines[:-1], *bold, ""]


def targets(results: dict[str, Any]) -> list[str]:
    """Each target beside what was reached, over all thread counts."""
    counts = summary.thread_counts(results)
    rows = []

    def row(subject: str, target: float, reached: float | None, text: Callable[[float | None], str] = figure):
        kept = "–" if reached is None else "yes" if reached >= target else "**no**"
        rows.append([subject, text(target), text(reached), kept])

    for cell, target in summary.TARGETS.items():
        records = summary.chosen(results, "training", cell)
        found = summary.spread(summary.ratio(old, threads) for old in records for threads in counts)
        subject = f"{CELLS[cell]} training over the faster of PyTorch and JAX"
        row(f"{subject}, geometric mean", target, found and found.mean)
        row(f"{subject}, least", 1.0, found and found.least)
    records = summary.chosen(results, "inference")
    found = summary.spread(summary.ratio(old, threads) for old in records for threads in counts)
    row("Inference over the fastest peer, least", 1.0, found and found.least)
    for threads in counts:
        found = summary.promised(
            results,
            lambda record, threads=threads: summary.fraction(results, record, threads),
            lambda old: old["cell"] == "lstm" and old["B"] >= 32 and 128 <= old["H"] <= 512,
        )
        subject = f"LSTM training, fraction of the peak, B >= 32, H 128 to 512, {counted([threads])}, least"
        row(subject, summary.FRACTION, found and found.least, percent)
    found = summary.promised(
        results, lambda record: summary.scaling(record, 2), lambda old: old["B"] >= 32 and old["H"] >= 128
    )
    row("Two threads over one, training, B >= 32, H >= 128, least", summary.SCALING, found and found.least)
    for (batch, hidden), target in summary.REFERENCE.items():
        found = summary.promised(
            results, summary.reference_ratio, lambda old, at=(batch, hidden): (old["B"], old["H"]) == at
        )
        row(f"Training over the NumPy reference, B{batch} H{hidden}, least", target, found and found.least)
    return table(["", "target", "reached", "kept"], rows)


def behind(results: dict[str, Any]) -> list[str]:
    """Every shape at which a peer is faster."""
    rows = []
    for mode in AGAINST:
        for record, threads, value in summary.behind(results, mode):
            peer = NAMES[summary.best_peer(record, threads)[0]]
            rows.append([str(summary.case(record)), str(threads), peer, figure(value)])
    return table(["shape", "threads", "peer", "ratio"], rows) if rows else ["None.", ""]


def times(results: dict[str, Any], mode: str, threads: int) -> list[str]:
    """Milliseconds of every library, and rnncore's fraction of the peak."""
    libraries = [*PEERS[mode], *(["reference"] if threads == 1 else [])]
    rows = []
    for record in summary.chosen(results, mode):
        own = summary.seconds(record, "rnncore", threads)
        others = [summary.seconds(record, library, threads) for library in libraries]
        rows.append([
            f"{CELLS[record['cell']]} T{record['T']} B{record['B']} H{record['H']}",
            *map(figure_of_time, (own, *others)),
            figure(summary.ratio(record, threads)),
            percent(summary.fraction(results, record, threads)),
        ])  # fmt: skip
    head = ["shape", *(NAMES[library] for library in ("rnncore", *libraries)), "ratio", "of the peak"]
    return table(head, rows)


def further(results: dict[str, Any]) -> list[str]:
    """A table for each of grid.KINDS that was run: ratios, and milliseconds of one thread."""
    lines = []
    counts = summary.thread_counts(results)
    for kind, title in KINDS.items():
        records = summary.of_kind(results, kind)
        if not records:
            continue
        libraries = ("rnncore", *PEERS[records[0]["mode"]])
        rows = []
        for record in records:
            own = [summary.over_every_step(results, record, threads) for threads in counts]
            rows.append([
                f"{CELLS[record['cell']]} T{record['T']} B{record['B']} I{record['I']} H{record['H']}",
                " / ".join(figure(summary.ratio(record, threads)) for threads in counts),
                " / ".join(map(figure, own)),
                *(figure_of_time(summary.seconds(record, library, 1)) for library in libraries),
            ])  # fmt: skip
        head = ["shape", "ratio", "over a loss at every step", *(f"{NAMES[name]}, ms" for name in libraries)]
        if kind not in ("last", "trained"):
            del head[2]
            for row in rows:
                del row[2]
        lines += [f"## {title}, on {counted(counts)}", "", *table(head, rows)]
    return lines


def figure_of_time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.4g}"


def gaps(results: dict[str, Any]) -> list[str]:
    """What was not measured, and why; the same reason at many shapes is told once."""
    shapes: dict[tuple[str, str], list[str]] = {}
    for case, entrant, reason in summary.missing(results):
        shapes.setdefault((entrant, reason), []).append(case)
    lines = [f"- {entrant}: {reason}" for entrant, reason in results["absent"].items()]
    for (entrant, reason), cases in shapes.items():
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        lines.append(f"- {entrant}, {cases[0]}{more}: {reason}")
    return [*(lines or ["Nothing."]), ""]


def fragment(results: dict[str, Any]) -> str:
    """The tables of ratios alone, with the machine's description."""
    counts = counted(summary.thread_counts(results))
    lines = description(results)
    for mode, title in AGAINST.items():
        if summary.chosen(results, mode):
            lines += [f"{title} ({counts}; T 100 unless noted, I = H, float32):", "", *ratios(results, mode)]
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    """Everything."""
    lines = ["# The race", "", *description(results)]
    lines += ["Float32, as many inputs as units. Ratios are of medians; above 1 rnncore is faster.", ""]
    lines += ["## Targets", "", *targets(results)]
    counts = summary.thread_counts(results)
    for mode, title in AGAINST.items():
        if summary.chosen(results, mode):
            lines += [f"## {title}, on {counted(counts)}", "", *ratios(results, mode)]
    lines += further(results)
    lines += ["## Where a peer is faster", "", *behind(results)]
    several = [threads for threads in counts if threads > 1 and 1 in counts]
    for threads in several:
        lines += [f"## rnncore: {threads} threads over one, training step", ""]
        lines += by_shape(results, "training", lambda record, n=threads: figure(summary.scaling(record, n)))
    lines += ["## rnncore over its NumPy reference, training step, one thread each", ""]
    lines += by_shape(results, "training", lambda record: figure(summary.reference_ratio(record)))
    for mode in AGAINST:
        for threads in counts:
            if summary.chosen(results, mode):
                lines += [f"## Milliseconds, {mode}, {counted([threads])}", ""]
                lines += times(results, mode, threads)
    return "\n".join([*lines, "## Not measured", "", *gaps(results)])
