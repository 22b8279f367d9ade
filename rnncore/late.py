"""Imports on first use, and forks: a child that imports must not wait for a thread which is not there.

What is imported only when it is needed, `rnncore.stream` or safetensors for example, is imported by whatever
thread needs it first. Python locks each module meanwhile, and does not renew these locks in a forked child.
"""

from __future__ import annotations

import importlib
import os
import threading
import time

LONGEST = 1.0  # seconds that a fork waits


def _before_fork() -> None:
    """Wait, a second at most, until no other thread is importing anything."""
    own, end = threading.get_ident(), time.monotonic() + LONGEST
    while _others_import(own) and time.monotonic() < end:
        time.sleep(0.0005)


def _others_import(own: int) -> bool:
    bootstrap = getattr(importlib, "_bootstrap", None)
    locks = [reference() for reference in list(getattr(bootstrap, "_module_locks", {}).values())]
    return any(getattr(lock, "owner", None) not in (None, own) for lock in locks)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
