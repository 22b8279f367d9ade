"""Stages of a chain: each layer's weights packed for its steps."""

cimport numpy as cnp
from cython cimport floating
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from .equation cimport Equation
from .steps cimport (
    Cell, cell_states, free_cell, new_dense, new_elman, new_gru_variant, new_leaky, new_lstm_variant, new_skip
)

cnp.import_array()


cdef const floating *at(dict arrays, str name, floating of_type) except? NULL:
    """The first number of a C-contiguous array; NULL if there is none of this name."""
    cdef const floating[::1] flat
    if name not in arrays:
        return NULL
    flat = arrays[name].reshape(-1)
    return &flat[0]


cdef char *copy_of(cnp.ndarray array) except NULL:
    """The array's numbers in memory of their own."""
    cdef char *numbers = <char *>malloc(cnp.PyArray_NBYTES(array))
    if numbers == NULL:
        raise MemoryError("no memory for a copy of the weights")
    memcpy(numbers, cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array))
    return numbers


cdef Cell *new_cell_of(
    str kind, dict arrays, int gate_activation, int activation, floating of_type
) except? NULL:
    """Pack the weights of a layer."""
    cdef const floating *weight_ih = at[floating](arrays, "weight_ih", 0)
    cdef const floating *weight_hh = at[floating](arrays, "weight_hh", 0)
    cdef const floating *bias = at[floating](arrays, "bias", 0)
    cdef const floating *leak
    cdef const Py_ssize_t[::1] delays
    cdef Py_ssize_t inputs, units
    cdef int gates
    if kind == "dense":
        units, inputs = arrays["weight"].shape
        return new_dense(inputs, units, at[floating](arrays, "weight", 0), bias)
    inputs, units = arrays["weight_ih"].shape[1], arrays["weight_hh"].shape[1]
    if kind == "elman":
        return new_elman(inputs, units, weight_ih, weight_hh, bias, activation)
    if kind == "skip":
        delays = arrays["delays"]
        return new_skip(
            inputs, units, <int>delays.shape[0], &delays[0], weight_ih, weight_hh,
            at[floating](arrays, "weight_skip", 0), bias, activation,
        )
    if kind == "leaky":
        leak = at[floating](arrays, "leak", 0)
        return new_leaky(inputs, units, weight_ih, weight_hh, bias, leak, activation)
    if kind == "lstm":
        gates = arrays["weight_hh"].shape[0] // units
        return new_lstm_variant(
            inputs, units, gates, weight_ih, weight_hh, bias,
            at[floating](arrays, "weight_ci", 0), at[floating](arrays, "weight_cf", 0),
            at[floating](arrays, "weight_co", 0), gate_activation, activation,
        )
    return new_gru_variant(
        inputs, units, weight_ih, weight_hh, bias, at[floating](arrays, "bias_hn", 0),
        gate_activation, activation,
    )


cdef int fill(
    Stage *stage, str kind, dict arrays, int gate_activation, int activation, floating of_type
) except -1:
    """Pack one stage's weights."""
    if kind == "embedding":
        stage.inputs, stage.outputs = arrays["weight"].shape
        stage.table = copy_of(arrays["weight"])
        return 0
    if "slope" in arrays:
        stage.slopes = copy_of(arrays["slope"])
    if kind == "activation":
        return 0
    stage.cell = new_cell_of[floating](kind, arrays, gate_activation, activation, 0)
    if stage.cell == NULL:
        raise MemoryError("no memory for the packed weights")
    stage.outputs, stage.inputs = arrays["weight" if kind == "dense" else "weight_ih"].shape
    if kind != "dense":
        stage.outputs = arrays["weight_hh"].shape[1]
    stage.n_states = cell_states(stage.cell)
    stage.state_size = stage.n_states * stage.outputs
    return 0


cdef int fill_equation(Stage *stage, equation) except -1:
    cdef Equation of_cell = equation
    stage.stepper = &of_cell.stepper
    stage.inputs, stage.outputs = of_cell.stepper.inputs, of_cell.stepper.outputs
    stage.n_states, stage.state_size = of_cell.stepper.n_states, of_cell.stepper.states
    return 0


cdef int fill_stage(
    Stage *stage, str kind, dict arrays, int gate_activation, int activation, bint is_double
) except -1:
    if is_double:
        return fill[double](stage, kind, arrays, gate_activation, activation, 0)
    return fill[float](stage, kind, arrays, gate_activation, activation, 0)


cdef void free_stage(Stage *stage) noexcept:
    free(stage.table)
    free(stage.slopes)
    free_cell(stage.cell)
