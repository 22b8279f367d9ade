"""Ids as callers have them, of 4 or 8 bytes."""

from libc.stdint cimport int32_t, int64_t


cdef inline bint ids_fit(const void *x, int item, Py_ssize_t n, Py_ssize_t limit) noexcept nogil:
    """Whether all ids, of 4 or 8 bytes each, lie in 0..limit-1."""
    cdef Py_ssize_t i
    cdef int64_t value
    for i in range(n):
        value = (<const int64_t *>x)[i] if item == 8 else (<const int32_t *>x)[i]
        if value < 0 or value >= limit:
            return False
    return True


cdef inline bint copy_ids(
    const void *x, int item, Py_ssize_t n, Py_ssize_t limit, Py_ssize_t *ids
) noexcept nogil:
    """ids = x; whether all lie in 0..limit-1."""
    cdef Py_ssize_t i
    for i in range(n):
        ids[i] = <Py_ssize_t>(<const int64_t *>x)[i] if item == 8 else (<const int32_t *>x)[i]
    return ids_fit(ids, sizeof(Py_ssize_t), n, limit)
