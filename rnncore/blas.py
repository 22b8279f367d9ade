"""Threads of the BLAS and LAPACK that NumPy calls; the kernels' own are another matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS and LAPACK by one thread: on the small matrices of long chains, and in a factorization, a second
    one costs more than it brings, and tenfold on a machine with other work."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
