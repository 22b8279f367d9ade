"""A cell's weights packed once, and steps and sequences on them; steps.pxd says what is there.

The layers pack weights in every call, because training changes them. Here they are packed once and then only
read. Projections, products and gate functions are the layers' own, in the same order for every entry, so that
results are the same bits. Cost of a step: 2 B G H (I + H) flops; G H (I + H) packed numbers are read once.
"""

from cython cimport floating
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from .dispatch cimport Kernels, Run, RunFunction, Step, StepFunction, kernels
from .float_state cimport enter, float_state, leave
from .memory cimport carve

API_VERSION = RNNCORE_API_VERSION   # what import_rnncore compares

cdef struct Cell:
    const Kernels *kernels   # those of the level for which the weights are packed
    StepFunction forward     # NULL for a dense layer
    RunFunction small        # many steps of one row of few units, or NULL
    Step step                # what is the same in every step: sizes, weights, activations
    Py_ssize_t inputs
    Py_ssize_t units
    Py_ssize_t columns       # of each of the interleaved gates
    Py_ssize_t wide          # numbers in a projected row
    int interleaved          # gates whose columns lie side by side in a panel
    int states               # arrays (B, H) that the state consists of
    int item                 # bytes of a number
    char *packed_ih
    char *packed_bias
    bint zoned               # whether set_zoneout was called
    char *keep_h             # (H,) shares of what the cell makes of a state, the rest is the state before
    char *keep_c
    Py_ssize_t depth         # the longest delay of a cell with skip connections, 0 for any other
    Py_ssize_t lag           # the shortest, whose states the step takes
    Py_ssize_t further       # how many others
    Py_ssize_t *lags         # (further,)
    char *packed_skip        # and their weights, one after the other

cdef enum:
    CHUNK_ROWS = 256         # (step, row) pairs projected at a time, as in recurrence.pyx
    LONGEST_DELAY = 0x7fffffff


cdef void own(const void **vector, char **space, Py_ssize_t size) noexcept nogil:
    """Replace a caller's vector, if there is one, by a copy."""
    cdef char *copy
    if vector[0] != NULL:
        copy = carve(space, size)
        memcpy(copy, vector[0], size)
        vector[0] = copy


cdef RunFunction small_run(const Kernels *k, StepFunction forward) noexcept nogil:
    """The function that takes many steps at once; NULL where there is none."""
    if forward == NULL:
        return NULL
    if forward == k.elman_forward:
        return k.elman_steps
    if forward == k.lstm_forward:
        return k.lstm_steps
    return k.gru_steps if forward == k.gru_forward else NULL


cdef Cell *new_cell(
    int item,
    StepFunction forward,
    int gates,
    int states,
    Py_ssize_t inputs,
    const Step *given,
    const void *weight_ih,
    const void *weight_hh,
    const void *bias,
    Py_ssize_t further=0,
) noexcept nogil:
    """A cell whose steps are like the given one: its units, activations and vectors (H,), of which the cell
    takes copies. There is room for so many further delays."""
    cdef const Kernels *k = kernels(item == 8)
    cdef Py_ssize_t units = given.units, square = units * units, vector = units * item
    # With the reset before its product a GRU takes that of n by itself, from panels of plain columns.
    cdef bint apart = forward != NULL and forward == k.gru_before_forward
    cdef int interleaved = 1 if apart else gates
    cdef Py_ssize_t columns = gates * units if apart else units, joint = 2 * units if apart else units
    cdef Py_ssize_t wide = k.packed_size(1, columns, interleaved)
    cdef Py_ssize_t size_ih = k.packed_size(inputs, columns, interleaved) * item
    cdef Py_ssize_t size_hh = 0 if weight_hh == NULL else k.packed_size(units, joint, interleaved) * item
    cdef Py_ssize_t size_hn = k.packed_size(units, units, 1) * item if apart else 0
    cdef Py_ssize_t size_skip = k.packed_size(units, units, 1) * item * further
    cdef Py_ssize_t size_lags = sizeof(Py_ssize_t) * further
    cdef char *space = <char *>malloc(
        sizeof(Cell) + size_ih + size_hh + size_hn + size_skip + size_lags + wide * item + 7 * vector
        + 13 * 64
    )
    cdef Cell *cell = <Cell *>space
    cdef char *packed
    if space == NULL:
        return NULL
    space += sizeof(Cell)
    cell.kernels, cell.forward, cell.step, cell.states, cell.item = k, forward, given[0], states, item
    cell.small = small_run(k, forward) if units <= k.small_units else NULL
    cell.inputs, cell.units, cell.columns, cell.wide = inputs, units, columns, wide
    cell.interleaved = interleaved
    cell.step.last_panel = wide // k.packed_size(1, 1, interleaved)
    cell.packed_ih, cell.packed_bias = carve(&space, size_ih), carve(&space, wide * item)
    k.pack(weight_ih, inputs, columns, interleaved, units * inputs, inputs, 1, 0, 1, cell.packed_ih)
    k.pack(bias, 1, columns, interleaved, units, 1, 0, 0, 1, cell.packed_bias)
    if weight_hh != NULL:
        packed = carve(&space, size_hh)
        k.pack(weight_hh, units, joint, interleaved, square, units, 1, 0, 1, packed)
        cell.step.packed = packed
    if apart:
        packed = carve(&space, size_hn)
        k.pack(<const char *>weight_hh + 2 * square * item, units, units, 1, 0, units, 1, 0, 1, packed)
        cell.step.packed_hn = packed
    own(&cell.step.bias_hn, &space, vector)
    own(&cell.step.weight_ci, &space, vector)
    own(&cell.step.weight_cf, &space, vector)
    own(&cell.step.weight_co, &space, vector)
    own(&cell.step.leak, &space, vector)
    cell.zoned, cell.keep_h, cell.keep_c = False, carve(&space, vector), carve(&space, vector)
    cell.depth, cell.lag, cell.further = 0, 1, further
    cell.lags, cell.packed_skip = <Py_ssize_t *>carve(&space, size_lags), carve(&space, size_skip)
    return cell


