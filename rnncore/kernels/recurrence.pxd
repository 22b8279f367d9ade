from cython cimport floating
from libc.math cimport INFINITY
from libc.string cimport memset

from .dispatch cimport Kernels, StepFunction, kernels

# One layer over a whole sequence: sizes, the cell's two step functions, and every array as bytes. T steps,
# B rows, I inputs, H units, G gates; NULL where a cell or a call has no such array.
cdef struct Sequence:
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t inputs
    Py_ssize_t units
    int gates
    int item                  # bytes of a number
    int activation
    bint two_products         # whether drecurrent differs from dgates
    bint leaves_dh            # whether h[t-1] also enters h[t] beside the product
    const Kernels *kernels
    StepFunction forward
    StepFunction backward
    const Py_ssize_t *lengths  # (B,) or NULL
    const char *x             # (T, B, I)
    const char *weight_ih     # (G*H, I)
    const char *weight_hh     # (G*H, H)
    const char *bias          # (G*H,)
    const char *bias_hn       # (H,)
    char *hidden              # (1+T, B, H)
    char *cells               # (1+T, B, H)
    char *gate_tape           # (T, B, G*H)
    char *candidates          # (T, B, H)
    double clip_step
    const char *dy            # (T, B, H)
    char *dh                  # (B, H)
    char *dc                  # (B, H)
    char *dx                  # (T, B, I)
    char *dhidden             # (1+T, B, H): this and the next three record a pass, each may be NULL
    char *dcells              # (1+T, B, H)
    char *dgates              # (T, B, G*H)
    char *drecurrent          # (T, B, G*H)
    char *dweight_ih
    char *dweight_hh
    char *dbias
    char *dbias_hn
    char *scratch

cdef void run_forward(Sequence *s) noexcept nogil
cdef Py_ssize_t run_backward(Sequence *s) noexcept nogil


cdef inline char *at_start(floating[:, :, ::1] array) noexcept:
    """The first byte of an array; NULL for None."""
    return NULL if array is None else <char *>&array[0, 0, 0]


cdef inline Sequence start(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    floating[:, :, ::1] hidden,
    floating[::1] scratch,
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
    s.scratch = <char *>&scratch[0]
    return s
