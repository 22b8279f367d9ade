"""A network's whole chain over whole sequences in one call: what `Network.infer` takes for small calls.

Cells are packed once, as for streams, and run over the sequence layer by layer, both directions of a
bidirectional one; what is between the layers is working memory of the chain. A call makes no Python object
but its result. Results are the same bits as the layers': projections, products and gate functions are theirs.
"""

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.float cimport DBL_MAX, FLT_MAX
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from .bidirectional cimport Move, move
from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave
from .ids cimport copy_ids
from .memory cimport carve
from .plan cimport clear_padding
from .steps cimport advance_entered, cell_work_size
from .stream cimport Program, Stage, rnncore_leave, rnncore_take, run_rows, within

import numpy as np

cnp.import_array()

cdef enum:
    # Calls of more flops go through the layers, which share them out among threads: there Python is nothing.
    MOST_FLOPS = 10000000
    # A call of fewer flops keeps the GIL: releasing it would cost more than other threads gain.
    FLOPS_WITHOUT_GIL = 400000
    # Of lengths of few steps against T the layers, which leave out what is padding, are faster.
    FULL_PART = 2

cdef enum Kind:
    TABLE
    DENSE
    CELL
    DIRECTIONS
    LAST
    LAST_OF_BOTH
    MEAN

cdef dict KINDS = {
    "embedding": TABLE, "dense": DENSE, "cell": CELL, "directions": DIRECTIONS,
    "last": LAST, "last of both": LAST_OF_BOTH, "mean": MEAN,
}

# One layer.
cdef struct Link:
    Kind kind
    const char *table        # (V, F), of an embedding: the layer's own
    const Stage *stage       # of no table or pool; of both directions the forward one's, then the other
    Py_ssize_t outputs

# One call: sizes, the buffers that hold what goes from layer to layer, and working memory.
cdef struct Call:
    const Kernels *kernels
    int item
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t *lengths      # (B,) or NULL
    Py_ssize_t *ids          # (T, B)
    char *between[2]         # (T, B, widest)
    char *turned             # (T, B, widest): x of the reverse direction
    char *halves[2]          # (T, B, widest): h of both
    char *states
    char *work


cdef bint run_cell_of(const Call *c, const Stage *stage, const char *x, char *h) noexcept nogil:
    """h (T, B, H) from zero states; whether the states stayed within the stage's limit."""
    cdef Py_ssize_t states = c.rows * stage.outputs, used = stage.n_states * states
    cdef Py_ssize_t numbers = c.steps * states
    memset(c.states, 0, used * c.item)
    advance_entered(stage.cell, c.steps, c.rows, x, c.states, h, c.work)
    clear_padding(c.lengths, c.steps, c.rows, h, stage.outputs * c.item, 0, 1)
    if stage.limit <= 0:
        return True
    # Of a cell that is not finite at the end the layer itself finds out whether that is in the padding.
    if c.item == 8:
        return within(<const double *>h, numbers, min(stage.limit, DBL_MAX)) and within(
            <const double *>c.states, used, DBL_MAX
        )
    return within(<const float *>h, numbers, <float>min(stage.limit, FLT_MAX)) and within(
        <const float *>c.states, used, FLT_MAX
    )


cdef bint run_directions(const Call *c, const Link *link, const char *x, char *y) noexcept nogil:
    """Both directions, joined: side by side, or added where y is as wide as either."""
    cdef const Stage *forward = link.stage
    cdef const Stage *reverse = link.stage + 1
    cdef Py_ssize_t units = forward.outputs, wide = link.outputs
    cdef Move m
    cdef bint fine
    memset(&m, 0, sizeof(Move))
    m.kernels, m.item, m.steps, m.rows, m.lengths = c.kernels, c.item, c.steps, c.rows, c.lengths
    m.features, m.reverse = forward.inputs, True
    move(&m, x, forward.inputs, c.turned, forward.inputs)
    fine = run_cell_of(c, forward, x, c.halves[0]) and run_cell_of(c, reverse, c.turned, c.halves[1])
    m.features, m.reverse = units, False
    move(&m, c.halves[0], units, y, wide)
    m.reverse, m.add = True, wide == units
    move(&m, c.halves[1], units, y + (wide - units) * c.item, wide)
    return fine


