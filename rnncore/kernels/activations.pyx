"""Activations of layers and their gradients, rows (N, F) at a time; the arithmetic is in activations.h."""

from cython cimport floating

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave
from .threads cimport part, run_shares, threads_for

cdef enum:
    PRELU = 12
    # A number takes about as long as so many flops of a product.
    FLOPS_EACH = 20

cdef struct Work:
    const Kernels *kernels
    int item
    int shares
    int kind
    double alpha
    const char *slopes
    Py_ssize_t rows
    Py_ssize_t features
    const char *x            # or y, where the derivative follows from that
    const char *dy
    char *out
    char *dslopes


cdef void forward_share(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t first = part(w.rows, k, w.shares, 1), last = part(w.rows, k + 1, w.shares, 1)
    cdef Py_ssize_t at = first * w.features * w.item
    w.kernels.activate(w.kind, w.alpha, w.slopes, last - first, w.features, w.x + at, w.out + at)


cdef void backward_share(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t first = part(w.rows, k, w.shares, 1), last = part(w.rows, k + 1, w.shares, 1)
    cdef Py_ssize_t at = first * w.features * w.item
    w.kernels.activate_back(
        w.kind, w.alpha, w.slopes, last - first, w.features, w.x + at, w.dy + at, w.out + at, w.dslopes
    )


def activate(
    int kind,
    double alpha,
    const floating[:, ::1] x,
    floating[:, ::1] y,
    const floating[::1] slopes=None,
):
    """y = f(x), both (N, F); kind is the place in FUNCTIONS of rnncore/layers/activation.py, slopes (F,) are
    a PReLU's."""
    cdef Work w
    cdef float_state before
    w.kernels, w.item, w.kind, w.alpha = kernels(floating is double), sizeof(floating), kind, alpha
    w.rows, w.features = x.shape[0], x.shape[1]
    w.slopes = NULL
    if slopes is not None:
        w.slopes = <const char *>&slopes[0]
    w.x, w.out = <const char *>&x[0, 0], <char *>&y[0, 0]
    with nogil:
        before = enter()
        w.shares = threads_for(<double>FLOPS_EACH * w.rows * w.features)
        run_shares(w.shares, forward_share, &w)
        leave(before)


def activate_backward(
    int kind,
    double alpha,
    const floating[:, ::1] values,
    const floating[:, ::1] dy,
    floating[:, ::1] dx,
    const floating[::1] slopes=None,
    floating[::1] dslopes=None,
):
    """dx = f'(x) dy, all (N, F), and sums into dslopes (F,); values are x, or y where that is enough."""
    cdef Work w
    cdef float_state before
    w.kernels, w.item, w.kind, w.alpha = kernels(floating is double), sizeof(floating), kind, alpha
    w.rows, w.features = dy.shape[0], dy.shape[1]
    w.slopes = NULL
    if slopes is not None:
        w.slopes = <const char *>&slopes[0]
    w.dslopes = NULL
    if dslopes is not None:
        w.dslopes = <char *>&dslopes[0]
    w.x, w.dy, w.out = <const char *>&values[0, 0], <const char *>&dy[0, 0], <char *>&dx[0, 0]
    with nogil:
        before = enter()
        # The rows of a PReLU add into one gradient.
        w.shares = 1 if kind == PRELU else threads_for(<double>FLOPS_EACH * w.rows * w.features)
        run_shares(w.shares, backward_share, &w)
        leave(before)
