"""Threads of the BLAS and LAPACK that NumPy calls; the kernels' own are another matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS and LAPACK by one thread: on the small matrices of long chains, and in a factorization, a second
    one costs more than it brings, and tenfold on a machine with other work."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    """Knows the libraries that are loaded, NumPy's among them: to look for them takes longer than a QR."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
