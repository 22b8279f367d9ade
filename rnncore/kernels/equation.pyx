"""A cell's equation step by step: what a stream runs of it."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from .dispatch cimport BY_COMPACT, BY_NONE, Rows, kernels
from .memory cimport carve
from .phases cimport StepProgram, run_phases

cdef dict SOURCES = {
    "input": OF_INPUT, "state": OF_STATE, "new": OF_NEW, "constant": OF_CONSTANT, "sums": OF_SUMS,
    "step": OF_STEP, "row": OF_ROW,
}


cdef Py_ssize_t stepper_work(const Stepper *s, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    return lay_out(s, steps, rows, NULL, NULL, NULL, NULL)


cdef Py_ssize_t lay_out(
    const Stepper *s, Py_ssize_t steps, Py_ssize_t rows, char *space, char **sums, char **new, char **others
) noexcept nogil:
    """Carve the working memory; returns the bytes it takes."""
    cdef char *start = space
    cdef char *found
    cdef int i, item = s.compiled.item
    found = carve(&space, steps * rows * s.width * item)
    if sums != NULL:
        sums[0] = found
    found = carve(&space, rows * s.states * item)
    if new != NULL:
        new[0] = found
    for i in range(s.n_roles):
        if s.from_[i] == OF_STEP or s.from_[i] == OF_ROW:
            found = carve(&space, (rows * s.roles[i].row + 16) * item)
            if others != NULL:
                others[i] = found
    return space - start


cdef void advance_stepper(
    const Stepper *s, Py_ssize_t steps, Py_ssize_t rows, const char *x, char *states, char *y, char *work
) noexcept nogil:
    cdef const Compiled *c = &s.compiled
    cdef char *sums
    cdef char *new
    cdef char *others[MAX_ROLES]
    cdef Rows arrays[MAX_ROLES]
    cdef Py_ssize_t t, size, item = c.item
    cdef int i
    lay_out(s, steps, rows, work, &sums, &new, others)
    if s.projected:
        # sums[:, :projected] = x @ W' + b   (steps * rows, I)(I, projected)
        c.kernels.multiply(
            steps * rows, x, NULL, s.inputs, s.inputs, c.packed[0], s.projected, 1, c.packed_biases[0], 0,
            sums, NULL, s.width, s.projected,
        )
    for i in range(s.n_roles):
        arrays[i].row, arrays[i].by = s.roles[i].row, BY_COMPACT
        if s.from_[i] == OF_STATE:
            arrays[i].at = states + s.place[i] * rows * item
        elif s.from_[i] == OF_NEW:
            arrays[i].at = new + s.place[i] * rows * item
        elif s.from_[i] == OF_CONSTANT:
            arrays[i].at, arrays[i].by = s.constants + s.place[i], BY_NONE
        elif s.from_[i] != OF_INPUT and s.from_[i] != OF_SUMS:
            arrays[i].at = others[i]
            if s.from_[i] == OF_ROW:
                arrays[i].by = BY_NONE
    for t in range(steps):
        for i in range(s.n_roles):
            if s.from_[i] == OF_INPUT:
                arrays[i].at = <void *>(x + t * rows * s.inputs * item)
            elif s.from_[i] == OF_SUMS:
                arrays[i].at = sums + t * rows * s.width * item
        run_phases(c, rows, NULL, arrays)
        keep_new(s, rows, states, new)
        size = rows * s.outputs * item
        memcpy(y + t * size, new, size)


cdef void keep_new(const Stepper *s, Py_ssize_t rows, char *states, const char *new) noexcept nogil:
    """The new states follow the old ones, the oldest of which goes."""
    cdef Py_ssize_t size
    cdef int k
    for k in range(s.n_states):
        size = rows * s.widths[k] * s.compiled.item
        if s.depths[k] > 1:
            memmove(states, states + size, (s.depths[k] - 1) * size)
        memcpy(states + (s.depths[k] - 1) * size, new, size)
        states += s.depths[k] * size
        new += size


cdef class Equation:
    """The step of one cell with its weights packed, of one type: a copy, as of a stream's other layers.

    ``sources`` tells for each role of the program what it is: ``("input", 0, None)``, ``("state", k, None)``
    the features of the states before it, ``("new", k, None)`` likewise, ``("constant", 0, row)``, sums, step
    or row. ``sizes`` are (depth, width) of each state.
    """

    def __cinit__(self, StepProgram program, list weights, list biases, list sources, list sizes, input_size):
        cdef Stepper *s = &self.stepper
        cdef char *space
        self.program = program
        memset(s, 0, sizeof(Stepper))
        if len(sizes) > 16:
            raise ValueError(f"the cell has {len(sizes)} states; a stream keeps 16 at most")
        s.compiled.item = biases[0].dtype.itemsize if biases else weights[0].dtype.itemsize if weights else 0
        for _, _, array in sources:
            if array is not None:
                s.compiled.item = array.dtype.itemsize
        s.compiled.kernels = kernels(s.compiled.item == 8)
        s.compiled.phases, s.compiled.n_phases = program.phases, program.n_phases
        s.compiled.products, s.compiled.matrices = program.products, program.matrices
        s.compiled.n_matrices, s.compiled.n_biases = program.n_matrices, program.n_biases
        s.roles, s.n_roles = program.roles, program.n_roles
        s.width, s.projected, s.inputs = program.width, program.projected, input_size
        s.n_states, s.outputs = len(sizes), sizes[0][1]
        for k, (depth, width) in enumerate(sizes):
            s.depths[k], s.widths[k] = depth, width
            s.states += depth * width
        size = 64
        for i, _ in enumerate(weights):
            size += 64 + s.compiled.item * s.compiled.kernels.packed_size(
                program.matrices[i].K, program.matrices[i].N, 1
            )
        for bias in biases:
            size += 64 + s.compiled.item * s.compiled.kernels.packed_size(1, bias.shape[0], 1)
        for _, _, array in sources:
            size += 64 + (0 if array is None else array.nbytes)
        self.memory = <char *>calloc(size, 1)
        if self.memory == NULL:
            raise MemoryError("no memory for the packed weights")
        space = self.memory
        pack_all(s, program, &space, weights, biases)
        s.constants = carve(&space, 0)
        for i, (kind, place, array) in enumerate(sources):
            s.from_[i], s.place[i] = SOURCES[kind], place
            if array is not None:
                copy_row(s, i, &space, array)

    def __dealloc__(self):
        free(self.memory)


cdef int copy_row(Stepper *s, int i, char **space, array) except -1:
    cdef char *room = carve(space, array.nbytes)
    cdef const unsigned char[::1] row = memoryview(array).cast("B")
    memcpy(room, &row[0], row.shape[0])
    s.place[i] = room - s.constants
    return 0


cdef int pack_all(Stepper *s, StepProgram program, char **space, list weights, list biases) except -1:
    """Pack the weights and what sums begin with."""
    cdef const unsigned char[::1] numbers
    cdef Compiled *c = &s.compiled
    cdef Py_ssize_t K, N
    for i, weight in enumerate(weights):
        numbers = memoryview(weight).cast("B")
        K, N = program.matrices[i].K, program.matrices[i].N
        c.packed[i] = carve(space, c.item * c.kernels.packed_size(K, N, 1))
        c.kernels.pack(&numbers[0], K, N, 1, 0, K, 1, 0, 1, c.packed[i])
    for i, bias in enumerate(biases):
        numbers = memoryview(bias).cast("B")
        c.bias_sizes[i] = bias.shape[0]
        c.packed_biases[i] = carve(space, c.item * c.kernels.packed_size(1, bias.shape[0], 1))
        c.kernels.pack(&numbers[0], 1, bias.shape[0], 1, 0, 1, 0, 0, 1, c.packed_biases[i])
    return 0
