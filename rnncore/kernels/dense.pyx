"""Dense layer: y = x W' + b.

The same packed products as in the cells, so that a row of y does not depend on the rows beside it, as BLAS
lets it. Cost: 2 N I O flops forward, twice that backward; the rows are split among the threads, and for dW
its own rows.
"""

from cython cimport floating

from libc.stdint cimport uintptr_t
from libc.string cimport memset

from .blas cimport gemm
from .dispatch cimport Kernels, Product, kernels
from .float_state cimport enter, float_state, leave
from .threads cimport part, run_shares, threads_for

cdef enum:
    CHUNK_ROWS = 1024    # rows whose x is packed at a time for dW
    TILE = 24            # rows in a share: whole tiles of any height
    # So few rows read W where it is, each share its own columns; so many flops take as long as reading a
    # weight.
    FEW_ROWS = 64
    READ_FLOPS = 32

cdef struct Work:
    const Kernels *kernels
    int item
    int shares
    Py_ssize_t rows
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t first        # the chunk of rows at hand in dW
    Py_ssize_t last
    const char *x
    const char *dy
    char *y
    char *dx
    char *dweight
    char *dbias
    const char *weight
    const char *bias
    bint unpacked           # whether W is read where it is
    char *packed            # W in panels, or room for some
    char *packed_bias
    char *packed_rows       # rows of x in panels