cdef void pick_last(const Call *c, Py_ssize_t features, bint both, const char *x, char *y) noexcept nogil:
    """y (B, F): each row at its last step; with both, the second half of the features at step 0."""
    cdef Py_ssize_t b, last, size = features * c.item, first_half = size // 2 if both else size
    for b in range(c.rows):
        last = (c.steps if c.lengths == NULL else c.lengths[b]) - 1
        memcpy(y + b * size, x + (last * c.rows + b) * size, first_half)
        memcpy(y + b * size + first_half, x + b * size + first_half, size - first_half)


cdef void take_mean(const Call *c, Py_ssize_t features, const char *x, char *y) noexcept nogil:
    """y (B, F): each row's mean over its own steps."""
    cdef Py_ssize_t b, i, count, size = features * c.item
    memset(y, 0, c.rows * size)
    for b in range(c.rows):
        count = c.steps if c.lengths == NULL else c.lengths[b]
        c.kernels.add_rows(count, x + b * size, c.rows * features, features, y + b * size)
        for i in range(features):
            if c.item == 8:
                (<double *>(y + b * size))[i] /= <double>count
            else:
                (<float *>(y + b * size))[i] /= <float>count


cdef bint run_link(Call *c, const Link *link, Py_ssize_t inputs, char *x, char *y) noexcept nogil:
    """One layer; a pooling one leaves one step. Whether all states stayed within their limits."""
    cdef Py_ssize_t i, size = link.outputs * c.item
    if link.kind == TABLE:
        for i in range(c.steps * c.rows):
            memcpy(y + i * size, link.table + c.ids[i] * size, size)
    elif link.kind == DENSE:
        clear_padding(c.lengths, c.steps, c.rows, x, inputs * c.item, 0, 1)
        run_rows(c.kernels, link.stage, c.steps * c.rows, x, y)
    elif link.kind == CELL:
        return run_cell_of(c, link.stage, x, y)
    elif link.kind == DIRECTIONS:
        return run_directions(c, link, x, y)
    else:
        if link.kind == MEAN:
            take_mean(c, inputs, x, y)
        else:
            pick_last(c, inputs, link.kind == LAST_OF_BOTH, x, y)
        c.steps, c.lengths = 1, NULL
    return True


cdef bint run_links(
    Call *c, const Link *links, int n_links, Py_ssize_t inputs, char *x, char *y
) noexcept nogil:
    """The whole chain, x to y."""
    cdef float_state before = enter()
    cdef char *out
    cdef int k
    cdef bint fine = True
    for k in range(n_links):
        out = y if k == n_links - 1 else c.between[k % 2]
        fine = run_link(c, &links[k], inputs, x, out)
        if not fine:
            break
        x, inputs = out, links[k].outputs
    leave(before)
    return fine


cdef class Layers:
    """A network that its layers alone can run, and what that follows from.

    Parameters
    ----------
    watched
        ``(owner, names, values, count)``: attributes and what they are, in the dictionary of a layer that has
        so many.
    """

    cdef list watched

    def __init__(self, list watched):
        self.watched = watched

    cpdef bint follows(self, bint locked):
        """Whether all that is watched is as it was."""
        for owner, names, values, count in self.watched:
            if len(<dict>owner) != count or not same_values(<dict>owner, <tuple>names, <tuple>values):
                return False
        return True

    def run(self, x, lengths, bint locked):
        return None


