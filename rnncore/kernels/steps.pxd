"""A cell's weights packed once, and steps and sequences on them: no GIL, no Python object, no allocation.

Weights have PyTorch's shapes and gate order; arrays are time-major and C-contiguous: T steps, B rows, I
inputs, H units. All functions trust their arguments. A Cell is never written to after it was made, so threads
may share one; state and work belong to one thread at a time. docs/embedding.md has a package that uses these.
"""

from cython cimport floating

cdef extern from "rnncore_api.h":
    const int RNNCORE_API_VERSION


cdef inline int import_rnncore() except -1:
    """Raise ImportError unless the rnncore at hand has the interface that this module was built against.

    Call it once, when your module is imported.
    """
    from rnncore.kernels.steps import API_VERSION
    from rnncore.version import __version__
    if API_VERSION != RNNCORE_API_VERSION:
        raise ImportError(
            f"this module was built against version {RNNCORE_API_VERSION} of rnncore's compiled interface, "
            f"but rnncore {__version__} has version {API_VERSION}: build it again"
        )
    return 0


# Packed weights; what is inside may change from version to version.
cdef struct Cell

cdef enum Activation:
    TANH = 0
    SIGMOID = 1
    RELU = 2
    IDENTITY = 3

# A packed copy of a layer's weights; NULL if there is no memory for it. Activations: TANH, SIGMOID, RELU or
# IDENTITY.
cdef Cell *new_elman(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, int activation
) noexcept nogil
cdef Cell *new_leaky(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *leak, int activation
) noexcept nogil
cdef Cell *new_lstm(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias
) noexcept nogil
cdef Cell *new_gru(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *bias_hn
) noexcept nogil
# Elman networks with connections over so many steps, ascending: weight_hh for the first delay, weight_skip
# (n_delays - 1, H, H) for the others, or NULL. Their state is the last D of h, (D, B, H), the latest last, D
# being the last delay: that is h_prev, and in front of hidden there are D. NULL too where the delays do not
# ascend from 1 or more to 2**31 - 1 at most.
cdef Cell *new_skip(
    Py_ssize_t inputs, Py_ssize_t units, int n_delays, const Py_ssize_t *delays, const floating *weight_ih,
    const floating *weight_hh, const floating *weight_skip, const floating *bias, int activation
) noexcept nogil
# LSTMs with 4 gates, i f g o, or 3, i g o, where f is 1 - i; peepholes (H,) or NULL; weight_cf is NULL with
# 3 gates.
cdef Cell *new_lstm_variant(
    Py_ssize_t inputs, Py_ssize_t units, int gates, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *weight_ci, const floating *weight_cf, const floating *weight_co,
    int gate_activation, int activation
) noexcept nogil
# GRUs; without bias_hn, NULL, the reset gate comes before its product.
cdef Cell *new_gru_variant(
    Py_ssize_t inputs, Py_ssize_t units, const floating *weight_ih, const floating *weight_hh,
    const floating *bias, const floating *bias_hn, int gate_activation, int activation
) noexcept nogil
cdef Cell *new_dense(
    Py_ssize_t inputs, Py_ssize_t outputs, const floating *weight, const floating *bias
) noexcept nogil
# Zoneout in evaluation: a state becomes z times the one before plus 1 - z times what the cell makes of it.
# To be called before the cell's first step; c says nothing where the state has none.
cdef void set_zoneout(Cell *cell, double h, double c) noexcept nogil
cdef void free_cell(Cell *cell) noexcept nogil

# Bytes of working memory that calls with up to so many steps and rows want; none for a dense layer.
cdef Py_ssize_t cell_work_size(const Cell *cell, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil

# How many arrays (B, H) the state of a recurrent cell consists of; 0 for a dense layer.
cdef int cell_states(const Cell *cell) noexcept nogil

# One step of B rows: x (B, I), states before it and after it (B, H). h must not be h_prev; c may be c_prev.
# The functions of a cell take its variants too, those of Elman also leaky units and
# skip connections.
cdef void elman_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, floating *h, void *work
) noexcept nogil
cdef void lstm_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, const floating *c_prev,
    floating *h, floating *c, void *work
) noexcept nogil
cdef void gru_step(
    const Cell *cell, Py_ssize_t rows, const floating *x, const floating *h_prev, floating *h, void *work
) noexcept nogil

# A whole sequence: x (T, B, I); hidden and cells (1+T, B, H) with the initial state in row 0.
cdef void elman_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const floating *x, floating *hidden, void *work
) noexcept nogil
cdef void lstm_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const floating *x, floating *hidden, floating *cells, void *work
) noexcept nogil
cdef void gru_sequence(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const floating *x, floating *hidden, void *work
) noexcept nogil

# y (N, O) = x (N, I) W' + b.
cdef void dense_rows(const Cell *cell, Py_ssize_t rows, const floating *x, floating *y) noexcept nogil

# For any recurrent cell, by bytes: h_prev, c_prev (B, H) are the states before the first step, h (T, B, H)
# those after each; c goes on by c_stride bytes a step, 0 for one (B, H) that is overwritten. c is NULL where
# there is none.
cdef void run_cell(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows,
    const void *x, const void *h_prev, const void *c_prev,
    void *h, void *c, Py_ssize_t c_stride, void *work
) noexcept nogil

# The same, where state, cell_states(cell) arrays (B, H), becomes that after the steps; y (T, B, H) is h.
cdef void advance_cell(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const void *x, void *state, void *y, void *work
) noexcept nogil

# advance_cell and dense_rows for a caller that has called float_state.enter itself, once for many.
cdef void advance_entered(
    const Cell *cell, Py_ssize_t steps, Py_ssize_t rows, const void *x, void *state, void *y, void *work
) noexcept nogil
cdef void dense_entered(const Cell *cell, Py_ssize_t rows, const void *x, void *y) noexcept nogil
