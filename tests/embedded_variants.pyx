"""What test_embedding.py builds as another package would: cells that are variants, through the declarations."""

from libc.stdlib cimport free, malloc

from rnncore.kernels cimport (
    SIGMOID, TANH, Cell, advance_cell, cell_states, cell_work_size, elman_sequence, free_cell, gru_sequence,
    import_rnncore, lstm_sequence, new_gru_variant, new_leaky, new_lstm_variant, new_skip, set_zoneout
)

import_rnncore()


cdef double *at(dict arrays, str name) except NULL:
    cdef double[::1] flat = arrays[name].reshape(-1)
    return &flat[0]


cdef Cell *new_cell(str kind, Py_ssize_t inputs, Py_ssize_t units, dict arrays) except NULL:
    cdef double *weight_ih = at(arrays, "weight_ih")
    cdef double *weight_hh = at(arrays, "weight_hh")
    cdef double *bias = at(arrays, "bias")
    cdef Py_ssize_t[::1] delays
    if kind == "leaky":
        return new_leaky(inputs, units, weight_ih, weight_hh, bias, at(arrays, "leak"), TANH)
    if kind == "skip":
        delays = arrays["delays"]
        return new_skip(
            inputs, units, <int>delays.shape[0], &delays[0], weight_ih, weight_hh,
            at(arrays, "weight_skip"), bias, TANH,
        )
    if kind == "lstm":
        return new_lstm_variant(
            inputs, units, 3, weight_ih, weight_hh, bias,
            at(arrays, "weight_ci"), <double *>NULL, at(arrays, "weight_co"), SIGMOID, TANH,
        )
    return new_gru_variant(inputs, units, weight_ih, weight_hh, bias, <double *>NULL, SIGMOID, TANH)


def run(
    str kind,
    dict arrays,
    zoneout,
    double[:, :, ::1] x,
    double[:, :, ::1] hidden,
    double[:, :, ::1] cells,
    double[:, :, ::1] state,
    double[:, :, ::1] y,
):
    """A whole sequence x (T, B, I) into hidden, and an LSTM's cells; then from state two steps and the rest
    into y (T, B, H)."""
    cdef Py_ssize_t steps = x.shape[0], rows = x.shape[1]
    cdef Cell *cell = new_cell(kind, x.shape[2], y.shape[2], arrays)
    cdef void *work
    if zoneout:
        set_zoneout(cell, zoneout, zoneout)
    assert cell_states(cell) == state.shape[0]
    work = malloc(cell_work_size(cell, steps, rows))
    if kind == "lstm":
        lstm_sequence(cell, steps, rows, &x[0, 0, 0], &hidden[0, 0, 0], &cells[0, 0, 0], work)
    elif kind == "gru":
        gru_sequence(cell, steps, rows, &x[0, 0, 0], &hidden[0, 0, 0], work)
    else:
        elman_sequence(cell, steps, rows, &x[0, 0, 0], &hidden[0, 0, 0], work)
    with nogil:
        advance_cell(cell, 2, rows, &x[0, 0, 0], &state[0, 0, 0], &y[0, 0, 0], work)
        advance_cell(cell, steps - 2, rows, &x[2, 0, 0], &state[0, 0, 0], &y[2, 0, 0], work)
    free(work)
    free_cell(cell)
