cdef extern from "table.h":
    ctypedef struct Kernels:
        const char *name
        ptrdiff_t lanes
        void (*exp)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*tanh)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*sigmoid)(const void *x, void *y, ptrdiff_t n) noexcept nogil

    const Kernels *rnncore_level(int index, int is_double) noexcept nogil

# The functions of the level in force, for float (0) or double (1).
cdef const Kernels *kernels(bint is_double) noexcept nogil
