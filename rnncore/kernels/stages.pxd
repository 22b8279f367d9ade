"""One place of a chain that goes step by step: packed weights, and what they are."""

from .equation cimport Stepper
from .steps cimport Cell

# One place of the chain: an embedding's table, or a cell, or an activation, alone or after a dense layer.
cdef struct Stage:
    char *table              # (V, F), NULL where there is none
    Cell *cell               # likewise
    const Stepper *stepper   # of a cell written as its equation, or NULL
    int function             # number of the activation, 0 where there is none
    double alpha
    char *slopes             # (F,) of a PReLU, or NULL
    Py_ssize_t inputs        # features, or V of a table
    Py_ssize_t outputs
    double limit             # of the states' entries; 0 where nobody looks
    int n_states             # (B, H) arrays: 0, 1 (h), 2 (h, c), or as many of h as the longest delay
    Py_ssize_t state_size    # features of all of them
    Py_ssize_t before        # features of the states of the stages before it

# Pack a stage's weights: its kind, its parameters by name, the numbers of its activations.
cdef int fill_stage(
    Stage *stage, str kind, dict arrays, int gate_activation, int activation, bint is_double
) except -1

# A cell written as its equation; the `Equation` must live as long as the stage.
cdef int fill_equation(Stage *stage, equation) except -1

cdef void free_stage(Stage *stage) noexcept
