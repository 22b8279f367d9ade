"""The order of tries: each subject gets its share of the time, a slice at a time."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from campaign.isolation import Outcome
from campaign.kept import Failure, keep
from campaign.ledger import Ledger
from campaign.subjects import Subject, attempt, generator

SLICE = 3.0  # seconds


class Campaign:
    """Tries subjects in turn and writes down what became of them.

    Parameters
    ----------
    subjects
        What is tried.
    ledger
        What is written into; also says where each subject goes on.
    out
        The folder for what is kept.
    """

    def __init__(self, subjects: Sequence[Subject], ledger: Ledger, out: Path) -> None:
        self.subjects = []
        self.ledger, self.out = ledger, out
        for subject in subjects:
            row = ledger.row(subject.name)
            row.note = f"left out: no {lacking}" if (lacking := subject.lacks()) else ""
            if not lacking:
                self.subjects.append(subject)

    def run(self, seconds: float) -> None:
        """Try for so long; the subject that is furthest behind its share is next."""
        end = time.monotonic() + seconds
        spent = {subject.name: 0.0 for subject in self.subjects}
        while (left := end - time.monotonic()) > 0:
            subject = min(self.subjects, key=lambda subject: spent[subject.name] / subject.weight)
            began = time.monotonic()
            self._slice(subject, min(SLICE * subject.weight, left))
            spent[subject.name] += max(time.monotonic() - began, 1e-3)
            self.ledger.save()

    def tries(self, count: int) -> None:
        """So many tries of each subject, a second of those that come in batches."""
        for subject in self.subjects:
            if subject.batch is not None:
                self._batch(subject, 1.0)
            for _ in range(0 if subject.batch is not None else max(1, round(count * subject.weight))):
                self._try(subject)
            self.ledger.save()

    def _slice(self, subject: Subject, seconds: float) -> None:
        if subject.batch is not None:
            self._batch(subject, seconds)
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._try(subject)

    def _try(self, subject: Subject) -> None:
        row, seed = self.ledger.row(subject.name), self.ledger.seed
        number, row.number = row.number, row.number + 1
        data = None if subject.make is None else subject.make(generator(seed, subject.name, number))
        self._attempt(subject, Failure(subject.name, seed, number, data))

    def _attempt(self, subject: Subject, failure: Failure) -> None:
        row, began = self.ledger.row(subject.name), time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="campaign-"))
        try:
            rng = generator(failure.seed, subject.name, failure.number, 1)
            outcome = attempt(subject, folder, rng, failure.data)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            row.seconds += time.monotonic() - began
        row.add(outcome)
        if outcome.fault:
            self._keep(failure, outcome)

    def _keep(self, failure: Failure, outcome: Outcome) -> None:
        what = f"{outcome.kind}: {outcome.what}"
        print(
            f"{failure.subject} {failure.number}: {what} ({outcome.where})"[:300], file=sys.stderr, flush=True
        )
        failure = Failure(failure.subject, failure.seed, failure.number, failure.data, what[:300])
        keep(self.out / "kept", failure, outcome)

    def _batch(self, subject: Subject, seconds: float) -> None:
        assert subject.batch is not None
        row, began = self.ledger.row(subject.name), time.monotonic()
        number, row.number = row.number, row.number + 1
        made = subject.batch(seconds, number, self.out)
        row.tries += made.tries
        row.seconds += time.monotonic() - began
        row.note = made.note
        from campaign.subjects import subject as named

        for name, data in made.failed:  # once more, by itself, under the limits
            self._attempt(named(name), Failure(name, self.ledger.seed, number, data))