cdef inline Step plain(Py_ssize_t units, int gate_activation, int activation) noexcept nogil:
    """What new_cell takes, without vectors."""
    cdef Step step
    memset(&step, 0, sizeof(Step))
    step.units, step.gate_activation, step.activation = units, gate_activation, activation
    return step


cdef Cell *new_elman(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, int activation
) noexcept nogil:
    cdef Step step = plain(units, 0, activation)
    cdef StepFunction forward = kernels(floating is double).elman_forward
    return new_cell(sizeof(floating), forward, 1, 1, inputs, &step, weight_ih, weight_hh, bias)


cdef Cell *new_leaky(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *leak, int activation
) noexcept nogil:
    cdef Step step = plain(units, 0, activation)
    cdef StepFunction forward = kernels(floating is double).leaky_forward
    step.leak = leak
    return new_cell(sizeof(floating), forward, 1, 1, inputs, &step, weight_ih, weight_hh, bias)


cdef Cell *new_skip(
    Py_ssize_t inputs, Py_ssize_t units, int n_delays, const Py_ssize_t *delays, const floating *weight_ih,
    const floating *weight_hh, const floating *weight_skip, const floating *bias, int activation
) noexcept nogil:
    cdef Step step = plain(units, 0, activation)
    cdef const Kernels *k = kernels(floating is double)
    cdef Py_ssize_t i, size = k.packed_size(units, units, 1) * sizeof(floating), before = 0
    cdef Cell *cell
    for i in range(n_delays):
        if delays[i] <= before or delays[i] > LONGEST_DELAY:
            return NULL
        before = delays[i]
    if before == 0:
        return NULL
    cell = new_cell(
        sizeof(floating), k.elman_forward, 1, <int>before, inputs, &step, weight_ih, weight_hh, bias,
        n_delays - 1,
    )
    if cell == NULL:
        return NULL
    cell.depth, cell.lag = delays[n_delays - 1], delays[0]
    for i in range(cell.further):
        cell.lags[i] = delays[i + 1]
        k.pack(
            weight_skip + i * units * units, units, units, 1, 0, units, 1, 0, 1, cell.packed_skip + i * size
        )
    return cell


cdef Cell *new_lstm(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias
) noexcept nogil:
    return new_lstm_variant[floating](
        inputs, units, 4, weight_ih, weight_hh, bias, NULL, NULL, NULL, SIGMOID, TANH
    )


cdef Cell *new_lstm_variant(
    Py_ssize_t inputs, Py_ssize_t units, int gates, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *weight_ci, const floating *weight_cf, const floating *weight_co,
    int gate_activation, int activation
) noexcept nogil:
    cdef Step step = plain(units, gate_activation, activation)
    cdef const Kernels *k = kernels(floating is double)
    cdef StepFunction forward = k.lstm_variant_forward
    step.weight_ci, step.weight_cf, step.weight_co = weight_ci, weight_cf, weight_co
    if gates == 3:
        forward = k.lstm_coupled_forward
    elif weight_ci == NULL and gate_activation == SIGMOID and activation == TANH:
        forward = k.lstm_forward
    return new_cell(sizeof(floating), forward, gates, 2, inputs, &step, weight_ih, weight_hh, bias)


