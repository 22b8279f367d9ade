from .dispatch cimport BY_PLACE, Kernels, Program, Rows

cdef enum:
    MAX_ROLES = 96
    MAX_MATRICES = 64
    # Where an array of a step lies: see `StepProgram`.
    TIMED
    FIXED
    VECTOR
    SUMS
    STEP_ROWS
    ONE_ROW

cdef struct Role:
    int kind
    Py_ssize_t row            # numbers in a row
    Py_ssize_t offset         # TIMED: step t is at t + offset ...
    Py_ssize_t modulus        # ... modulo this, unless it is 0

# out[:, out_column ...] = or += array[:, column ...] @ packed matrix   (n, K)(K, N)
cdef struct StepProduct:
    int array
    Py_ssize_t column
    int matrix
    int out
    Py_ssize_t out_column
    int add
    int bias                  # what the sums begin with, or -1

# A phase's program as a function of its own, compiled for one set of kernels.
ctypedef void (*RunProgram)(
    const Program *program, Py_ssize_t n, const Py_ssize_t *rows, const Rows *arrays
) noexcept nogil

cdef struct Phase:
    int first_product
    int last_product
    Program program
    RunProgram run            # what runs the program in place of the interpreter ...
    const Kernels *made_for   # ... of these kernels, NULL if there is none

# What a step runs: the program's phases and its packed weights.
cdef struct Compiled:
    const Kernels *kernels
    int item
    const Phase *phases
    const StepProduct *products
    const Matrix *matrices
    int n_phases
    int n_matrices
    int n_biases
    char *packed[MAX_MATRICES]
    char *packed_biases[MAX_MATRICES]
    Py_ssize_t bias_sizes[MAX_MATRICES]


cdef inline void run_phases(
    const Compiled *c, Py_ssize_t n, const Py_ssize_t *rows, const Rows *arrays
) noexcept nogil:
    """The products and programs of one step on its n active rows."""
    cdef const Phase *phase
    cdef const StepProduct *p
    cdef const Rows *a
    cdef const Rows *out
    cdef const Matrix *m
    cdef int f, i
    for f in range(c.n_phases):
        phase = &c.phases[f]
        for i in range(phase.first_product, phase.last_product):
            p = &c.products[i]
            a, out, m = &arrays[p.array], &arrays[p.out], &c.matrices[p.matrix]
            # out[:, out_column ...] = or += a[:, column ...] @ W   (n, K)(K, N)
            c.kernels.multiply(
                n, <char *>a.at + p.column * c.item, rows if a.by == BY_PLACE else NULL, a.row, m.K,
                c.packed[p.matrix], m.N, 1, NULL if p.bias < 0 else c.packed_biases[p.bias], p.add,
                <char *>out.at + p.out_column * c.item, rows if out.by == BY_PLACE else NULL, out.row, m.N,
            )
        if not phase.program.n_blocks:
            continue
        if phase.made_for == c.kernels:
            phase.run(&phase.program, n, rows, arrays)
        else:
            c.kernels.run_program(&phase.program, n, rows, arrays)


# dweight += sums[:, column ... column + N - 1]' @ source   (N, rows)(rows, K)
cdef struct Outer:
    Py_ssize_t column
    Py_ssize_t N
    int source

# dvector += sum over rows of sums[:, column ...]
cdef struct Total:
    Py_ssize_t column
    Py_ssize_t N

cdef struct Source:
    int role
    Py_ssize_t column
    Py_ssize_t K

cdef struct Matrix:
    Py_ssize_t K
    Py_ssize_t N
    bint turned               # whether the weight given is (K, N), else (N, K)


cdef class StepProgram:
    cdef Role *roles
    cdef Phase *phases
    cdef StepProduct *products
    cdef Matrix *matrices
    cdef Outer *outers
    cdef Total *totals
    cdef Source *sources
    cdef int *clipped         # roles of the states' gradients that clip_step rescales
    cdef int n_roles, n_phases, n_products, n_matrices, n_outers, n_totals, n_sources, n_clipped, n_biases
    cdef Py_ssize_t width     # of the sums
    cdef Py_ssize_t projected  # of them, the first, with x: matrix 0 is theirs
    cdef bint projected_add   # whether dx is added to what the program has stored
    cdef double flops         # of one row in one step
    cdef object memory
    cdef object library       # of the functions that run in place of the interpreter
