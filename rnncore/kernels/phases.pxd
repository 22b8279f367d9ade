from .dispatch cimport Program

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

cdef struct Phase:
    int first_product
    int last_product
    Program program

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
