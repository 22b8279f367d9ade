from .dispatch cimport Kernels

# One pass over the rows (T, B) of two arrays: copy or add ``features`` numbers of each row of the source to
# the target, whose rows may be longer than that.
cdef struct Move:
    const Kernels *kernels
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t features
    int item                   # bytes of a number
    int shares
    bint reverse
    bint add
    const Py_ssize_t *lengths  # (B,) or NULL
    const char *source
    Py_ssize_t source_bytes    # of a whole row
    char *target
    Py_ssize_t target_bytes

# Move between rows of ``wide`` and ``target_wide`` numbers.
cdef void move(
    Move *m, const char *source, Py_ssize_t wide, char *target, Py_ssize_t target_wide
) noexcept nogil
