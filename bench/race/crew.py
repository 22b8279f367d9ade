"""The workers as the main process sees them: started, asked, replaced when they die, missed when absent."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from race.grid import Entrant

LIMIT = 300.0  # seconds that any answer may take; the longest, a large case compiled and run, takes some ten
LIVES = 3  # how often a worker that dies is started again


class Failure(Exception):
    """A worker answered with an error; the message is that."""


class Death(Failure):
    """A worker died, or did not answer in time; the message says which."""


class Worker:
    """One process that answers JSON lines; sent and received apart, so that several can work at once."""

    def __init__(self, command: list[str]) -> None:
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 (close does)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            start_new_session=True,  # Ctrl-C is for the main process, which closes the workers
        )
        self.pending = b""

    def send(self, do: str, **request: Any) -> None:
        # A worker that is dead says so when it is listened to.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self, limit: float | None = None) -> dict[str, Any]:
        end = time.monotonic() + (limit or LIMIT)
        stream = self.process.stdout.fileno()
        while b"\n" not in self.pending:
            ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
            came = os.read(stream, 65536) if ready else b""
            if not came:
                raise Death(self.obituary() if ready else "no answer in time")
            self.pending += came
        line, self.pending = self.pending.split(b"\n", 1)
        reply = json.loads(line)
        if "error" in reply:
            raise Failure(reply["error"])
        return reply

    def obituary(self) -> str:
        """How the process ended, and the last line it left on standard error."""
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its answers"
        self.complaints.seek(0)
        words = self.complaints.read().decode(errors="replace").strip().splitlines()
        how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}: {words[-1][:200]}" if words else how

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.complaints):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Crew:
    """A worker for each entrant.

    Attributes
    ----------
    workers : dict of Entrant to Worker
        Those that run.
    absent : dict of Entrant to str
        Those that do not, and why.
    versions : dict of str to str
        What the libraries said of themselves.
    """

    def __init__(self, entrants: Iterable[Entrant], cores: list[int]) -> None:
        self.cores = cores
        self.workers: dict[Entrant, Worker] = {}
        self.absent: dict[Entrant, str] = {}
        self.versions: dict[str, str] = {}
        self.deaths: dict[Entrant, int] = {}
        self.enlist(entrants)

    def command(self, entrant: Entrant) -> list[str]:
        cores = ",".join(map(str, self.cores[-entrant.threads :])) or "any"
        worker = str(Path(__file__).with_name("worker.py"))
        return [sys.executable, worker, entrant.library, str(entrant.threads), cores]

    def enlist(self, entrants: Iterable[Entrant]) -> None:
        """Start workers, all at once."""
        started = {}
        for entrant in entrants:
            if self.cores and entrant.threads > len(self.cores):
                self.absent[entrant] = f"this machine has {len(self.cores)} cores"
                continue
            started[entrant] = Worker(self.command(entrant))
            started[entrant].send("start")
        for entrant, worker in started.items():
            try:
                self.versions.update(worker.receive()["versions"])
                self.workers[entrant] = worker
            except Failure as failure:
                worker.close()
                self.absent[entrant] = str(failure)

    def send(self, entrant: Entrant, do: str, **request: Any) -> None:
        self.workers[entrant].send(do, **request)

    def receive(self, entrant: Entrant) -> dict[str, Any]:
        """The answer to what was sent; raises Failure, and of a worker that died nothing is left."""
        try:
            return self.workers[entrant].receive()
        except Death:
            self.workers.pop(entrant).close()
            self.deaths[entrant] = self.deaths.get(entrant, 0) + 1
            raise

    def ask(self, entrant: Entrant, do: str, **request: Any) -> dict[str, Any]:
        self.send(entrant, do, **request)
        return self.receive(entrant)

    def revive(self) -> None:
        """Start again those that died, unless they keep dying."""
        for entrant, deaths in self.deaths.items():
            if entrant not in self.workers and entrant not in self.absent:
                if deaths < LIVES:
                    self.enlist([entrant])
                else:
                    self.absent[entrant] = f"died {deaths} times"

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
