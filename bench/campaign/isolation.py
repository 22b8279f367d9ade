"""One try in a child process of its own, with limits on its time and memory, and what became of it."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

PASSED, REFUSED, SKIPPED = "passed", "refused", "skipped"
# Sanitizers reserve terabytes of addresses, and everything takes several times as long.
SANITIZED = any(f"lib{name}san" in os.environ.get("LD_PRELOAD", "") for name in ("a", "t", "ub"))
SLOWER = 6 if SANITIZED else 1
WAITING = 6  # wall time beside the processor's: other processes may have the machine


class Broken(Exception):
    """A promise that a try has seen broken."""


class Skip(Exception):
    """Says that a try has nothing to try here."""


@dataclass(frozen=True)
class Outcome:
    """What became of a try: ``kind`` is passed, refused or skipped, or one of the faults."""

    kind: str
    what: str = ""
    where: str = ""  # the innermost line of rnncore
    details: str = field(default="", repr=False)

    @property
    def fault(self) -> bool:
        return self.kind not in (PASSED, REFUSED, SKIPPED)

    @property
    def signature(self) -> str:
        """What faults of one cause have in common."""
        return f"{self.kind} {self.where or self.what[:60]}"


@dataclass(frozen=True)
class Limits:
    """Seconds of the processor, bytes beyond the interpreter's (None: no limit), allowed exceptions."""

    seconds: float = 5
    memory: int | None = None
    allowed: tuple[type[BaseException], ...] = (ValueError, TypeError, OSError)


def isolated(call: Callable[[], None], limits: Limits) -> Outcome:
    """Run ``call`` in a forked child."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log:
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about forks where there are threads
            child = os.fork()
        if not child:
            os.close(reading)
            _run(call, limits, writing, log.fileno())
        os.close(writing)
        status = None
        try:
            answer, ended = _wait(reading, limits.seconds * SLOWER * WAITING)
            status = _reap(child, 10 * SLOWER) if ended else None
        finally:
            os.close(reading)
            _end(child, status is None)
        log.seek(0)
        words = log.read().decode(errors="replace")[-20_000:]
    return _judge(answer, status, words)


def _wait(reading: int, seconds: float) -> tuple[bytes, bool]:
    """What the child writes, and whether it ended in time."""
    answer, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            piece = os.read(reading, 1 << 16)
            if not piece:
                return answer, True
            answer += piece
    return answer, False


def _reap(child: int, seconds: float) -> int | None:
    """The child's status, None if it does not end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.0005)
    return None


def _end(child: int, running: bool) -> None:
    """End the child's group: itself, if it runs, and what it has left running."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _run(call: Callable[[], None], limits: Limits, writing: int, log: int) -> NoReturn:
    """The child's life."""
    status = 1
    try:
        os.setpgid(0, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warnings.simplefilter("ignore")
        if not SANITIZED:
            faulthandler.enable(open(os.dup(2), "w"))  # noqa: SIM115
            if limits.memory is not None:
                _limit_memory(limits.memory)
        seconds = math.ceil(limits.seconds * SLOWER)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        kind, what, where, details = PASSED, "", "", ""
        try:
            call()
        except BaseException as error:
            kind, what = _verdict(error, limits.allowed)
            where, details = _place(error), "".join(traceback.format_exception(error))[-20_000:]
        os.write(writing, json.dumps([kind, what, where, details]).encode())
        status = 0
    finally:
        os._exit(status)


def _limit_memory(more: int) -> None:
    with open("/proc/self/statm") as file:
        have = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (have + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _verdict(error: BaseException, allowed: tuple[type[BaseException], ...]) -> tuple[str, str]:
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if isinstance(error, Skip):
        return SKIPPED, what
    if isinstance(error, Broken):
        return "broken promise", what
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError):
            return "memory", what
        chain = chain.__cause__ or chain.__context__
    return (REFUSED, what) if isinstance(error, allowed) else ("exception", what)


def _place(error: BaseException) -> str:
    """The innermost line of rnncore that an exception, or the first behind it, went through."""
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if "/rnncore/" in frame.filename or frame.filename.startswith("rnncore/"):
            found = f"{frame.filename[frame.filename.rindex('rnncore/') :]}:{frame.lineno}"
    return found


def _judge(answer: bytes, status: int | None, words: str) -> Outcome:
    if status is None:
        return Outcome("hang", "did not end in time", _last_line(words), words)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        kind = "slow" if number == signal.SIGXCPU else "crash"
        return Outcome(kind, f"ended by {signal.Signals(number).name}", _last_line(words), words)
    if status or not answer:
        lines = [
            line for line in words.splitlines() if "ERROR" in line or "WARNING" in line or "error:" in line
        ]
        what = lines[0].strip()[:300] if lines else f"ended with status {os.WEXITSTATUS(status)}"
        return Outcome("crash", what, _last_line(words), words)
    kind, what, where, details = json.loads(answer)
    return Outcome(kind, what, where, f"{details}\n{words}")


def _last_line(words: str) -> str:
    """Where in rnncore a report of faulthandler or of a sanitizer says that it happened."""
    found = re.search(r"rnncore/[\w/.]+(?:\", line \d+|:\d+)", words)
    return found[0].replace('", line ', ":") if found else ""
