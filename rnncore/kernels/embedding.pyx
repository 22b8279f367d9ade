"""Embedding: y = weight[ids]; an id of -1 marks padding, whose row is 0 and whose gradient is dropped.

Cost: no flops forward, T B E backward; T B E numbers read and written once each way.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave


def embedding_forward(const Py_ssize_t[:, ::1] ids, const floating[:, ::1] weight, floating[:, :, ::1] y):
    """ids (T, B), weight (V, E) -> y (T, B, E)."""
    cdef Py_ssize_t n = ids.shape[0] * ids.shape[1], features = weight.shape[1], i
    cdef const Py_ssize_t *row = &ids[0, 0]
    cdef const floating *table = &weight[0, 0]
    cdef floating *out = &y[0, 0, 0]
    cdef size_t size = features * sizeof(floating)
    with nogil:
        for i in range(n):
            if row[i] < 0:
                memset(out + i * features, 0, size)
            else:
                memcpy(out + i * features, table + row[i] * features, size)


def embedding_backward(const floating[:, :, ::1] dy, const Py_ssize_t[:, ::1] ids, floating[:, ::1] dweight):
    """dweight[ids[t, b]] += dy[t, b]."""
    cdef Py_ssize_t n = ids.shape[0] * ids.shape[1], features = dweight.shape[1], i
    cdef Py_ssize_t rows = dweight.shape[0], wrong = -1
    cdef const Py_ssize_t *row = &ids[0, 0]
    cdef const floating *upstream = &dy[0, 0, 0]
    cdef floating *table = &dweight[0, 0]
    cdef const Kernels *kernel = kernels(floating is double)
    cdef float_state before
    with nogil:
        for i in range(n):  # of a tape, which may have changed since the forward pass
            if row[i] >= rows:
                wrong = i
                break
    if wrong >= 0:
        raise ValueError(
            f"ids[{wrong // ids.shape[1]}, {wrong % ids.shape[1]}] is {row[wrong]}, but the table has {rows} "
            "rows (V)"
        )
    with nogil:
        before = enter()
        for i in range(n):
            if row[i] >= 0:
                kernel.add_rows(1, upstream + i * features, features, features, table + row[i] * features)
        leave(before)
