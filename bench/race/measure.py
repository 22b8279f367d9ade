"""The order of measurements: check that all compute the same, then time them in turn."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from race.crew import Crew, Failure
from race.grid import Case, Entrant
from race.problem import TOLERANCE

ORACLE = Entrant("reference", 1)
SIZES = (2048, 3072)  # of the square products that the machine's peak is taken from


@dataclass(frozen=True)
class Plan:
    """How long to measure: so many rounds, in each of them about so many seconds of calls a library."""

    rounds: int = 5
    seconds: float = 0.15

    def share(self, entrant: Entrant, estimate: float) -> tuple[int, int]:
        """Rounds, and calls in each; three rounds do for calls of several rounds' time, and the yardstick."""
        fewer = estimate > 3 * self.seconds or entrant == ORACLE
        return min(3, self.rounds) if fewer else self.rounds, max(1, round(self.seconds / estimate))


def measure(case: Case, crew: Crew, plan: Plan, folder: Path) -> dict[str, Any]:
    """Race all workers that take the case.

    Returns
    -------
    dict
        The case, and for each library and thread count: the seconds of every round, their median, the largest
        difference from the reference; for those that have none of these, why.
    """
    record: dict[str, Any] = {**case.asdict(), "seconds": {}, "rounds": {}, "differences": {}, "missing": {}}

    def note(what: str, entrant: Entrant, value: Any) -> None:
        record[what].setdefault(entrant.library, {})[str(entrant.threads)] = value

    def attempt(entrant: Entrant, do: str, **request: Any) -> dict[str, Any] | None:
        """Ask; None, with the reason noted, of a worker that fails, which is then out of this case."""
        try:
            return crew.ask(entrant, do, **request)
        except Failure as failure:
            note("missing", entrant, str(failure))
            return None

    running = check(case, crew, folder, note)
    shares = {}
    for entrant in running:
        if reply := attempt(entrant, "estimate"):
            shares[entrant] = plan.share(entrant, reply["seconds"])
    times: dict[Entrant, list[float]] = {entrant: [] for entrant in shares}
    for number in range(plan.rounds):
        # Each round begins with another, so that nobody always runs behind the same one.
        order = [*times][number % max(1, len(times)) :] + [*times][: number % max(1, len(times))]
        for entrant in order:
            rounds, calls = shares[entrant]
            if number < rounds and entrant in times:
                if reply := attempt(entrant, "time", calls=calls):
                    times[entrant].append(reply["seconds"])
                else:
                    del times[entrant]
    for entrant, measured in times.items():
        note("rounds", entrant, measured)
        note("seconds", entrant, statistics.median(measured))
    return record


def check(case: Case, crew: Crew, folder: Path, note: Any) -> list[Entrant]:
    """Prepare all workers, and compare their results with the reference; returns those that agree.

    They prepare side by side: compilers take their time, and nothing is measured yet.
    """
    oracle = str(folder / "oracle.npz")
    asked = {"case": case.asdict(), "oracle": oracle}
    wanted = [entrant for entrant in crew.workers if entrant.takes(case)]
    if ORACLE not in wanted:
        for entrant in wanted:
            note("missing", entrant, "there was no reference to compare with")
        return []
    try:
        crew.ask(ORACLE, "prepare", **asked, write=True)
    except Failure as failure:
        for entrant in wanted:
            note("missing", entrant, f"there was no reference to compare with: {failure}")
        return []
    others = [entrant for entrant in wanted if entrant != ORACLE]
    for entrant in others:
        crew.send(entrant, "prepare", **asked, write=False)
    running = [ORACLE]
    for entrant in others:
        try:
            found = crew.receive(entrant)["differences"]
        except Failure as failure:
            note("missing", entrant, str(failure))
            continue
        worst = max(found, key=found.get)
        note("differences", entrant, found[worst])
        if found[worst] <= TOLERANCE:
            running.append(entrant)
        else:
            note("missing", entrant, f"DIFFERS: {worst} is {found[worst]:.2g} of its largest value off")
    return running


def peak(crew: Crew) -> list[dict[str, Any]]:
    """The sgemm rate at each thread count: the best of NumPy and PyTorch over large square products."""
    found = []
    for entrant in list(crew.workers):
        library = {"rnncore": "numpy", "torch": "torch"}.get(entrant.library)  # NumPy lives with rnncore
        for size in SIZES if library else ():
            with contextlib.suppress(Failure):
                rate = crew.ask(entrant, "product", size=size)["gflops"]
                which = {"threads": entrant.threads, "library": library, "size": size}
                found.append({**which, "gflops": rate})
            if entrant not in crew.workers:
                break
    best = {}
    for rate in sorted(found, key=lambda rate: rate["gflops"]):
        best[rate["threads"]] = rate
    return list(best.values())