cdef inline char *aligned(const void *pointer) noexcept nogil:
    return <char *>((<uintptr_t>pointer + 63) // 64 * 64)


def dense_scratch_size(Py_ssize_t inputs, Py_ssize_t outputs, dtype):
    """Entries of working memory that the kernels want for I inputs and O outputs."""
    cdef const Kernels *k = kernels(dtype == "float64")
    cdef Py_ssize_t forward = k.packed_size(inputs, outputs, 1) + k.packed_size(1, outputs, 1)
    cdef Py_ssize_t backward = k.packed_size(outputs, inputs, 1) + k.packed_size(CHUNK_ROWS, inputs, 1)
    return max(forward, backward) + 64


cdef void pack_for_y(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    w.kernels.pack(w.bias, 1, w.outputs, 1, 0, 1, 0, k, w.shares, w.packed_bias)
    if not w.unpacked:
        w.kernels.pack(w.weight, w.inputs, w.outputs, 1, 0, w.inputs, 1, k, w.shares, w.packed)


cdef void pack_for_dx(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    w.kernels.pack(w.weight, w.outputs, w.inputs, 1, 0, 1, w.inputs, k, w.shares, w.packed)


cdef void choose_shares(Work *w, bint packed) noexcept nogil:
    """Rows are shared out, or with few of them columns, read where they are."""
    w.unpacked = not packed and w.rows <= FEW_ROWS
    w.shares = threads_for(max(2.0 * w.rows, <double>READ_FLOPS * w.unpacked) * w.inputs * w.outputs)


cdef void few_rows(
    const Work *w, int k, const char *a, Py_ssize_t depth, Py_ssize_t columns, bint turned,
    const char *start, char *out,
) noexcept nogil:
    """out = a @ W', or turned a @ W, one share of the columns   (rows, depth)(depth, columns)"""
    cdef Py_ssize_t grain = w.kernels.packed_size(1, 1, 1)
    cdef Py_ssize_t first = part(columns, k, w.shares, grain), last = part(columns, k + 1, w.shares, grain)
    cdef Product q
    if first == last:
        return
    memset(&q, 0, sizeof(Product))
    q.n, q.a, q.lda, q.K = w.rows, a, depth, depth
    q.units, q.gates = last - first, 1
    q.unit_stride = 1 if turned else w.inputs
    q.k_stride = w.inputs if turned else 1
    q.weight = w.weight + first * q.unit_stride * w.item
    if start != NULL:
        q.start = start + first * w.item
    q.out, q.ldo, q.columns = out + first * w.item, columns, last - first
    q.room = w.packed + first * depth * w.item
    w.kernels.multiply_unpacked(&q)


cdef void forward_share(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t first = part(w.rows, k, w.shares, TILE), last = part(w.rows, k + 1, w.shares, TILE)
    if w.unpacked:
        few_rows(w, k, w.x, w.inputs, w.outputs, False, w.packed_bias, w.y)
        return
    w.kernels.multiply(
        last - first, w.x + first * w.inputs * w.item, NULL, w.inputs, w.inputs,
        w.packed, w.outputs, 1, w.packed_bias, 0,
        w.y + first * w.outputs * w.item, NULL, w.outputs, w.outputs,
    )


def dense_forward(
    const floating[:, ::1] x,
    const floating[:, ::1] weight,
    const floating[::1] bias,
    floating[:, ::1] y,
    floating[::1] scratch,
    floating[::1] panels=None,
):
    """x (N, I), weight (O, I), bias (O,) -> y (N, O); with panels from pack_dense weights and bias are not
    looked at."""
    cdef Work w
    cdef float_state before
    w.kernels, w.item = kernels(floating is double), sizeof(floating)
    w.rows, w.inputs, w.outputs = x.shape[0], x.shape[1], weight.shape[0]
    w.x, w.weight, w.y = <const char *>&x[0, 0], <const char *>&weight[0, 0], <char *>&y[0, 0]
    w.bias, w.packed = <const char *>&bias[0], aligned(&scratch[0] if panels is None else &panels[0])
    w.packed_bias = w.packed + w.kernels.packed_size(w.inputs, w.outputs, 1) * w.item
    with nogil:
        before = enter()
        choose_shares(&w, panels is not None)
        if panels is None:
            run_shares(w.shares, pack_for_y, &w)
        run_shares(w.shares, forward_share, &w)
        leave(before)


def pack_dense(const floating[:, ::1] weight, const floating[::1] bias, floating[::1] panels):
    """Pack weights and bias once for many forward passes; panels (N,) are as long as the scratch."""
    cdef Work w
    w.kernels, w.item, w.shares, w.unpacked = kernels(floating is double), sizeof(floating), 1, False
    w.inputs, w.outputs = weight.shape[1], weight.shape[0]
    w.weight, w.bias, w.packed = <const char *>&weight[0, 0], <const char *>&bias[0], aligned(&panels[0])
    w.packed_bias = w.packed + w.kernels.packed_size(w.inputs, w.outputs, 1) * w.item
    with nogil:
        pack_for_y(&w, 0)


cdef void input_share(void *job, int k) noexcept nogil:
    """dx = dy @ W   (rows, O)(O, I)"""
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t first = part(w.rows, k, w.shares, TILE), last = part(w.rows, k + 1, w.shares, TILE)
    if w.unpacked:
        few_rows(w, k, w.dy, w.outputs, w.inputs, True, NULL, w.dx)
        return
    w.kernels.multiply(
        last - first, w.dy + first * w.outputs * w.item, NULL, w.outputs, w.outputs,
        w.packed, w.inputs, 1, NULL, 0,
        w.dx + first * w.inputs * w.item, NULL, w.inputs, w.inputs,
    )


cdef void pack_share(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    w.kernels.pack_rows(
        w.x + w.first * w.inputs * w.item, w.inputs, NULL, w.last - w.first, w.inputs,
        k, w.shares, w.packed_rows,
    )


cdef void weight_share(void *job, int k) noexcept nogil:
    """dweight += dy' x   (O, rows)(rows, I); dbias += sums of dy"""
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t grain = w.kernels.block_rows
    cdef Py_ssize_t first = part(w.outputs, k, w.shares, grain)
    cdef Py_ssize_t last = part(w.outputs, k + 1, w.shares, grain)
    cdef const char *dy = w.dy + w.first * w.outputs * w.item
    w.kernels.accumulate_outer(
        w.last - w.first, dy, w.outputs, first, last, w.packed_rows, w.inputs, w.dweight, w.inputs,
        NULL, 0, NULL, 0,
    )
    w.kernels.add_rows(
        w.last - w.first, dy + first * w.item, w.outputs, last - first, w.dbias + first * w.item
    )


def dense_backward(
    const floating[:, ::1] dy,
    const floating[:, ::1] x,
    const floating[:, ::1] weight,
    floating[:, ::1] dx,
    floating[:, ::1] dweight,
    floating[::1] dbias,
    floating[::1] scratch,
):
    """dy (N, O) -> dx (N, I) unless it is None, and sums into dweight and dbias."""
    cdef Work w
    cdef float_state before
    w.kernels, w.item = kernels(floating is double), sizeof(floating)
    w.rows, w.inputs, w.outputs = x.shape[0], x.shape[1], weight.shape[0]
    w.x, w.dy = <const char *>&x[0, 0], <const char *>&dy[0, 0]
    w.dx = NULL if dx is None else <char *>&dx[0, 0]
    w.weight = <const char *>&weight[0, 0]
    w.dweight, w.dbias = <char *>&dweight[0, 0], <char *>&dbias[0]
    w.packed = aligned(&scratch[0])
    with nogil:
        before = enter()
        w.packed_rows = w.packed + w.kernels.packed_size(w.outputs, w.inputs, 1) * w.item
        choose_shares(&w, False)
        if w.dx != NULL:
            if not w.unpacked:
                run_shares(w.shares, pack_for_dx, &w)
            run_shares(w.shares, input_share, &w)
        if w.kernels.blas:
            # dweight += dy' x   (O, N)(N, I)
            gemm(
                w.item, True, w.outputs, w.inputs, w.rows, w.dy, w.outputs, w.x, w.inputs,
                w.dweight, w.inputs,
            )
            w.kernels.add_rows(w.rows, w.dy, w.outputs, w.outputs, w.dbias)
        w.last = w.rows if w.kernels.blas else 0
        while w.last < w.rows:
            w.first = w.last
            w.last = min(w.first + CHUNK_ROWS, w.rows)
            run_shares(w.shares, pack_share, &w)
            run_shares(w.shares, weight_share, &w)
        leave(before)
