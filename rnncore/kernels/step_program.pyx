"""The time loop of cells that are written as their equations: chunks of steps, active rows, threads.

As in recurrence.pyx, a chunk's input projection is one product, its steps read it while it is in the cache,
and going back its gradients serve dx and the weights at once. Rows are shared out among the threads. Each
row's result has the same bits whatever rows are computed with it.

Cost: that of the products, 2 N K flops a row for each (N, K) matrix forward, twice that backward, and of the
element-wise programs in between.
"""

from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport isinf
from libc.string cimport memset

from .dispatch cimport BY_COMPACT, BY_NONE, BY_PLACE, Clipped, Kernels, Rows, kernels
from .float_state cimport enter, float_state, leave
from .memory cimport carve
from .phases cimport (
    FIXED,
    MAX_MATRICES,
    MAX_ROLES,
    ONE_ROW,
    STEP_ROWS,
    SUMS,
    TIMED,
    VECTOR,
    Compiled,
    Matrix,
    Outer,
    Role,
    Source,
    StepProgram,
    Total,
    run_phases,
)
from .plan cimport Sequence, Work, all_clipped, arrange, clear_padding, count_rows, length_of
from .threads cimport part, run_shares, threads_for

from .memory import empty

cdef enum:
    CHUNK_ROWS = 256      # as in plan.pyx
    TILE = 24

# One call: the program, its arrays as bytes, and the plan.
cdef struct Job:
    Sequence s                # sizes and lengths alone
    Work w                    # how rows and steps are dealt out
    const Kernels *kernels
    int item
    const Role *roles
    Compiled compiled
    int n_roles
    Py_ssize_t inputs, width, projected
    char *bases[MAX_ROLES]
    const char *weights[MAX_MATRICES]
    const char *biases[MAX_MATRICES]
    const char *x             # (T, B, I)
    char *sums                # (chunk * B, width)
    char *dx                  # (T, B, I), or NULL
    bint projected_add
    double clip_step
    const int *clipped
    int n_clipped
    # The weights' gradients.
    const Source *sources
    int n_sources
    char *panels[MAX_MATRICES]


cdef char *address(array) except? NULL:
    """Where a contiguous array's numbers begin; the caller keeps it alive."""
    cdef Py_buffer buffer
    cdef char *start
    PyObject_GetBuffer(array, &buffer, PyBUF_SIMPLE)
    start = <char *>buffer.buf
    PyBuffer_Release(&buffer)
    return start


