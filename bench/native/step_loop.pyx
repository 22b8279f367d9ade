# cython: language_level=3, freethreading_compatible=True
"""LSTM steps through the Cython API, in a loop that holds no GIL."""

from libc.stdlib cimport calloc, free
from libc.time cimport time_t

from rnncore.kernels cimport Cell, cell_work_size, free_cell, import_rnncore, lstm_step, new_lstm

import_rnncore()

cdef extern from "<time.h>" nogil:
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)


cdef double seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


def steps_a_second(
    const float[:, ::1] weight_ih, const float[:, ::1] weight_hh, const float[::1] bias, double duration
):
    """An LSTM's steps of one row a second, over at least so many seconds."""
    cdef Py_ssize_t inputs = weight_ih.shape[1], units = weight_hh.shape[1], i, done = 0
    cdef Cell *cell = new_lstm(inputs, units, &weight_ih[0, 0], &weight_hh[0, 0], &bias[0])
    cdef float *x = <float *>calloc(inputs + 3 * units, sizeof(float))
    cdef void *work = calloc(cell_work_size(cell, 1, 1), 1) if cell != NULL else NULL
    if cell == NULL or x == NULL or work == NULL:
        raise MemoryError
    cdef float *h = x + inputs
    cdef float *after = h + units
    cdef float *c = after + units
    cdef double start, end
    with nogil:
        for i in range(inputs):
            x[i] = 1
        start = end = seconds()
        while end - start < duration:
            for _ in range(50):   # the two states change places: no copy
                lstm_step(cell, 1, x, h, c, after, c, work)
                lstm_step(cell, 1, x, after, c, h, c, work)
            done += 100
            end = seconds()
    free(x)
    free(work)
    free_cell(cell)
    return done / (end - start)
