"""The results file: written anew after every case, so that a run that was ended goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from race.grid import Case, Entrant

FORMAT = 1


class Results:
    """What was measured so far.

    Attributes
    ----------
    content : dict
        As in the file: ``machine``, ``versions``, ``date``, ``absent``; lists ``busy``, ``peak``, ``cases``.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content

    @classmethod
    def open(cls, path: Path, machine: dict[str, Any], versions: dict[str, str], fresh: bool) -> Results:
        """Go on with the file if it is from this machine and these versions, else begin another.

        One that cannot be continued stays beside it as ``race.json.bak``.
        """
        content = {
            "format": FORMAT,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine,
            "versions": versions,
            "absent": {},
            "busy": [],
            "peak": [],
            "cases": [],
        }
        if path.exists():
            before = cls.read(path)
            if not fresh and not difference(before.content, content):
                before.content["versions"].update(versions)
                return before
            os.replace(path, path.with_name(path.name + ".bak"))
        return cls(path, content)

    @classmethod
    def read(cls, path: Path) -> Results:
        """The file as it is; a record of a time when there was only the grid is of it."""
        content = json.loads(path.read_text())
        for record in content["cases"]:
            record.setdefault("kind", "grid")
        return cls(path, content)

    def save(self) -> None:
        """Write all, or leave the file as it was."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(self.path.name + ".new")
        draft.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(draft, self.path)

    def add(self, record: dict[str, Any]) -> None:
        """Take a case's record in place of an older one."""
        others = [old for old in self.content["cases"] if key(old) != key(record)]
        self.content["cases"] = [*others, record]

    def lacks(self, case: Case, entrants: Iterable[Entrant]) -> bool:
        """Whether any of these that takes the case has neither a time nor a reason for having none."""
        record = next((old for old in self.content["cases"] if key(old) == key(case.asdict())), None)
        if record is None:
            return True
        known = {
            (library, count)
            for what in ("seconds", "missing")
            for library, counts in record[what].items()
            for count in counts
        }
        return any(
            (entrant.library, str(entrant.threads)) not in known
            for entrant in entrants
            if entrant.takes(case)
        )


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one case from another."""
    return tuple(record[name] for name in ("cell", "mode", "T", "B", "I", "H", "kind"))


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What keeps a file from being continued, in words; empty if nothing. A library that is new does not."""
    if before.get("format") != now["format"]:
        return "its format"
    for part in ("machine", "versions"):
        for name, value in now[part].items():
            if name in before[part] and before[part][name] != value:
                return f"{name} ({before[part][name]}, now {value})"
    return ""
