"""How many threads the kernels use."""

import numbers
import os

cdef extern from "shares.h":
    void share_out(int shares, void (*task)(void *job, int share) noexcept nogil, void *job) noexcept nogil

cdef extern from *:
    """
    #include <stdatomic.h>

    static atomic_int chosen_threads = 1; /* set by one thread while others look */
    static inline void choose_threads(int n)
    {
        atomic_store_explicit(&chosen_threads, n, memory_order_relaxed);
    }
    static inline int chosen(void)
    {
        return atomic_load_explicit(&chosen_threads, memory_order_relaxed);
    }
    """
    void choose_threads(int n) noexcept nogil
    int chosen() noexcept nogil

cdef enum:
    MAX_THREADS = 64
    # With fewer flops than twice this one thread is as fast: bench/README.md, "Threads that sleep".
    FLOPS_A_THREAD = 5000000


cdef void run_shares(int shares, void (*task)(void *job, int share) noexcept nogil, void *job) noexcept nogil:
    share_out(shares, task, job)


cdef int threads_for(double flops) noexcept nogil:
    return <int>max(1, min(chosen(), flops / FLOPS_A_THREAD))


def get_num_threads():
    """Number of threads the kernels use at most."""
    return chosen()


def set_num_threads(n):
    """Use at most ``n`` threads, at least 1; the default is OMP_NUM_THREADS or else the cores at hand.

    More than 64 count as 64, the most that the kernels share their work among: `get_num_threads` says so.

    Raises
    ------
    TypeError
        If n is no whole number.
    ValueError
        If n is below 1.
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"n is {n!r}, but a whole number is wanted")
    if n < 1:
        raise ValueError(f"n is {n}, but at least one thread is wanted")
    choose_threads(min(n, MAX_THREADS))


def default_num_threads():
    """OMP_NUM_THREADS where it is a whole number of at least 1, else the cores this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    digits = wanted.lstrip("0")
    if wanted.isdecimal() and digits:
        return int(digits[:9])  # longer ones are too many all the same, and int refuses thousands of digits
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


set_num_threads(default_num_threads())