cdef int begin(
    Job *j, StepProgram program, x, lengths, list arrays, list weights, const Py_ssize_t[::1] of_rows
) except -1:
    """Everything but the working memory."""
    memset(j, 0, sizeof(Job))
    j.item = x.dtype.itemsize
    j.kernels = kernels(j.item == 8)
    j.s.steps, j.s.rows, j.inputs = x.shape
    j.s.item, j.s.kernels = j.item, j.kernels
    j.s.lengths = NULL if lengths is None else &of_rows[0]
    j.x = address(x)
    j.roles, j.n_roles = program.roles, program.n_roles
    j.compiled.kernels, j.compiled.item = j.kernels, j.item
    j.compiled.phases, j.compiled.n_phases = program.phases, program.n_phases
    j.compiled.products, j.compiled.matrices = program.products, program.matrices
    j.compiled.n_matrices, j.compiled.n_biases = program.n_matrices, program.n_biases
    j.width, j.projected, j.projected_add = program.width, program.projected, program.projected_add
    j.sources, j.n_sources = program.sources, program.n_sources
    j.clipped, j.n_clipped = program.clipped, program.n_clipped
    if len(arrays) != j.n_roles or len(weights) != j.compiled.n_matrices:
        raise RuntimeError(
            f"expected {j.n_roles} arrays and {j.compiled.n_matrices} matrices, got {len(arrays)} and "
            f"{len(weights)}"
        )
    for i, array in enumerate(arrays):
        j.bases[i] = NULL if array is None else address(array)
    for i, weight in enumerate(weights):
        j.weights[i] = address(weight)
    j.w.sequence = &j.s
    j.w.threads = threads_for(j.s.steps * j.s.rows * program.flops)
    j.w.shares, j.w.unit_shares = <int>min(j.w.threads, j.s.rows), 1
    if j.w.shares == 1:
        j.w.threads = 1
    j.w.chunk = max(1, min(j.s.steps, CHUNK_ROWS // j.s.rows))
    return 0


cdef Py_ssize_t lay_out(Job *j, char *space) noexcept nogil:
    """Carve the working memory; returns the bytes it takes."""
    cdef char *start = space
    cdef Py_ssize_t rows = j.w.chunk * j.s.rows
    cdef Compiled *c = &j.compiled
    cdef int i
    j.w.order = <Py_ssize_t *>carve(&space, j.s.rows * sizeof(Py_ssize_t))
    j.w.buckets = <Py_ssize_t *>carve(&space, (j.s.steps + 2) * sizeof(Py_ssize_t))
    j.w.places = <Py_ssize_t *>carve(&space, rows * sizeof(Py_ssize_t))
    for i in range(c.n_matrices):
        c.packed[i] = carve(
            &space, j.kernels.packed_size(c.matrices[i].K, c.matrices[i].N, 1) * j.item
        )
    for i in range(c.n_biases):
        c.packed_biases[i] = carve(&space, j.kernels.packed_size(1, c.bias_sizes[i], 1) * j.item)
    j.sums = carve(&space, rows * j.width * j.item)
    for i in range(j.n_roles):
        if j.roles[i].kind == STEP_ROWS:
            j.bases[i] = carve(&space, j.s.rows * j.roles[i].row * j.item)
        elif j.roles[i].kind == ONE_ROW:
            j.bases[i] = carve(&space, j.w.shares * (j.roles[i].row + 16) * j.item)
    for i in range(j.n_sources):
        j.panels[i] = carve(&space, j.kernels.packed_size(rows, j.sources[i].K, 1) * j.item)
    return space - start


cdef void pack_weights(void *job, int k) noexcept nogil:
    """One share of every matrix's panels, and the biases."""
    cdef const Job *j = <const Job *>job
    cdef const Compiled *c = &j.compiled
    cdef const Matrix *m
    cdef int i
    for i in range(c.n_matrices):
        m = &c.matrices[i]
        j.kernels.pack(
            j.weights[i], m.K, m.N, 1, 0, 1 if m.turned else m.K, m.N if m.turned else 1,
            k, j.w.threads, c.packed[i],
        )
    for i in range(c.n_biases):
        j.kernels.pack(j.biases[i], 1, c.bias_sizes[i], 1, 0, 1, 0, k, j.w.threads, c.packed_biases[i])


cdef inline void point(
    const Job *j, int k, Py_ssize_t t, const char *sums, Rows *arrays
) noexcept nogil:
    """The arrays as step t of share k sees them; sums: the first of its compact rows."""
    cdef const Role *role
    cdef Py_ssize_t index
    cdef int i
    for i in range(j.n_roles):
        role = &j.roles[i]
        arrays[i].row = role.row
        arrays[i].at = j.bases[i]
        if role.kind == TIMED:
            index = t + role.offset
            if role.modulus:
                index %= role.modulus
            arrays[i].at = j.bases[i] + index * j.s.rows * role.row * j.item
            arrays[i].by = BY_PLACE
        elif role.kind == FIXED:
            arrays[i].by = BY_PLACE
        elif role.kind == VECTOR:
            arrays[i].by = BY_NONE
        elif role.kind == SUMS:
            arrays[i].at = <void *>sums
            arrays[i].by = BY_COMPACT
        elif role.kind == STEP_ROWS:
            arrays[i].at = j.bases[i] + j.w.start[k] * role.row * j.item
            arrays[i].by = BY_COMPACT
        else:
            arrays[i].at = j.bases[i] + k * (role.row + 16) * j.item
            arrays[i].by = BY_NONE


cdef void forward_share(void *job, int k) noexcept nogil:
    """The whole sequence for the rows of one share."""
    cdef const Job *j = <const Job *>job
    cdef const Work *w = &j.w
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], active = count, n, t, first, last = 0, i, total
    cdef Py_ssize_t *places = w.places + w.chunk * w.start[k]
    cdef char *sums = j.sums + w.chunk * w.start[k] * j.width * j.item
    cdef char *own
    cdef Rows arrays[MAX_ROLES]
    while last < j.s.steps:
        first, total, n, own = last, 0, active, sums
        while last < j.s.steps:
            while n > 0 and length_of(&j.s, rows[n - 1]) <= last:
                n -= 1
            if n == 0 or total + n > w.chunk * count:
                break
            for i in range(n):
                places[total + i] = last * j.s.rows + rows[i]
            total += n
            last += 1
        if total == 0:
            break
        if j.projected:
            # sums[:, :projected] = x @ W' + b   (rows, I)(I, projected)
            j.kernels.multiply(
                total, j.x, places, j.inputs, j.inputs, j.compiled.packed[0], j.projected, 1,
                j.compiled.packed_biases[0], 0, sums, NULL, j.width, j.projected,
            )
        for t in range(first, last):
            while active > 0 and length_of(&j.s, rows[active - 1]) <= t:
                active -= 1
            point(j, k, t, own, arrays)
            run_phases(&j.compiled, active, rows, arrays)
            own += active * j.width * j.item


def program_forward(StepProgram program, x, lengths, list arrays, list weights, list biases):
    """Run a cell over x (T, B, I): the program fills the arrays of its roles, None for those that are working
    memory; weights are the matrices of its products, x's the first, biases what sums begin with, x's the
    first. Padding is left as it is."""
    cdef Job j
    cdef float_state before
    cdef const Py_ssize_t[::1] of_rows = lengths
    begin(&j, program, x, lengths, arrays, weights, of_rows)
    if len(biases) != j.compiled.n_biases:
        raise RuntimeError(f"expected {j.compiled.n_biases} biases, got {len(biases)}")
    for i, bias in enumerate(biases):
        j.biases[i], j.compiled.bias_sizes[i] = address(bias), bias.shape[0]
    scratch = empty((lay_out(&j, NULL) + 64,), "uint8")
    lay_out(&j, address(scratch))
    with nogil:
        before = enter()
        arrange(&j.s, &j.w)
        run_shares(j.w.threads, pack_weights, &j)
        run_shares(j.w.shares, forward_share, &j)
        leave(before)


cdef void backward_share(void *job, int k) noexcept nogil:
    """The steps of the chunk at hand for the rows of one share, and their dx."""
    cdef Job *j = <Job *>job
    cdef Work *w = &j.w
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], n = 0, at = w.base[k + 1], t, i, total
    cdef Rows arrays[MAX_ROLES]
    cdef Rows clipped[MAX_ROLES]
    for t in range(w.last - 1, w.first - 1, -1):
        while n < count and length_of(&j.s, rows[n]) > t:
            n += 1
        if n == 0:
            continue
        at -= n
        for i in range(n):
            w.places[at + i] = t * j.s.rows + rows[i]
        point(j, k, t, j.sums + at * j.width * j.item, arrays)
        run_phases(&j.compiled, n, rows, arrays)
        if not isinf(j.clip_step):
            for i in range(j.n_clipped):
                clipped[i] = arrays[j.clipped[i]]
            j.kernels.clip_states(n, rows, clipped, j.n_clipped, j.clip_step, &w.clipped[k])
    total = w.base[k + 1] - w.base[k]
    if j.dx != NULL and j.projected and total:
        # dx = or += dsums[:, :projected] @ W   (rows, projected)(projected, I)
        j.kernels.multiply(
            total, j.sums + w.base[k] * j.width * j.item, NULL, j.width, j.projected, j.compiled.packed[0],
            j.inputs, 1, NULL, j.projected_add, j.dx, w.places + w.base[k], j.inputs, j.inputs,
        )


