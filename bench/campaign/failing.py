"""The library that makes calls of the system fail, compiled once, and a process that runs a try under it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import Generator

from campaign.isolation import SANITIZED, Broken, Skip

KINDS = ("write", "short write", "fsync", "rename", "read", "memory", "thread")
SOURCE = Path(__file__).with_name("failing.c")


@cache
def library() -> str:
    """The compiled library; Skip where it cannot be had."""
    compiler = os.environ.get("CC", "cc").split()[-1]
    if not sys.platform.startswith("linux") or shutil.which(compiler) is None:
        raise Skip(f"no Linux, or no compiler {compiler}")
    if SANITIZED:
        raise Skip("a sanitizer has its own malloc")
    place = Path(tempfile.gettempdir()) / f"rnncore-campaign-{os.getuid()}-{SOURCE.stat().st_mtime_ns}.so"
    if not place.exists():
        made = place.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl", "-pthread"]
        subprocess.run(command, check=True, capture_output=True)
        os.replace(made, place)
    return str(place)


def fail(kind: str | None, nth: int = 1, error: int = 0) -> None:
    """Let the n-th call of this kind from now fail; None for none."""
    loaded = ctypes.CDLL(None)
    loaded.campaign_fail(-1 if kind is None else KINDS.index(kind), nth, error)


def failed() -> int:
    """How many calls have failed since."""
    return ctypes.c_int.in_dll(ctypes.CDLL(None), "campaign_failed").value


def under_it(module: str, rng: Generator, folder: Path) -> None:
    """Run ``module.inside(rng, folder)`` in a process that has the library in front."""
    environment = {
        **os.environ, "LD_PRELOAD": library(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONFAULTHANDLER": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    seed = int(rng.integers(2**31))
    code = f"from {module} import inside; from campaign.failing import begin; begin(inside, {seed}, "
    code += f"{str(folder)!r})"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False, timeout=120
    )
    words = (ran.stdout + ran.stderr).decode(errors="replace")
    if ran.returncode:
        sys.stderr.write(words)
        last = words.strip().splitlines()[-1:] or [""]
        raise Broken(f"ended with status {ran.returncode}: {last[0][:300]}")


def begin(inside, seed: int, folder: str) -> None:  # type: ignore[no-untyped-def]
    inside(np.random.default_rng(seed), Path(folder))
