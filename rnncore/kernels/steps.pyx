"""A cell's weights packed once, and steps and sequences on them; steps.pxd says what is there.

The layers pack weights in every call, because training changes them. Here they are packed once and then only
read. Projections, products and gate functions are the layers' own, in the same order for every entry, so that
results are the same bits. Cost of a step: 2 B G H (I + H) flops; G H (I + H) packed numbers are read once.
"""

from cython cimport floating
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from .dispatch cimport Kernels, Step, StepFunction, kernels
from .memory cimport carve

API_VERSION = RNNCORE_API_VERSION   # what import_rnncore compares

cdef struct Cell:
    const Kernels *kernels   # those of the level for which the weights are packed
    StepFunction forward     # NULL for a dense layer
    Py_ssize_t inputs
    Py_ssize_t units
    Py_ssize_t wide          # numbers in a projected row
    int gates
    int item                 # bytes of a number
    int activation
    char *packed_ih
    char *packed_hh
    char *packed_bias
    char *bias_hn

cdef enum:
    CHUNK_ROWS = 256         # (step, row) pairs projected at a time, as in recurrence.pyx


cdef Cell *new_cell(
    int item,
    StepFunction forward,
    int gates,
    int activation,
    Py_ssize_t inputs,
    Py_ssize_t units,
    const void *weight_ih,
    const void *weight_hh,
    const void *bias,
    const void *bias_hn,
) noexcept nogil:
    cdef const Kernels *k = kernels(item == 8)
    cdef Py_ssize_t wide = k.packed_size(1, units, gates), square = units * units
    cdef Py_ssize_t size_ih = k.packed_size(inputs, units, gates) * item
    cdef Py_ssize_t size_hh = 0 if weight_hh == NULL else k.packed_size(units, units, gates) * item
    cdef Py_ssize_t size_hn = 0 if bias_hn == NULL else units * item
    cdef char *space = <char *>malloc(sizeof(Cell) + size_ih + size_hh + wide * item + size_hn + 4 * 64)
    cdef Cell *cell = <Cell *>space
    if space == NULL:
        return NULL
    space += sizeof(Cell)
    memset(cell, 0, sizeof(Cell))
    cell.kernels, cell.forward, cell.gates, cell.item = k, forward, gates, item
    cell.activation, cell.inputs, cell.units, cell.wide = activation, inputs, units, wide
    cell.packed_ih, cell.packed_bias = carve(&space, size_ih), carve(&space, wide * item)
    k.pack(weight_ih, inputs, units, gates, units * inputs, inputs, 1, 0, 1, cell.packed_ih)
    k.pack(bias, 1, units, gates, units, 1, 0, 0, 1, cell.packed_bias)
    if weight_hh != NULL:
        cell.packed_hh = carve(&space, size_hh)
        k.pack(weight_hh, units, units, gates, square, units, 1, 0, 1, cell.packed_hh)
    if bias_hn != NULL:
        cell.bias_hn = carve(&space, size_hn)
        memcpy(cell.bias_hn, bias_hn, size_hn)
    return cell


cdef Cell *new_elman(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, int activation
) noexcept nogil:
    cdef StepFunction forward = kernels(floating is double).elman_forward
    return new_cell(
        sizeof(floating), forward, 1, activation, inputs, units, weight_ih, weight_hh, bias, NULL
    )


cdef Cell *new_lstm(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias
) noexcept nogil:
    cdef StepFunction forward = kernels(floating is double).lstm_forward
    return new_cell(sizeof(floating), forward, 4, 0, inputs, units, weight_ih, weight_hh, bias, NULL)


cdef Cell *new_gru(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *bias_hn
) noexcept nogil:
    cdef StepFunction forward = kernels(floating is double).gru_forward
    return new_cell(sizeof(floating), forward, 3, 0, inputs, units, weight_ih, weight_hh, bias, bias_hn)


cdef Cell *new_dense(
    Py_ssize_t inputs, Py_ssize_t outputs, const floating *weight, const floating *bias
) noexcept nogil:
    return new_cell(sizeof(floating), NULL, 1, 0, inputs, outputs, weight, NULL, bias, NULL)


