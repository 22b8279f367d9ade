"""What follows from the results: ratios, means, what is behind, fractions of the peak."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from race.grid import GATES, KINDS, PEERS, Case, Entrant

Record = dict[str, Any]

# What a training step owes, in times the faster of PyTorch and JAX: the geometric mean over the grid of each
# cell. At no shape may it be below 1.
TARGETS = {"elman": 3.0, "lstm": 1.5, "gru": 3.0}
SCALING = 1.7  # two threads over one, at B >= 32 and H >= 128
FRACTION = 0.75  # of the peak: LSTM training, B >= 32, H from 128 to 512
QUIET = 0.05  # of the processor time may go to other processes before it is worth a word
REFERENCE = {(32, 128): 4.0, (1, 32): 25.0}  # times the NumPy reference at (B, H), one thread each


def case(record: Record) -> Case:
    return Case(**{name: record[name] for name in ("cell", "mode", "T", "B", "I", "H", "kind")})


def seconds(record: Record, library: str, threads: int) -> float | None:
    """Median seconds of a call; None where it was not measured."""
    return record["seconds"].get(library, {}).get(str(threads))


def best_peer(record: Record, threads: int) -> tuple[str, float] | None:
    """The fastest of the libraries that rnncore is measured against, and its seconds."""
    found = [
        (time, library)
        for library in PEERS[record["mode"]]
        if (time := seconds(record, library, threads)) is not None
    ]
    return (min(found)[1], min(found)[0]) if found else None


def ratio(record: Record, threads: int) -> float | None:
    """How many times as fast as the best peer rnncore is, at equal thread counts."""
    peer, own = best_peer(record, threads), seconds(record, "rnncore", threads)
    return peer[1] / own if peer and own else None


def reference_ratio(record: Record) -> float | None:
    """How many times as fast as the NumPy reference, one thread each."""
    plain, own = seconds(record, "reference", 1), seconds(record, "rnncore", 1)
    return plain / own if plain and own else None


def scaling(record: Record, threads: int) -> float | None:
    """How many times as fast as its one thread rnncore's several are."""
    one, several = seconds(record, "rnncore", 1), seconds(record, "rnncore", threads)
    return one / several if one and several else None


def peak(results: dict[str, Any], threads: int) -> float | None:
    """GFLOP/s of a large square product: the median of what was measured in the course of the run."""
    rates = [rate["gflops"] for rate in results["peak"] if rate["threads"] == threads]
    return statistics.median(rates) if rates else None


def fraction(results: dict[str, Any], record: Record, threads: int, library: str = "rnncore") -> float | None:
    """The case's products a second, as a fraction of the peak at as many threads."""
    time, rate = seconds(record, library, threads), peak(results, threads)
    return 1e-9 * case(record).flops / time / rate if time and rate else None


@dataclass(frozen=True)
class Spread:
    """Geometric mean and least of some ratios, and how many there are."""

    mean: float
    least: float
    number: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """None where there is nothing; values that are None do not count."""
    there = [value for value in values if value is not None]
    return Spread(statistics.geometric_mean(there), min(there), len(there)) if there else None


def chosen(results: dict[str, Any], mode: str, cell: str | None = None) -> list[Record]:
    """The grid's records of a mode (and cell), by batch and units."""
    found = [old for old in results["cases"] if old["mode"] == mode and cell in (None, old["cell"])]
    return in_order(old for old in found if old["kind"] == "grid")


def of_kind(results: dict[str, Any], kind: str) -> list[Record]:
    """The records of one of grid.KINDS, cell by cell."""
    found = in_order(old for old in results["cases"] if old["kind"] == kind)
    return sorted(found, key=lambda old: list(GATES).index(old["cell"]))


def in_order(records: Iterable[Record]) -> list[Record]:
    """By batch, units and steps, the cells of each shape together."""
    return sorted(records, key=lambda old: (old["B"], old["H"], old["T"], list(GATES).index(old["cell"])))


def over_every_step(results: dict[str, Any], record: Record, threads: int) -> float | None:
    """Our time with the loss at the last step over that with a loss at every step."""
    if record["kind"] not in ("last", "trained"):
        return None
    shape = record["cell"], record["T"]
    same = [old for old in of_kind(results, "every") if (old["cell"], old["T"]) == shape]
    every = seconds(same[0], "rnncore", threads) if same else None
    own = seconds(record, "rnncore", threads)
    return own / every if own and every else None


def thread_counts(results: dict[str, Any]) -> list[int]:
    """The thread counts at which rnncore was measured."""
    counts = {int(count) for old in results["cases"] for count in old["seconds"].get("rnncore", {})}
    return sorted(counts)


def behind(results: dict[str, Any], mode: str) -> list[tuple[Record, int, float]]:
    """Where a peer is faster: record, threads, ratio; the worst first."""
    found = [
        (record, threads, value)
        for record in [*chosen(results, mode), *(old for kind in KINDS for old in of_kind(results, kind))]
        if record["mode"] == mode
        for threads in thread_counts(results)
        if (value := ratio(record, threads)) is not None and value < 1
    ]
    return sorted(found, key=lambda entry: entry[2])


def promised(
    results: dict[str, Any], value: Callable[[Record], float | None], where: Callable[[Record], bool]
) -> Spread | None:
    """The spread of a figure over the training cases where something is promised of it."""
    return spread(value(record) for record in chosen(results, "training") if where(record))


def missing(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Case, library with thread count, reason: all that was wanted and not measured."""
    return [
        (str(case(record)), str(Entrant(library, int(count))), reason)
        for record in results["cases"]
        for library, counts in record["missing"].items()
        for count, reason in counts.items()
    ]
