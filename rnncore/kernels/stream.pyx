"""A network's whole chain, step by step: packed weights that many runners share, and one runner's state.

A Program holds the packed weights and is never written to; a Runner holds states and working memory. Within a
block of steps each stage takes all of them in turn, so that its projection is one product.
"""

cimport numpy as cnp
from cython cimport floating
from libc.float cimport DBL_MAX, FLT_MAX
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from .dispatch cimport Kernels, kernels
from .equation cimport advance_stepper, stepper_work
from .float_state cimport enter, float_state, leave
from .ids cimport copy_ids, ids_fit
from .memory cimport carve
from .stages cimport Stage, fill_equation, fill_stage, free_stage
from .steps cimport advance_entered, cell_work_size, dense_entered, set_zoneout

cnp.import_array()

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef enum:
    BLOCK_ROWS = 256   # (step, row) pairs that a run takes at a time
    # A call of fewer flops keeps the GIL: releasing it would cost more than other threads gain.
    FLOPS_WITHOUT_GIL = 400000

cdef str IN_USE = "this stream is in use by another thread: give each thread one of its own, net.stream()"


cdef bint within(const floating *h, Py_ssize_t n, floating limit) noexcept nogil:
    """Whether no entry leaves ±limit or is NaN."""
    cdef Py_ssize_t i, outside = 0
    for i in range(n):
        outside += not -limit <= h[i] <= limit
    return outside == 0


cdef void run_rows(
    const Kernels *k, const Stage *stage, Py_ssize_t rows, const char *x, char *y
) noexcept nogil:
    if stage.cell != NULL:
        dense_entered(stage.cell, rows, x, y)
        x = y
    if stage.cell == NULL or stage.function:
        k.activate(stage.function, stage.alpha, stage.slopes, rows, stage.outputs, x, y)


cdef bint run_stage(
    const Session *s, const Stage *stage, Py_ssize_t steps, const char *x, char *y
) noexcept nogil:
    """Whether the states have stayed within the stage's limit."""
    cdef Py_ssize_t i, size = stage.outputs * s.item
    cdef const Py_ssize_t *ids = <const Py_ssize_t *>x
    if stage.table != NULL:
        for i in range(steps * s.rows):
            memcpy(y + i * size, stage.table + ids[i] * size, size)
    elif stage.n_states:
        if stage.stepper != NULL:
            advance_stepper(
                stage.stepper, steps, s.rows, x, s.states + stage.before * s.rows * s.item, y, s.work
            )
        else:
            advance_entered(
                stage.cell, steps, s.rows, x, s.states + stage.before * s.rows * s.item, y, s.work
            )
        if stage.limit > 0 and s.item == 8:
            return within(<const double *>y, steps * s.rows * stage.outputs, min(stage.limit, DBL_MAX))
        if stage.limit > 0:
            return within(<const float *>y, steps * s.rows * stage.outputs, <float>min(stage.limit, FLT_MAX))
    else:
        run_rows(s.kernels, stage, steps * s.rows, x, y)
    return True


cdef int run_block(const Session *s, Py_ssize_t steps, const char *x, char *y) noexcept nogil:
    """At most s.capacity steps; returns what run_session does."""
    cdef const char *given = x
    cdef char *out
    cdef Py_ssize_t i, width = s.stages[s.n_stages - 1].outputs
    cdef int k
    for k in range(s.n_stages):
        out = y if k == s.n_stages - 1 else s.between[k % 2]
        if not run_stage(s, &s.stages[k], steps, given, out):
            return k
        given = out
    if s.softmax:
        for i in range(steps * s.rows):
            s.kernels.softmax(y + i * width * s.item, y + i * width * s.item, width)
    return -1


cdef int run_session(const Session *session, Py_ssize_t steps, const void *x, void *y) noexcept nogil:
    cdef const Stage *first = session.stages
    cdef Py_ssize_t size = sizeof(Py_ssize_t) if first.table != NULL else first.inputs * session.item
    cdef Py_ssize_t given = session.rows * size, t = 0, n
    cdef int exploding = -1
    cdef float_state before = enter()
    cdef Py_ssize_t made = session.rows * session.stages[session.n_stages - 1].outputs * session.item
    while t < steps and exploding < 0:
        n = min(steps - t, session.capacity)
        exploding = run_block(session, n, <const char *>x + t * given, <char *>y + t * made)
        t += n
    leave(before)
    return exploding


cdef const Session *session_of(Runner runner) noexcept:
    return &runner.session


