"""Failures that are kept: enough to try again, and to become a test in tests/kept."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from campaign.isolation import Outcome
from campaign.subjects import attempt, generator, subject

EACH = 5  # of one signature
TESTS = Path(__file__).resolve().parents[2] / "tests" / "kept"


@dataclass(frozen=True)
class Failure:
    """One try that failed: the subject, what it drew from, and the file if it was one of files."""

    subject: str
    seed: int
    number: int
    data: bytes | None
    what: str = ""

    def again(self) -> Outcome:
        """The same try once more."""
        with tempfile.TemporaryDirectory() as folder:
            rng = generator(self.seed, self.subject, self.number, 1)
            return attempt(subject(self.subject), Path(folder), rng, self.data)

    @property
    def name(self) -> str:
        key = f"{self.subject} {self.seed} {self.number}".encode() + (self.data or b"")
        return f"{self.subject}-{blake2b(key, digest_size=4).hexdigest()}"

    def write(self, folder: Path) -> Path:
        record = {"subject": self.subject, "seed": self.seed, "number": self.number, "what": self.what}
        if self.data is not None:
            record["data"] = base64.b85encode(self.data).decode()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        return path


def read(path: Path) -> Failure:
    record = json.loads(path.read_text())
    data = record.pop("data", None)
    return Failure(data=None if data is None else base64.b85decode(data), **record)


def keep(folder: Path, failure: Failure, outcome: Outcome) -> None:
    """Write a failure down with all that was seen, unless there are enough of its kind."""
    index = blake2b(outcome.signature.encode(), digest_size=4).hexdigest()
    place = folder / f"{failure.subject}-{index}"
    if place.exists() and len(list(place.glob("*.json"))) >= EACH:
        return
    path = failure.write(place)
    path.with_suffix(".txt").write_text(
        f"{outcome.kind}\n{outcome.what}\n{outcome.where}\n\n{outcome.details}\n"
    )


def make_tests(folder: Path) -> list[Path]:
    """One failure of each kind becomes a file in tests/kept, which tests/test_campaign.py tries again."""
    made = []
    for place in sorted(path for path in folder.glob("*-*") if path.is_dir()):
        smallest = min(place.glob("*.json"), key=lambda path: (path.stat().st_size, path.name), default=None)
        if smallest is not None:
            made.append(read(smallest).write(TESTS))
    return made