cdef class Chain(Layers):
    """A network's layers, packed: ``run`` gives y for a small call, or None where the layers must do it.

    Parameters
    ----------
    watched
        As of `Layers`: attributes that the stages follow from.
    links
        Of each layer but dropout ``(kind, outputs)``, outputs being the features that it hands on.
    stages
        Of each cell and dense layer what `Program` takes, in the order of the links; two for both directions.
    table
        The embedding's table, or None.
    weights
        All numbers that the stages were packed from, ``(P,)``.
    least_steps
        Steps that a call must have.
    """

    cdef Program program
    cdef Link *links
    cdef int n_links
    cdef Py_ssize_t widest         # features that any layer takes or hands on
    cdef Py_ssize_t least_steps    # that a call must have
    cdef Py_ssize_t cell_states    # features of the states of the cell that has most of them
    cdef Py_ssize_t inputs
    cdef Py_ssize_t vocabulary     # of the table, 0 where there is none
    cdef bint pools
    cdef int typenum
    cdef object table
    cdef cnp.ndarray weights
    cdef cnp.ndarray taken         # a copy of them, as they were packed
    cdef char *memory              # of the last call, for the next one
    cdef size_t room
    cdef int busy

    def __init__(
        self, list watched, links, stages, table, cnp.ndarray weights not None, least_steps, bint is_double
    ):
        Layers.__init__(self, watched)
        self.weights, self.taken, self.table = weights, weights.copy(), table
        self.program = Program(stages, is_double)
        self.typenum = cnp.NPY_DOUBLE if is_double else cnp.NPY_FLOAT
        self.least_steps = least_steps
        self.links = <Link *>calloc(len(links), sizeof(Link))
        if self.links == NULL:
            raise MemoryError("no memory for the chain")
        cdef const Stage *stage = self.program.stages
        cdef Link *link
        for kind, outputs in links:
            link = &self.links[self.n_links]
            link.kind, link.outputs = KINDS[kind], outputs
            if link.kind == TABLE:
                link.table = <const char *>cnp.PyArray_DATA(table)
                self.vocabulary = table.shape[0]
            if link.kind in (DENSE, CELL, DIRECTIONS):
                link.stage = stage
                self.widest = max(self.widest, stage.inputs)
                if link.kind != DENSE:
                    self.cell_states = max(self.cell_states, stage.n_states * stage.outputs)
                stage += 2 if link.kind == DIRECTIONS else 1
            self.pools = self.pools or link.kind in (LAST, LAST_OF_BOTH, MEAN)
            self.widest = max(self.widest, link.outputs)
            self.n_links += 1
        self.inputs = 0 if self.vocabulary else self.links[0].stage.inputs

    def __dealloc__(self):
        free(self.links)
        free(self.memory)

    cpdef bint follows(self, bint locked):
        """Whether what was packed is what the layers say now; the weights are not looked at if ``locked``."""
        if self.program.kernels != kernels(self.program.item == 8) or not Layers.follows(self, locked):
            return False
        return locked or memcmp(
            cnp.PyArray_DATA(self.weights), cnp.PyArray_DATA(self.taken), cnp.PyArray_NBYTES(self.weights)
        ) == 0

    def run(self, x, lengths, bint locked):
        """y; or None if the layers are no longer as they were packed, or must do it: because of an argument
        that is not taken here, or is wrong, because the call is large, or because a state explodes."""
        cdef Call c
        cdef cnp.ndarray y, array, own = None
        cdef cnp.npy_intp shape[3]
        cdef char *memory = NULL
        cdef char *source
        cdef char *target
        cdef bint kept, fine
        cdef double flops
        if not self.fits(x) or not self.follows(locked):
            return None
        array = <cnp.ndarray>x
        c.kernels, c.item, c.lengths = self.program.kernels, self.program.item, NULL
        c.steps, c.rows = cnp.PyArray_DIMS(array)[0], cnp.PyArray_DIMS(array)[1]
        flops = self.program.flops * c.steps * c.rows
        if flops > MOST_FLOPS or c.steps < self.least_steps:
            return None
        if lengths is not None:
            own = checked_lengths(lengths, c.steps, c.rows)
            if own is None or not self.vocabulary and self.links[0].kind == DENSE:
                return None
            c.lengths = <Py_ssize_t *>cnp.PyArray_DATA(own)
        shape[0], shape[1], shape[2] = c.steps, c.rows, self.links[self.n_links - 1].outputs
        y = cnp.PyArray_EMPTY(3 - self.pools, &shape[self.pools], self.typenum, 0)
        source, target = cnp.PyArray_BYTES(array), cnp.PyArray_BYTES(y)
        kept = rnncore_take(&self.busy)
        try:
            memory = self.make_room(&c, kept)
            if self.vocabulary and not copy_ids(
                source, <int>cnp.PyArray_ITEMSIZE(array), c.steps * c.rows, self.vocabulary, c.ids
            ):
                return None
            if flops < FLOPS_WITHOUT_GIL:
                fine = run_links(&c, self.links, self.n_links, self.inputs, source, target)
            else:
                with nogil:
                    fine = run_links(&c, self.links, self.n_links, self.inputs, source, target)
        finally:
            if kept:
                rnncore_leave(&self.busy)
            else:
                free(memory)
        return y if fine else None

    cdef bint fits(self, x) noexcept:
        """Whether x (T, B, F), or (T, B) of ids, can be read as it is."""
        if not cnp.PyArray_Check(x) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x):
            return False
        cdef cnp.ndarray array = <cnp.ndarray>x
        cdef int kind = cnp.PyArray_TYPE(array)
        cdef Py_ssize_t size = cnp.PyArray_SIZE(array)
        if size == 0:
            return False
        if self.vocabulary:
            return cnp.PyArray_NDIM(array) == 2 and kind in (cnp.NPY_INT, cnp.NPY_LONG, cnp.NPY_LONGLONG)
        return (
            cnp.PyArray_NDIM(array) == 3 and kind == self.typenum
            and cnp.PyArray_DIMS(array)[2] == self.inputs
            and self.program.kernels.all_finite(cnp.PyArray_DATA(array), size)
        )

    cdef char *make_room(self, Call *c, bint kept) except NULL:
        """Point the call at working memory: the chain's, grown where need be, or, where another thread has
        that, some of its own; returns where it begins."""
        cdef Py_ssize_t numbers = c.steps * c.rows * self.widest * c.item
        cdef Py_ssize_t states = self.cell_states * c.rows * c.item
        cdef Py_ssize_t ids = c.steps * c.rows * sizeof(Py_ssize_t) if self.vocabulary else 0
        cdef char *memory = self.memory if kept else NULL
        cdef char *space
        cdef size_t size
        cdef Py_ssize_t work = work_size(self.program.stages, self.program.n_stages, c.steps, c.rows)
        size = 5 * numbers + states + work + ids + 9 * 64
        if memory == NULL or self.room < size:
            memory = <char *>malloc(size)
            if memory == NULL:
                raise MemoryError(f"no memory for {c.steps} steps of {c.rows} rows")
            if kept:
                free(self.memory)
                self.memory, self.room = memory, size
        space = memory
        c.between[0], c.between[1] = carve(&space, numbers), carve(&space, numbers)
        c.halves[0], c.halves[1] = carve(&space, numbers), carve(&space, numbers)
        c.turned = carve(&space, numbers)
        c.states, c.work = carve(&space, states), carve(&space, work)
        c.ids = <Py_ssize_t *>carve(&space, ids)
        return memory


