from libc.stdint cimport uintptr_t


cdef inline char *carve(char **free_space, Py_ssize_t size) noexcept nogil:
    """The next ``size`` bytes at a cache line's start; also counts them when there is no memory behind the
    pointer yet."""
    cdef uintptr_t start = (<uintptr_t>free_space[0] + 63) // 64 * 64
    free_space[0] = <char *>(start + size)
    return <char *>start