cdef void free_cell(Cell *cell) noexcept nogil:
    free(cell)


cdef inline Py_ssize_t chunk_of(Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    """Steps projected at a time."""
    return max(1, min(steps, CHUNK_ROWS // rows))


cdef Py_ssize_t cell_work_size(const Cell *cell, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    if cell.forward == NULL:
        return 0
    return rows * sizeof(Py_ssize_t) + chunk_of(steps, rows) * rows * cell.wide * cell.item + 2 * 64


cdef void run_cell(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const void *x, const void *h_prev, const void *c_prev,
    void *h, void *c, Py_ssize_t c_stride, void *work
) noexcept nogil:
    cdef char *space = <char *>work
    cdef Py_ssize_t chunk = chunk_of(steps, rows), states = rows * cell.units * cell.item, t, row, n
    cdef Py_ssize_t *places = <Py_ssize_t *>carve(&space, rows * sizeof(Py_ssize_t))
    cdef char *projected = carve(&space, chunk * rows * cell.wide * cell.item)
    cdef Step step
    memset(&step, 0, sizeof(Step))
    for row in range(rows):
        places[row] = row
    step.n, step.rows, step.units, step.activation = rows, places, cell.units, cell.activation
    step.last_panel = cell.wide // cell.kernels.packed_size(1, 1, cell.gates)
    step.packed, step.bias_hn = cell.packed_hh, cell.bias_hn
    step.h_prev, step.c_prev, step.h, step.c = h_prev, c_prev, h, c
    for t in range(steps):
        if t % chunk == 0:
            n = rows * min(chunk, steps - t)
            # projected = x @ W_ih' + b   (n, I)(I, G*H)
            cell.kernels.multiply(
                n, <const char *>x + t * rows * cell.inputs * cell.item, NULL, cell.inputs, cell.inputs,
                cell.packed_ih, cell.units, cell.gates, cell.packed_bias, 0,
                projected, NULL, cell.wide, cell.wide,
            )
            step.projected = projected
        step.turned = t & 1
        cell.forward(&step)
        step.projected = <char *>step.projected + rows * cell.wide * cell.item
        step.h_prev, step.c_prev = step.h, step.c
        step.h = <char *>step.h + states
        if c != NULL:
            step.c = <char *>step.c + c_stride


cdef void elman_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, floating *h, void *work
) noexcept nogil:
    run_cell(cell, 1, rows, x, h_prev, NULL, h, NULL, 0, work)


cdef void lstm_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, const floating *c_prev,
    floating *h, floating *c, void *work
) noexcept nogil:
    run_cell(cell, 1, rows, x, h_prev, c_prev, h, c, 0, work)


cdef void gru_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, floating *h, void *work
) noexcept nogil:
    run_cell(cell, 1, rows, x, h_prev, NULL, h, NULL, 0, work)


cdef void elman_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const floating *x, floating *hidden, void *work
) noexcept nogil:
    run_cell(cell, steps, rows, x, hidden, NULL, hidden + rows * cell.units, NULL, 0, work)


cdef void lstm_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const floating *x, floating *hidden, floating *cells, void *work
) noexcept nogil:
    cdef Py_ssize_t states = rows * cell.units
    run_cell(
        cell, steps, rows, x, hidden, cells, hidden + states, cells + states, states * cell.item, work
    )


cdef void gru_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const floating *x, floating *hidden, void *work
) noexcept nogil:
    run_cell(cell, steps, rows, x, hidden, NULL, hidden + rows * cell.units, NULL, 0, work)


cdef void dense_rows(const Cell *cell, Py_ssize_t rows, const floating *x, floating *y) noexcept nogil:
    # y = x @ W' + b   (N, I)(I, O)
    cell.kernels.multiply(
        rows, x, NULL, cell.inputs, cell.inputs, cell.packed_ih, cell.units, 1, cell.packed_bias, 0,
        y, NULL, cell.units, cell.units,
    )