cdef Cell *new_gru(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *bias_hn
) noexcept nogil:
    return new_gru_variant[floating](
        inputs, units, weight_ih, weight_hh, bias, bias_hn, SIGMOID, TANH
    )


cdef Cell *new_gru_variant(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *bias_hn, int gate_activation, int activation
) noexcept nogil:
    cdef Step step = plain(units, gate_activation, activation)
    cdef const Kernels *k = kernels(floating is double)
    cdef StepFunction forward = k.gru_variant_forward
    step.bias_hn = bias_hn
    if bias_hn == NULL:
        forward = k.gru_before_forward
    elif gate_activation == SIGMOID and activation == TANH:
        forward = k.gru_forward
    return new_cell(sizeof(floating), forward, 3, 1, inputs, &step, weight_ih, weight_hh, bias)


cdef Cell *new_dense(
    Py_ssize_t inputs, Py_ssize_t outputs, const floating *weight, const floating *bias
) noexcept nogil:
    cdef Step step = plain(outputs, 0, 0)
    return new_cell(sizeof(floating), NULL, 1, 0, inputs, &step, weight, NULL, bias)


cdef void fill(char *vector, int item, Py_ssize_t n, double value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if item == 8:
            (<double *>vector)[i] = value
        else:
            (<float *>vector)[i] = <float>value


cdef void set_zoneout(Cell *cell, double h, double c) noexcept nogil:
    cdef float_state before = enter()
    cell.zoned = True
    fill(cell.keep_h, cell.item, cell.units, 1 - h)
    fill(cell.keep_c, cell.item, cell.units, 1 - c)
    leave(before)


cdef void free_cell(Cell *cell) noexcept nogil:
    free(cell)


cdef int cell_states(const Cell *cell) noexcept nogil:
    return cell.states


cdef inline Py_ssize_t chunk_of(Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    """Steps projected at a time."""
    return max(1, min(steps, CHUNK_ROWS // rows))


cdef Py_ssize_t cell_work_size(const Cell *cell, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    if cell.forward == NULL:
        return 0
    cdef Py_ssize_t projected = chunk_of(steps, rows) * rows * cell.wide * cell.item
    # Also without zoneout, so that cells of the same sizes want the same.
    cdef Py_ssize_t proposed = 2 * rows * cell.units * cell.item
    return rows * sizeof(Py_ssize_t) + projected + proposed + 4 * 64


cdef void settle(const Cell *cell, const Step *step, char *h, char *c) noexcept nogil:
    """h = keep * proposed + (1 - keep) * h before, and so c; c may be the one before."""
    cdef Py_ssize_t i, row, n = cell.units
    for i in range(step.n):
        row = i * n * cell.item
        cell.kernels.blend(
            cell.keep_h, <const char *>step.h + row, <const char *>step.h_prev + row, h + row, n
        )
        if c != NULL:
            cell.kernels.blend(
                cell.keep_c, <const char *>step.c + row, <const char *>step.c_prev + row, c + row, n
            )


cdef void reach_back(
    const Cell *cell, Step *step, Py_ssize_t t, const char *before, const char *h
) noexcept nogil:
    """Have step t take h[t-d] for all delays d; h[-D], ..., h[-1] are before.

    projected += h[t-d] @ W_d' for the delays beside lag   (B, H)(H, H)
    """
    cdef Py_ssize_t k, states = step.n * cell.units * cell.item
    cdef Py_ssize_t size = cell.kernels.packed_size(cell.units, cell.units, 1) * cell.item
    for k in range(cell.further):
        cell.kernels.multiply(
            step.n, state_at(t - cell.lags[k], states, cell.depth, before, h), NULL, cell.units, cell.units,
            cell.packed_skip + k * size, cell.units, 1, NULL, True, step.projected, NULL,
            cell.wide, cell.wide,
        )
    step.h_prev = state_at(t - cell.lag, states, cell.depth, before, h)


cdef inline const char *state_at(
    Py_ssize_t t, Py_ssize_t states, Py_ssize_t depth, const char *before, const char *h
) noexcept nogil:
    return h + t * states if t >= 0 else before + (depth + t) * states


cdef void run_small(
    const Cell *cell, Py_ssize_t steps, const char *x, const void *h_prev, const void *c_prev,
    char *h, void *c, void *work
) noexcept nogil:
    """Steps of one row of few units, which stay in registers."""
    cdef char *space = <char *>work
    cdef Py_ssize_t chunk = chunk_of(steps, 1), size = cell.units * cell.item, t = 0
    cdef Run run
    run.step, run.wide = cell.step, cell.wide
    run.step.projected = carve(&space, chunk * cell.wide * cell.item)
    run.step.h_prev, run.step.c_prev, run.step.c = h_prev, c_prev, c
    while t < steps:
        run.steps, run.step.h = min(chunk, steps - t), h + t * size
        # projected = x @ W_ih' + b   (n, I)(I, G*H)
        cell.kernels.multiply(
            run.steps, x + t * cell.inputs * cell.item, NULL, cell.inputs, cell.inputs,
            cell.packed_ih, cell.columns, cell.interleaved, cell.packed_bias, 0,
            run.step.projected, NULL, cell.wide, cell.wide,
        )
        cell.small(&run)
        t += run.steps
        run.step.h_prev, run.step.c_prev = h + (t - 1) * size, c


cdef void run_entered(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const void *x, const void *h_prev, const void *c_prev,
    void *h, void *c, Py_ssize_t c_stride, void *work
) noexcept nogil:
    cdef char *space = <char *>work
    cdef Py_ssize_t chunk = chunk_of(steps, rows), states = rows * cell.units * cell.item, t, row, n
    cdef Py_ssize_t *places = <Py_ssize_t *>carve(&space, rows * sizeof(Py_ssize_t))
    cdef char *projected = carve(&space, chunk * rows * cell.wide * cell.item)
    cdef char *h_next = <char *>h
    cdef char *c_next = <char *>c
    cdef Step step = cell.step
    cdef bint alone = rows == 1 and steps > 1 and c_stride == 0
    if alone and cell.small != NULL and cell.depth == 0 and not cell.zoned:
        run_small(cell, steps, <const char *>x, h_prev, c_prev, <char *>h, c, work)
        return
    for row in range(rows):
        places[row] = row
    step.n, step.rows = rows, places
    step.h_prev, step.c_prev, step.h, step.c = h_prev, c_prev, h, c
    if cell.zoned:
        step.h, step.c = carve(&space, states), carve(&space, states)
    for t in range(steps):
        if t % chunk == 0:
            n = rows * min(chunk, steps - t)
            # projected = x @ W_ih' + b   (n, I)(I, G*H)
            cell.kernels.multiply(
                n, <const char *>x + t * rows * cell.inputs * cell.item, NULL, cell.inputs, cell.inputs,
                cell.packed_ih, cell.columns, cell.interleaved, cell.packed_bias, 0,
                projected, NULL, cell.wide, cell.wide,
            )
            step.projected = projected
        if cell.depth:
            reach_back(cell, &step, t, <const char *>h_prev, <const char *>h)
        step.turned = t & 1
        cell.forward(&step)
        if cell.zoned:
            settle(cell, &step, h_next, c_next)
        step.projected = <char *>step.projected + rows * cell.wide * cell.item
        step.h_prev, step.c_prev = h_next, c_next
        h_next += states
        if c != NULL:
            c_next += c_stride
        if not cell.zoned:
            step.h, step.c = h_next, c_next


cdef void run_cell(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const void *x, const void *h_prev, const void *c_prev,
    void *h, void *c, Py_ssize_t c_stride, void *work
) noexcept nogil:
    cdef float_state before = enter()
    run_entered(cell, steps, rows, x, h_prev, c_prev, h, c, c_stride, work)
    leave(before)


cdef void advance_entered(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const void *x, void *state, void *y, void *work
) noexcept nogil:
    cdef Py_ssize_t size = rows * cell.units * cell.item, depth = max(1, cell.depth), new = min(steps, depth)
    cdef char *h = <char *>state
    # Of c, of which y has nothing, only the last one is kept.
    cdef char *c = h + size if cell.depth == 0 and cell.states == 2 else NULL
    run_entered(cell, steps, rows, x, h, c, y, c, 0, work)
    memmove(h, h + new * size, (depth - new) * size)
    memcpy(h + (depth - new) * size, <char *>y + (steps - new) * size, new * size)


cdef void advance_cell(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const void *x, void *state, void *y, void *work
) noexcept nogil:
    cdef float_state before = enter()
    advance_entered(cell, steps, rows, x, state, y, work)
    leave(before)


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
    cdef Py_ssize_t before = cell.states * rows * cell.units
    run_cell(cell, steps, rows, x, hidden, NULL, hidden + before, NULL, 0, work)


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


cdef void dense_entered(const Cell *cell, Py_ssize_t rows, const void *x, void *y) noexcept nogil:
    # y = x @ W' + b   (N, I)(I, O)
    cell.kernels.multiply(
        rows, x, NULL, cell.inputs, cell.inputs, cell.packed_ih, cell.units, 1, cell.packed_bias, 0,
        y, NULL, cell.units, cell.units,
    )


cdef void dense_rows(const Cell *cell, Py_ssize_t rows, const floating *x, floating *y) noexcept nogil:
    cdef float_state before = enter()
    dense_entered(cell, rows, x, y)
    leave(before)
