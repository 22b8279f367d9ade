from cython cimport floating
from libc.math cimport INFINITY
from libc.stdint cimport uintptr_t
from libc.string cimport memset

from .dispatch cimport Clipped, kernels
from .masks cimport take_masks
from .plan cimport Sequence

# Both raise RuntimeError, before anything is written, where the scratch is smaller than they need.
cdef int run_forward(Sequence *s) except -1
cdef Clipped run_backward(Sequence *s) except *


# The kernels' number of an activation: "tanh", "sigmoid", "relu" or "identity".
cdef int activation_code(str name)


cdef inline char *at_start(floating[:, :, ::1] array) noexcept:
    """The first byte of an array; NULL for None."""
    return NULL if array is None else <char *>&array[0, 0, 0]


cdef inline char *at_first(const floating[::1] array) noexcept:
    """The same of a vector."""
    return NULL if array is None else <char *><uintptr_t>&array[0]


cdef inline Sequence start(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    floating[:, :, ::1] hidden,
    floating[::1] scratch,
    masks,
):
    """What forward and backward of every cell have in common; the rest is zero."""
    cdef Sequence s
    memset(&s, 0, sizeof(Sequence))
    s.steps, s.rows, s.inputs, s.units = x.shape[0], x.shape[1], x.shape[2], weight_hh.shape[1]
    s.item = sizeof(floating)
    s.kernels = kernels(sizeof(floating) == sizeof(double))
    if lengths is not None:
        s.lengths = &lengths[0]
    s.x = <const char *>&x[0, 0, 0]
    s.weight_ih, s.weight_hh = <const char *>&weight_ih[0, 0], <const char *>&weight_hh[0, 0]
    s.hidden = <char *>&hidden[0, 0, 0]
    s.clip_step = INFINITY
    s.lag = s.depth = 1
    s.scratch = <char *>&scratch[0]
    s.scratch_end = s.scratch + scratch.shape[0] * s.item
    take_masks(&s.masks, masks, hidden)
    return s