cdef bint same_values(dict owner, tuple names, tuple values):
    """Whether each attribute is still the same object, or an equal list."""
    cdef PyObject *now
    for name, value in zip(names, values):
        now = PyDict_GetItem(owner, name)
        if now == <PyObject *>value:
            continue
        if now == NULL or type(<object>now) is not list or <object>now != value:
            return False
    return True


cdef Py_ssize_t work_size(
    const Stage *stages, int n_stages, Py_ssize_t steps, Py_ssize_t rows
) noexcept nogil:
    """Bytes that any of the cells wants."""
    cdef Py_ssize_t work = 0
    cdef int k
    for k in range(n_stages):
        if stages[k].n_states:
            work = max(work, cell_work_size(stages[k].cell, steps, rows))
    return work


cdef Py_ssize_t total_of(const Py_ssize_t *lengths, Py_ssize_t rows, Py_ssize_t steps) noexcept nogil:
    """The sum of lengths; 0 if one is not within 1..steps."""
    cdef Py_ssize_t total = 0, row
    for row in range(rows):
        if not 1 <= lengths[row] <= steps:
            return 0
        total += lengths[row]
    return total


cdef cnp.ndarray checked_lengths(lengths, Py_ssize_t steps, Py_ssize_t rows):
    """A copy of lengths that are right, and of enough steps for a call here; else None."""
    cdef cnp.ndarray given = np.asarray(lengths), own
    cdef Py_ssize_t total
    if cnp.PyArray_NDIM(given) != 1 or cnp.PyArray_SIZE(given) != rows or not cnp.PyArray_ISINTEGER(given):
        return None
    own = given.astype(np.intp)
    total = total_of(<const Py_ssize_t *>cnp.PyArray_DATA(own), rows, steps)
    return own if total and FULL_PART * total >= steps * rows else None
