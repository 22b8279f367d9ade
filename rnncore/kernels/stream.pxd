"""Networks step by step: what stream.pyx offers to other compiled modules."""

cimport numpy as cnp
from cython cimport floating

from .dispatch cimport Kernels
from .stages cimport Stage

# One thread at a time, also where there is no GIL: whether the flag was free; and giving it back.
cdef extern from *:
    """
    static inline int rnncore_take(int *flag) { return !__atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE); }
    static inline void rnncore_leave(int *flag) { __atomic_store_n(flag, 0, __ATOMIC_RELEASE); }
    """
    bint rnncore_take(int *flag) noexcept nogil
    void rnncore_leave(int *flag) noexcept nogil

# All that a run of the chain reads and writes; one thread at a time.
cdef struct Session:
    const Kernels *kernels
    const Stage *stages
    int n_stages
    int item
    bint softmax
    Py_ssize_t rows
    Py_ssize_t capacity      # steps that the working memory is made for
    char *states
    char *between[2]         # (capacity * B, widest) what a stage hands on
    char *work

# Steps of the whole chain: x (T, B, F), or ids as Py_ssize_t (T, B), to y (T, B, O). The arguments are
# trusted. Returns the number of the stage whose states left its limit, where the run ended; else -1.
cdef int run_session(const Session *session, Py_ssize_t steps, const void *x, void *y) noexcept nogil


# What a dense layer or an activation makes of rows of x: (N, I) to (N, O).
cdef void run_rows(
    const Kernels *k, const Stage *stage, Py_ssize_t rows, const char *x, char *y
) noexcept nogil


# Whether no entry leaves ±limit or is NaN.
cdef bint within(const floating *h, Py_ssize_t n, floating limit) noexcept nogil


cdef class Program:
    cdef const Kernels *kernels
    cdef Stage *stages
    cdef int n_stages
    cdef int item
    cdef Py_ssize_t states       # features of all states together
    cdef Py_ssize_t widest       # features that any stage hands on
    cdef double flops            # of one row's step
    cdef list equations          # which own the steppers
    cdef readonly bint takes_ids
    cdef readonly Py_ssize_t inputs
    cdef readonly Py_ssize_t outputs


cdef class Runner:
    cdef Session session
    cdef Program program
    cdef int busy
    cdef int typenum
    cdef char *states
    cdef char *memory            # working memory, and ids
    cdef Py_ssize_t *ids

    cdef int make_room(self, Py_ssize_t steps) except -1
    cdef bint fits(self, x, bint block) noexcept
    cdef cnp.ndarray output(self, int axes, Py_ssize_t first, out)
    cdef int run_numbers(self, Py_ssize_t steps, const void *x, void *y) except -1
    cdef int run_ids(self, Py_ssize_t steps, const char *x, int item, char *y) except -1
    cdef object advance(self, x, out, bint block)


# For who has a Stream from Python and wants to run it without the GIL: from one thread at a time, which keeps
# the object alive meanwhile.
cdef const Session *session_of(Runner runner) noexcept
