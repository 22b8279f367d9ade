"""What was tried and what failed: a table, and a JSON file from which a campaign goes on."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from campaign.isolation import REFUSED, SKIPPED, Outcome


@dataclass
class Row:
    """What was tried of one subject."""

    number: int = 0  # of the next try
    tries: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: int = 0
    kinds: dict[str, int] = field(default_factory=dict)  # signatures of faults
    note: str = ""

    def add(self, outcome: Outcome) -> None:
        self.tries += outcome.kind != SKIPPED
        self.refused += outcome.kind == REFUSED
        if outcome.kind == SKIPPED:
            self.note = outcome.what
        if outcome.fault:
            self.faults += 1
            self.kinds[outcome.signature] = self.kinds.get(outcome.signature, 0) + 1


class Ledger:
    """The rows of all subjects.

    Attributes
    ----------
    path : Path
        The JSON file.
    seed : int
        What all tries are drawn from.
    rows : dict of str to Row
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.rows: dict[str, Row] = {}

    def resume(self) -> None:
        """Go on from the file, if there is one."""
        if self.path.exists():
            found = json.loads(self.path.read_text())
            self.seed = found["seed"]
            self.rows = {name: Row(**row) for name, row in found["rows"].items()}

    def row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row())

    def save(self) -> None:
        rows = {name: asdict(row) for name, row in self.rows.items()}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"seed": self.seed, "rows": rows}, indent=1))
        os.replace(temporary, self.path)

    @property
    def faults(self) -> int:
        return sum(row.faults for row in self.rows.values())

    def table(self, about: dict[str, str]) -> str:
        """A line a subject, and a line for each kind of fault."""
        lines = ["| subject | what | tries | refused | seconds | faults |", "|---|---|--:|--:|--:|--:|"]
        for name, row in self.rows.items():
            what = f"{about[name]} ({row.note})" if row.note else about[name]
            counts = f"{row.tries:,} | {row.refused:,} | {row.seconds:.0f} | {row.faults}"
            lines.append(f"| {name} | {what} | {counts} |")
        total = Counter[str]()
        for row in self.rows.values():
            total.update(tries=row.tries, refused=row.refused, faults=row.faults)
        seconds = sum(row.seconds for row in self.rows.values())
        lines.append(
            f"| all | | {total['tries']:,} | {total['refused']:,} | {seconds:.0f} | {total['faults']} |"
        )
        for name, row in self.rows.items():
            lines += [f"{name}: {count} x {kind}" for kind, count in sorted(row.kinds.items())]
        return "\n".join(lines)
