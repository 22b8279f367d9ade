from .dispatch cimport Kernels
from .phases cimport MAX_ROLES, Compiled, Role

cdef enum:
    # What a role of the step is in a stream: see `Equation`.
    OF_INPUT
    OF_STATE
    OF_NEW
    OF_CONSTANT
    OF_SUMS
    OF_STEP
    OF_ROW

# A cell's step for streams, which share it: packed weights, and where each array of a step comes from.
cdef struct Stepper:
    Compiled compiled
    const Role *roles
    int n_roles
    int from_[MAX_ROLES]
    Py_ssize_t place[MAX_ROLES]      # OF_STATE, OF_NEW: features of the states before it; OF_CONSTANT: bytes
    Py_ssize_t width                 # of the sums
    Py_ssize_t projected
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t states                # features of all states and their past
    int n_states                     # states
    Py_ssize_t depths[16]            # how many steps back each is kept
    Py_ssize_t widths[16]
    char *constants

# Bytes of working memory for so many steps of so many rows.
cdef Py_ssize_t stepper_work(const Stepper *s, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil

# x (steps, rows, I) to y (steps, rows, O), from and to the states, the past of each in front,
# (D, rows, size).
cdef void advance_stepper(
    const Stepper *s, Py_ssize_t steps, Py_ssize_t rows, const char *x, char *states, char *y, char *work
) noexcept nogil


cdef class Equation:
    cdef Stepper stepper
    cdef object program
    cdef char *memory