cdef void clear_rows(const Session *s, const Py_ssize_t *rows, Py_ssize_t n) noexcept nogil:
    """The states of the rows become 0."""
    cdef char *states = s.states
    cdef const Stage *stage
    cdef Py_ssize_t _
    cdef int k, i
    for k in range(s.n_stages):
        stage = &s.stages[k]
        if stage.stepper == NULL:
            for _ in range(stage.n_states):
                states = clear_state(states, s.rows, stage.outputs * s.item, rows, n)
            continue
        for i in range(stage.stepper.n_states):
            for _ in range(stage.stepper.depths[i]):
                states = clear_state(states, s.rows, stage.stepper.widths[i] * s.item, rows, n)


cdef char *clear_state(
    char *state, Py_ssize_t all_rows, Py_ssize_t size, const Py_ssize_t *rows, Py_ssize_t n
) noexcept nogil:
    """Zero these rows of one array; returns where the next begins."""
    cdef Py_ssize_t i
    for i in range(n):
        memset(state + rows[i] * size, 0, size)
    return state + all_rows * size


cdef class Program:
    """The packed weights of a chain, of one type: a copy, so that what happens to the arrays matters no more.

    Stages are tuples of a kind, "embedding", "dense", "activation", "elman", "leaky", "skip", "lstm" or
    "gru", a dict of the layer's parameters, the numbers of the activations of its gates and of its state, its
    states' zoneout, what the states must not exceed (0: anything), the number and alpha of what is applied to
    y, and the features of an activation.
    """

    def __cinit__(self, stages, bint is_double):
        cdef int place = 0
        cdef Stage *stage
        self.kernels, self.item = kernels(is_double), 8 if is_double else 4
        self.stages = <Stage *>calloc(len(stages), sizeof(Stage))
        if self.stages == NULL:
            raise MemoryError("no memory for the packed weights")
        self.n_stages = len(stages)
        self.equations = []
        for kind, arrays, gates, activation, zoneout, limit, function, alpha, features, cell in stages:
            stage = &self.stages[place]
            stage.limit, stage.function, stage.alpha = limit, function, alpha
            stage.inputs = stage.outputs = features
            if kind == "equation":
                self.equations.append(cell.stepper())
                fill_equation(stage, self.equations[len(self.equations) - 1])
            else:
                fill_stage(stage, kind, arrays, gates, activation, is_double)
            if zoneout and stage.cell != NULL:
                set_zoneout(stage.cell, zoneout[0], zoneout[len(zoneout) - 1])
            stage.before = self.states
            self.states += stage.state_size
            self.widest = max(self.widest, stage.outputs)
            if stage.table == NULL:
                self.flops += 2.0 * sum([array.size for array in arrays.values()])
            place += 1
        self.takes_ids = self.stages[0].table != NULL
        self.inputs, self.outputs = self.stages[0].inputs, self.stages[self.n_stages - 1].outputs

    def __dealloc__(self):
        cdef int k = 0
        while k < self.n_stages:
            free_stage(&self.stages[k])
            k += 1
        free(self.stages)


