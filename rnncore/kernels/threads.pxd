# task(job, k) for every share k, each by whichever thread is free.
cdef void run_shares(int shares, void (*task)(void *job, int share) noexcept nogil, void *job) noexcept nogil

# How many threads a call with so many flops uses.
cdef int threads_for(double flops) noexcept nogil


cdef inline Py_ssize_t part(Py_ssize_t total, int k, int shares, Py_ssize_t grain) noexcept nogil:
    """Where share k of ``total`` begins, in whole grains."""
    return min(total, (total + grain - 1) // grain * k // shares * grain)
