"""What a backward pass records for diagnostics: the gradients of states and of gates, step by step."""

from libc.string cimport memcpy

from .dispatch cimport Step
from .plan cimport Sequence


cdef inline void record_hidden(const Sequence *s, const Step *step, Py_ssize_t t) noexcept nogil:
    """dhidden[t + 1] = dh + dy, the gradient of the state after step t, before the step consumes it."""
    cdef Py_ssize_t i, row, width = s.units * s.item
    cdef char *recorded
    for i in range(step.n):
        row = step.rows[i] * width
        recorded = s.dhidden + (t + 1) * s.rows * width + row
        memcpy(recorded, <const char *>step.dh + row, width)
        s.kernels.add_rows(1, <const char *>step.dy + row, s.units, s.units, recorded)


cdef inline void record_gates(const Sequence *s, const Step *step, Py_ssize_t t) noexcept nogil:
    """dgates[t] and drecurrent[t]: each compact row at its own place."""
    cdef Py_ssize_t i, place, width = s.gates * s.units * s.item
    for i in range(step.n):
        place = (t * s.rows + step.rows[i]) * width
        memcpy(s.dgates + place, <const char *>step.dgates + i * width, width)
        memcpy(s.drecurrent + place, <const char *>step.drecurrent + i * width, width)