cdef class Runner:
    """States of ``rows`` sequences, and the memory to run a program on them.

    A subclass explains what is wrong with an argument that does not fit: ``_explain(x, block)`` raises, or
    returns what to use in its place; ``_explain_out(out, shape)`` and ``_explode(stage)`` raise.
    """

    def __cinit__(self, Program program not None, Py_ssize_t rows, bint softmax, *_):
        self.program = program
        self.typenum = cnp.NPY_DOUBLE if program.item == 8 else cnp.NPY_FLOAT
        self.session.kernels, self.session.stages = program.kernels, program.stages
        self.session.n_stages, self.session.item = program.n_stages, program.item
        self.session.softmax, self.session.rows = softmax, rows
        if <double>rows * (program.states + 4 * program.widest) > 1e12:
            raise MemoryError(f"no memory for the states of {rows} rows")
        self.states = <char *>calloc(rows * program.states * program.item + 64, 1)
        if self.states == NULL:
            raise MemoryError(f"no memory for the states of {rows} rows")
        cdef char *space = self.states
        self.session.states = carve(&space, rows * program.states * program.item)
        self.make_room(1)

    def __dealloc__(self):
        free(self.states)
        free(self.memory)

    cdef int make_room(self, Py_ssize_t steps) except -1:
        """Working memory for blocks of up to so many steps."""
        cdef Program program = self.program
        cdef Py_ssize_t rows = self.session.rows, capacity, between, ids, work = 0
        cdef int k = 0
        capacity = max(1, min(steps, BLOCK_ROWS // rows))
        if capacity <= self.session.capacity:
            return 0
        while k < program.n_stages:
            if program.stages[k].stepper != NULL:
                work = max(work, stepper_work(program.stages[k].stepper, capacity, rows))
            elif program.stages[k].n_states:
                work = max(work, cell_work_size(program.stages[k].cell, capacity, rows))
            k += 1
        between = capacity * rows * program.widest * program.item
        ids = capacity * rows * sizeof(Py_ssize_t) if program.takes_ids else 0
        cdef char *memory = <char *>malloc(2 * between + work + ids + 5 * 64)
        if memory == NULL:
            raise MemoryError(f"no memory for blocks of {capacity} steps")
        free(self.memory)
        self.memory = memory
        self.session.between[0], self.session.between[1] = carve(&memory, between), carve(&memory, between)
        self.session.work = carve(&memory, work)
        self.ids = <Py_ssize_t *>carve(&memory, ids)
        self.session.capacity = capacity
        return 0

    cdef bint fits(self, x, bint block) noexcept:
        """Whether x is an array that can be read as it is, of finite numbers or of ids in range."""
        if not cnp.PyArray_Check(x) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x):
            return False
        cdef cnp.ndarray array = <cnp.ndarray>x
        cdef bint takes_ids = self.program.takes_ids
        cdef int kind = cnp.PyArray_TYPE(array), axes = cnp.PyArray_NDIM(array), full = block + 2 - takes_ids
        cdef Py_ssize_t rows = self.session.rows, size = cnp.PyArray_SIZE(array)
        cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(array)
        # With one row, its axis may be left out.
        if axes != full and not (rows == 1 and axes == full - 1):
            return False
        if axes == full and shape[block] != rows or size == 0:
            return False
        if takes_ids:
            return kind in (cnp.NPY_INT, cnp.NPY_LONG, cnp.NPY_LONGLONG) and ids_fit(
                cnp.PyArray_DATA(array), <int>cnp.PyArray_ITEMSIZE(array), size, self.program.inputs
            )
        return (
            kind == self.typenum
            and shape[axes - 1] == self.program.inputs
            and self.session.kernels.all_finite(cnp.PyArray_DATA(array), size)
        )

    cdef cnp.ndarray output(self, int axes, Py_ssize_t first, out):
        """``out``, if it can be written as it is, or a new array, ``first`` long."""
        cdef cnp.npy_intp shape[3]
        cdef bint fitting
        cdef int axis = axes
        shape[0], shape[1] = first, self.session.rows
        shape[axes - 1] = self.program.outputs
        if out is None:
            return cnp.PyArray_EMPTY(axes, shape, self.typenum, 0)
        fitting = (
            cnp.PyArray_Check(out) and cnp.PyArray_ISCARRAY(<cnp.ndarray>out)
            and cnp.PyArray_TYPE(<cnp.ndarray>out) == self.typenum
            and cnp.PyArray_NDIM(<cnp.ndarray>out) == axes
        )
        while fitting and axis > 0:
            axis -= 1
            fitting = cnp.PyArray_DIMS(<cnp.ndarray>out)[axis] == shape[axis]
        if not fitting:
            self._explain_out(out, (shape[0], shape[1], shape[2])[:axes])
        return <cnp.ndarray>out

    cdef int run_numbers(self, Py_ssize_t steps, const void *x, void *y) except -1:
        cdef int exploding
        if self.program.flops * steps * self.session.rows < FLOPS_WITHOUT_GIL:
            exploding = run_session(&self.session, steps, x, y)
        else:
            with nogil:
                exploding = run_session(&self.session, steps, x, y)
        if exploding >= 0:
            self._explode(exploding)
        return 0

    cdef int run_ids(self, Py_ssize_t steps, const char *x, int item, char *y) except -1:
        cdef Py_ssize_t t = 0, n, rows = self.session.rows, width = self.program.outputs * self.program.item
        while t < steps:
            n = min(steps - t, self.session.capacity)
            # Looked at before, but another thread may have written to x since.
            if not copy_ids(x + t * rows * item, item, n * rows, self.program.inputs, self.ids):
                raise ValueError("x was changed while it was read")
            self.run_numbers(n, self.ids, y + t * rows * width)
            t += n
        return 0

    cdef object advance(self, x, out, bint block):
        cdef bint takes_ids = self.program.takes_ids
        cdef Py_ssize_t steps = 1
        cdef int64_t single
        cdef int overflow
        cdef cnp.ndarray array, y
        if takes_ids and not block and self.session.rows == 1 and type(x) is int:
            single = PyLong_AsLongLongAndOverflow(x, &overflow)
            if not overflow and 0 <= single < self.program.inputs:
                y = self.output(1, self.program.outputs, out)
                self.run_ids(1, <const char *>&single, sizeof(single), <char *>cnp.PyArray_DATA(y))
                return y
        if not self.fits(x, block):
            x = self._explain(x, block)
        array = <cnp.ndarray>x
        if block:
            steps = cnp.PyArray_DIMS(array)[0]
            self.make_room(steps)
        y = self.output(
            cnp.PyArray_NDIM(array) + takes_ids, steps if block else self.session.rows, out
        )
        if out is not None and overlap(array, y):
            raise ValueError("out shares memory with x, which is read while out is written: pass another")
        if takes_ids:
            self.run_ids(
                steps, <const char *>cnp.PyArray_DATA(array), <int>cnp.PyArray_ITEMSIZE(array),
                <char *>cnp.PyArray_DATA(y),
            )
        else:
            self.run_numbers(steps, cnp.PyArray_DATA(array), cnp.PyArray_DATA(y))
        return y

    def step(self, x, out=None):
        """One step of every row.

        Parameters
        ----------
        x
            ``(B, F)`` numbers of the network's dtype; for a network that starts with an embedding, ids
            ``(B,)`` of any integer type. With batch=1 the axis B may be left out: ``(F,)``, or an int for an
            id.
        out
            Where the result goes: a C-contiguous array ``(B, O)`` of the network's dtype, apart from x; None
            for a new one.

        Returns
        -------
        ndarray
            ``(B, O)``, or ``(O,)`` where x had no axis B.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, shape or range than wanted, or x is not finite; the state is as
            before.
        RuntimeError
            If another thread is within a call of this stream.
        FloatingPointError
            If a state leaves the limit of its layer; `reset` the stream then.
        """
        if not rnncore_take(&self.busy):
            raise RuntimeError(IN_USE)
        try:
            return self.advance(x, out, False)
        finally:
            rnncore_leave(&self.busy)

    def run(self, x, out=None):
        """A block of steps, the same bits as one after the other.

        Parameters
        ----------
        x
            ``(T, B, F)`` numbers or ``(T, B)`` ids; with batch=1 the axis B may be left out.
        out
            As for `step`, with T in front.

        Returns
        -------
        ndarray
            ``(T, B, O)``, or ``(T, O)`` where x had no axis B.

        Raises
        ------
        TypeError, ValueError, RuntimeError, FloatingPointError
            As for `step`.
        MemoryError
            If there is no working memory for the block; it is made once, for the longest block so far.
        """
        if not rnncore_take(&self.busy):
            raise RuntimeError(IN_USE)
        try:
            return self.advance(x, out, True)
        finally:
            rnncore_leave(&self.busy)

    def _replace(self, Program program not None):
        """Go on with other weights of the same shapes, and as many states."""
        if program.states != self.program.states:
            raise ValueError("the states are no longer those of this stream: make another one, net.stream()")
        if not rnncore_take(&self.busy):
            raise RuntimeError(IN_USE)
        self.program = program
        self.session.kernels, self.session.stages = program.kernels, program.stages
        rnncore_leave(&self.busy)

    def _clear(self, const Py_ssize_t[::1] rows):
        """The states of these rows become 0."""
        if not rnncore_take(&self.busy):
            raise RuntimeError(IN_USE)
        if rows.shape[0]:
            clear_rows(&self.session, &rows[0], rows.shape[0])
        rnncore_leave(&self.busy)

    def _copy_states(self, cnp.ndarray flat not None, bint write):
        """Copy all states, one (B, H) after the other, to ``flat``; or from it, to ``write`` them."""
        cdef Py_ssize_t size = self.session.rows * self.program.states * self.program.item
        if not rnncore_take(&self.busy):
            raise RuntimeError(IN_USE)
        if write:
            memcpy(self.session.states, cnp.PyArray_DATA(flat), size)
        else:
            memcpy(cnp.PyArray_DATA(flat), self.session.states, size)
        rnncore_leave(&self.busy)


cdef bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef uintptr_t x = <uintptr_t>cnp.PyArray_DATA(a), y = <uintptr_t>cnp.PyArray_DATA(b)
    return x < y + <uintptr_t>cnp.PyArray_NBYTES(b) and y < x + <uintptr_t>cnp.PyArray_NBYTES(a)
