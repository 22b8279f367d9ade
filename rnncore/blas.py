"""Threads of the BLAS and LAPACK that NumPy calls; the kernels' own are another matter."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_inside: list[int] = []  # threads, once for every block that they are in
_limit: Any = None  # while anyone is inside, what was before
_waited = False  # whether the thread that forks holds the lock


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS and LAPACK by one thread: on the small matrices of long chains, and in a factorization, a second
    one costs more than it brings, and tenfold on a machine with other work.

    The number is the process's. Where several threads are inside, the last to leave sets what was before.
    """
    global _limit
    with _lock:
        if _limit is None:
            _limit = _controller().limit(limits=1, user_api="blas")
        _inside.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _inside.remove(threading.get_ident())
            if not _inside:
                _limit.restore_original_limits()
                _limit = None


def _before_fork() -> None:
    """Wait, a second at most, until no other thread is inside: the library has locks of its own, which would
    stay locked in the child.
    """
    global _waited
    own, end = threading.get_ident(), time.monotonic() + 1
    while True:
        _waited = _lock.acquire(timeout=max(0, end - time.monotonic()))
        if not _waited or all(thread == own for thread in _inside) or time.monotonic() > end:
            return
        _lock.release()
        time.sleep(0.0005)


def _after_fork() -> None:
    if _waited:
        _lock.release()


def _keep_own() -> None:
    """In a forked child: the lock, and who is inside, without the threads that are not there.

    Where they alone were inside, the number stays 1 until the next who enters leaves.
    """
    global _lock
    _lock = threading.Lock()
    own = threading.get_ident()
    _inside[:] = [thread for thread in _inside if thread == own]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_keep_own)


@cache
def _controller() -> Any:
    """Knows the libraries that are loaded, NumPy's among them: to look for them takes longer than a QR."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