# A backward call with where its gradients go.
cdef struct Gradients:
    Job *job
    const Outer *outers
    const Total *totals
    int n_outers, n_totals
    char *dweights[MAX_MATRICES]
    char *dvectors[MAX_MATRICES]


cdef void pack_sources(void *gradients, int k) noexcept nogil:
    """One share of the panels of what the weights were multiplied with."""
    cdef const Gradients *g = <const Gradients *>gradients
    cdef const Job *j = g.job
    cdef const Source *source
    cdef const Role *role
    cdef const char *rows
    cdef int i
    for i in range(j.n_sources):
        source = &j.sources[i]
        role = &j.roles[source.role]
        rows = j.bases[source.role] + (role.offset * j.s.rows * role.row + source.column) * j.item
        j.kernels.pack_rows(
            rows, role.row, j.w.places, j.w.base[j.w.shares], source.K, k, j.w.threads, j.panels[i]
        )


cdef void weights_share(void *gradients, int k) noexcept nogil:
    """dweight += dsums' source   (N, rows)(rows, K); dvector += sums of dsums; one share of the N's."""
    cdef const Gradients *g = <const Gradients *>gradients
    cdef const Job *j = g.job
    cdef Py_ssize_t total = j.w.base[j.w.shares], grain = j.kernels.block_rows, first, last, K
    cdef const Outer *outer
    cdef const Total *sum_of
    cdef int i
    for i in range(g.n_outers):
        outer = &g.outers[i]
        K = j.sources[outer.source].K
        first, last = part(outer.N, k, j.w.threads, grain), part(outer.N, k + 1, j.w.threads, grain)
        if first < last:
            j.kernels.accumulate_outer(
                total, j.sums + outer.column * j.item, j.width, first, last, j.panels[outer.source], K,
                g.dweights[i], K, NULL, 0, NULL, 0,
            )
    for i in range(g.n_totals):
        sum_of = &g.totals[i]
        first, last = part(sum_of.N, k, j.w.threads, grain), part(sum_of.N, k + 1, j.w.threads, grain)
        if first < last:
            j.kernels.add_rows(
                total, j.sums + (sum_of.column + first) * j.item, j.width, last - first,
                g.dvectors[i] + first * j.item,
            )


