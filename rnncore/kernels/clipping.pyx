"""Clipping the flat gradient (P,) in place, by value or by its L2 norm; whether an array is finite."""

from cython cimport floating
from libc.math cimport INFINITY

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave

cdef inline void *start(floating[::1] array) noexcept nogil:
    return &array[0] if array.shape[0] else NULL


def all_finite(const floating[::1] array):
    """Whether no entry is NaN or infinite.

    Cost: numbers read once.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef bint finite = True
    with nogil:
        if array.shape[0]:
            finite = table.all_finite(&array[0], array.shape[0])
    return finite


def global_norm(floating[::1] grads):
    """sqrt(sum grads^2), free of overflow and underflow; NaN if an entry is NaN.

    Cost: P numbers read once.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef double norm
    cdef float_state before
    with nogil:
        before = enter()
        norm = table.norm(start(grads), grads.shape[0])
        leave(before)
    return norm


def clip_norm(floating[::1] grads, double threshold):
    """grads *= threshold / norm where norm > threshold; returns the norm before.

    A norm that is NaN or infinite scales nothing: no factor would mend it, and the caller must see it.

    Cost: P numbers read once, and read and written once more when the norm is above the threshold.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef double norm
    cdef float_state before
    with nogil:
        before = enter()
        norm = table.norm(start(grads), grads.shape[0])
        if norm > threshold and norm < INFINITY:
            table.scale(start(grads), threshold / norm, grads.shape[0])
        leave(before)
    return norm


def clip_value(floating[::1] grads, double threshold):
    """grads = min(max(grads, -threshold), threshold); returns the largest |entry| before, or NaN.

    Cost: P numbers read and written once.
    """
    cdef const Kernels *table = kernels(sizeof(floating) == 8)
    cdef double largest
    cdef float_state before
    with nogil:
        before = enter()
        largest = table.clip_value(start(grads), threshold, grads.shape[0])
        leave(before)
    return largest
