"""Threads of the BLAS and LAPACK that NumPy calls; the kernels' own are another matter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_limits: list[Any] = []  # one for each who is inside: the first one's remembers what was before


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS and LAPACK by one thread: on the small matrices of long chains, and in a factorization, a second
    one costs more than it brings, and tenfold on a machine with other work.

    The number is the process's. Where several threads are inside, the last to leave sets what was before.
    """
    with _lock:
        _limits.append(_limits[0] if _limits else _controller().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


@cache
def _controller() -> Any:
    """Knows the libraries that are loaded, NumPy's among them: to look for them takes longer than a QR."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