cdef void go_backward(Gradients *g) noexcept nogil:
    cdef Job *j = g.job
    cdef float_state before = enter()
    arrange(&j.s, &j.w)
    run_shares(j.w.threads, pack_weights, j)
    clear_padding(j.s.lengths, j.s.steps, j.s.rows, j.dx, j.inputs * j.item, 0, 1)
    j.w.last = j.s.steps
    while j.w.last > 0:
        if count_rows(&j.s, &j.w) > 0:
            run_shares(j.w.shares, backward_share, j)
            run_shares(j.w.threads, pack_sources, g)
            run_shares(j.w.threads, weights_share, g)
        j.w.last = j.w.first
    leave(before)


def program_backward(
    StepProgram program, x, lengths, list arrays, list weights, dx, list dweights, list dvectors,
    double clip_step,
):
    """The way back along a pass: adds into dweights and dvectors, fills dx (T, B, I) unless it is None, and
    turns the states' gradients among the arrays from final to initial. Returns how often clip_step acted and
    the sum of its factors."""
    cdef Job j
    cdef Gradients g
    cdef Clipped clipped
    cdef const Py_ssize_t[::1] of_rows = lengths
    begin(&j, program, x, lengths, arrays, weights, of_rows)
    if len(dweights) != program.n_outers or len(dvectors) != program.n_totals:
        raise RuntimeError(
            f"expected {program.n_outers} gradients of matrices and {program.n_totals} of vectors, got "
            f"{len(dweights)} and {len(dvectors)}"
        )
    j.dx = NULL if dx is None else address(dx)
    j.clip_step = clip_step
    memset(&g, 0, sizeof(Gradients))
    g.job, g.outers, g.totals = &j, program.outers, program.totals
    g.n_outers, g.n_totals = program.n_outers, program.n_totals
    for i, dweight in enumerate(dweights):
        g.dweights[i] = address(dweight)
    for i, dvector in enumerate(dvectors):
        g.dvectors[i] = address(dvector)
    scratch = empty((lay_out(&j, NULL) + 64,), "uint8")
    lay_out(&j, address(scratch))
    with nogil:
        go_backward(&g)
    clipped = all_clipped(j.w.clipped, j.w.shares)
    return clipped.times, clipped.factors
