"""What every cell's time loop shares: chunks of steps, active rows, packed weights, threads.

Steps are taken in chunks of about CHUNK_ROWS rows of (step, sequence) pairs. For a chunk the input
projection is one product, then come its time steps, which read it while it is in the cache; going back, a
chunk's gradients of the gates serve dx and the weights at once and are overwritten by the next chunk's. So
no array of the size of the tape is needed beside the tape.

The batch is split among the threads for a whole chunk, each with its own rows; rows are sorted by length,
so that the active ones come first. Cost: 2 T B G H (I + H) flops forward, twice that backward, over the
rows that have a step.
"""

from libc.math cimport isinf
from libc.string cimport memcpy, memset

from .blas cimport gemm
from .dispatch cimport Kernels, Step, kernels
from .memory cimport carve
from .threads cimport part, run_shares, threads_for

import numpy as np

cdef enum:
    CHUNK_ROWS = 256      # 512 and 1024 are no faster: bench/README.md, "Chunks"
    MAX_SHARES = 64       # threads.pyx gives no more

# One call: its plan, its working memory, carved from scratch, and the chunk at hand.
cdef struct Work:
    const Sequence *sequence
    int shares                    # parts of the batch, a thread each
    int threads                   # for what is not split by rows of the batch
    Py_ssize_t chunk              # steps at a time
    Py_ssize_t first              # the steps first ... last - 1 of the chunk at hand
    Py_ssize_t last
    Py_ssize_t clipped[MAX_SHARES]     # how often clip_step acted on each share
    Py_ssize_t start[MAX_SHARES + 1]   # share k has the rows order[start[k]] ... order[start[k + 1] - 1]
    Py_ssize_t base[MAX_SHARES + 1]    # and the compact rows base[k] ... of a backward chunk
    Py_ssize_t *order             # (B,) rows, in each share by descending length
    Py_ssize_t *buckets           # (T + 2,) for sorting
    Py_ssize_t *places            # (chunk * B,) t * B + row of each compact row
    Py_ssize_t wide               # numbers in a projected row
    char *packed_ih
    char *packed_hh
    char *packed_bias
    char *projected               # (chunk * B, wide), forward
    char *dgates                  # (chunk * B, G*H), backward
    char *drecurrent
    char *rows_x                  # (chunk * B, I) and (chunk * B, H) packed, backward
    char *rows_h


cdef Py_ssize_t lay_out(const Sequence *s, Work *w, bint back) noexcept nogil:
    """Carve the working memory of a forward or backward pass from scratch; returns the bytes it takes."""
    cdef Py_ssize_t rows, gate_rows = s.gates * s.units
    cdef const Kernels *k = s.kernels
    cdef char *space = s.scratch
    w.sequence = s
    w.chunk = max(1, min(s.steps, CHUNK_ROWS // s.rows))
    rows = w.chunk * s.rows
    w.order = <Py_ssize_t *>carve(&space, s.rows * sizeof(Py_ssize_t))
    w.buckets = <Py_ssize_t *>carve(&space, (s.steps + 2) * sizeof(Py_ssize_t))
    w.places = <Py_ssize_t *>carve(&space, rows * sizeof(Py_ssize_t))
    if back:
        w.packed_hh = carve(&space, k.packed_size(gate_rows, s.units, 1) * s.item)
        w.packed_ih = carve(&space, k.packed_size(gate_rows, s.inputs, 1) * s.item)
        w.dgates = carve(&space, rows * gate_rows * s.item)
        w.drecurrent = carve(&space, rows * gate_rows * s.item) if s.two_products else w.dgates
        w.rows_x = carve(&space, k.packed_size(rows, s.inputs, 1) * s.item)
        w.rows_h = carve(&space, k.packed_size(rows, s.units, 1) * s.item)
    else:
        w.wide = k.packed_size(1, s.units, s.gates)
        w.packed_hh = carve(&space, k.packed_size(s.units, s.units, s.gates) * s.item)
        w.packed_ih = carve(&space, k.packed_size(s.inputs, s.units, s.gates) * s.item)
        w.packed_bias = carve(&space, w.wide * s.item)
        w.projected = carve(&space, rows * w.wide * s.item)
    return space - s.scratch


def scratch_size(Py_ssize_t steps, Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units, int gates, dtype):
    """Entries of working memory that a cell's kernels want for T steps, B rows, I inputs, H units and G
    gates."""
    cdef Sequence s
    cdef Work w
    s.steps, s.rows, s.inputs, s.units, s.gates = steps, rows, inputs, units, gates
    s.item = np.dtype(dtype).itemsize
    s.two_products = gates == 3
    s.kernels = kernels(s.item == 8)
    s.scratch = NULL
    return (max(lay_out(&s, &w, False), lay_out(&s, &w, True)) + 64) // s.item + 1


cdef inline Py_ssize_t length_of(const Sequence *s, Py_ssize_t row) noexcept nogil:
    return s.steps if s.lengths == NULL else s.lengths[row]


cdef void arrange(const Sequence *s, Work *w) noexcept nogil:
    """Deal the rows out to the shares, in each by descending length."""
    cdef Py_ssize_t row, i, place, length
    cdef int k
    w.threads = threads_for(2.0 * s.steps * s.rows * s.gates * s.units * (s.inputs + s.units))
    w.shares = <int>min(w.threads, s.rows)
    for k in range(w.shares + 1):
        w.start[k] = k * (s.rows // w.shares) + min(<Py_ssize_t>k, s.rows % w.shares)
    if s.lengths == NULL:
        for row in range(s.rows):
            w.order[row] = row
        return
    # A counting sort, longest first: buckets[n] becomes the number of rows longer than n, where those of
    # length n begin. In a segment of a longer sequence a row may have ended: its length is 0.
    memset(w.buckets, 0, (s.steps + 2) * sizeof(Py_ssize_t))
    for row in range(s.rows):
        w.buckets[s.lengths[row]] += 1
    i = 0
    for length in range(s.steps, -1, -1):
        place = w.buckets[length]
        w.buckets[length] = i
        i += place
    for row in range(s.rows):
        i = w.buckets[s.lengths[row]]
        w.buckets[s.lengths[row]] += 1
        # Like cards, so that every share has its part of the long rows.
        k = <int>(i % w.shares)
        place = w.start[k] + i // w.shares
        w.order[place] = row


cdef inline void point_at(const Sequence *s, Py_ssize_t t, Step *step) noexcept nogil:
    """Have the step read and write the tape at step t."""
    cdef Py_ssize_t states = s.rows * s.units * s.item
    step.h_prev = s.hidden + t * states
    step.h = s.hidden + (t + 1) * states
    if s.cells != NULL:
        step.c_prev = s.cells + t * states
        step.c = s.cells + (t + 1) * states
    if s.gate_tape != NULL:
        step.gates = s.gate_tape + t * states * s.gates
    if s.candidates != NULL:
        step.candidates = s.candidates + t * states


cdef void forward_share(void *job, int k) noexcept nogil:
    """The whole sequence for the rows of one share."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], active, n, t, first, last, i, total
    cdef Py_ssize_t *places = w.places + w.chunk * w.start[k]
    cdef char *projected = w.projected + w.chunk * w.start[k] * w.wide * s.item
    cdef Step step
    memset(&step, 0, sizeof(Step))
    step.rows, step.units, step.activation = rows, s.units, s.activation
    step.packed, step.bias_hn, step.ahead = w.packed_hh, s.bias_hn, s.rows * s.units
    active, last = count, 0
    while last < s.steps:
        first = last
        last = min(first + w.chunk, s.steps)
        total = 0
        n = active
        for t in range(first, last):
            while n > 0 and length_of(s, rows[n - 1]) <= t:
                n -= 1
            for i in range(n):
                places[total + i] = t * s.rows + rows[i]
            total += n
        if total == 0:
            break
        s.kernels.multiply(
            total, s.x, places, s.inputs, s.inputs, w.packed_ih, s.units, s.gates, w.packed_bias, 0,
            projected, NULL, w.wide, w.wide,
        )
        step.projected = projected
        for t in range(first, last):
            while active > 0 and length_of(s, rows[active - 1]) <= t:
                active -= 1
            step.n = active
            point_at(s, t, &step)
            s.forward(&step)
            step.projected = <const char *>step.projected + active * w.wide * s.item
    if s.lengths != NULL:
        clear_padding(s, rows, count)


cdef void clear_row(const Sequence *s, char *array, Py_ssize_t row, Py_ssize_t width) noexcept nogil:
    """Zero array[t, row] (T, B, width) for the steps beyond the row's length."""
    cdef Py_ssize_t t
    if array != NULL:
        for t in range(s.lengths[row], s.steps):
            memset(array + (t * s.rows + row) * width * s.item, 0, width * s.item)


cdef void clear_padding(const Sequence *s, const Py_ssize_t *rows, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i, states = s.rows * s.units * s.item
    for i in range(count):
        clear_row(s, s.hidden + states, rows[i], s.units)
        if s.cells != NULL:
            clear_row(s, s.cells + states, rows[i], s.units)
        clear_row(s, s.gate_tape, rows[i], s.gates * s.units)
        clear_row(s, s.candidates, rows[i], s.units)


cdef void pack_forward(void *job, int k) noexcept nogil:
    """Pack one share of the weights' panels, each gate's columns beside the others'."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    s.kernels.pack(
        s.weight_hh, s.units, s.units, s.gates, s.units * s.units, s.units, 1, k, w.threads, w.packed_hh
    )
    s.kernels.pack(
        s.weight_ih, s.inputs, s.units, s.gates, s.units * s.inputs, s.inputs, 1, k, w.threads, w.packed_ih
    )


cdef void pack_backward(void *job, int k) noexcept nogil:
    """The same for the products on the way back, by the weights' transposes."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units
    s.kernels.pack(s.weight_hh, gate_rows, s.units, 1, 0, 1, s.units, k, w.threads, w.packed_hh)
    s.kernels.pack(s.weight_ih, gate_rows, s.inputs, 1, 0, 1, s.inputs, k, w.threads, w.packed_ih)


cdef void run_forward(Sequence *s) noexcept nogil:
    cdef Work w
    lay_out(s, &w, False)
    arrange(s, &w)
    s.kernels.pack(s.bias, 1, s.units, s.gates, s.units, 1, 0, 0, 1, w.packed_bias)
    run_shares(w.threads, pack_forward, &w)
    run_shares(w.shares, forward_share, &w)


cdef void record_hidden(const Sequence *s, const Step *step, Py_ssize_t t) noexcept nogil:
    """dhidden[t + 1] = dh + dy, the gradient of the state after step t, before the step consumes it."""
    cdef Py_ssize_t i, row, width = s.units * s.item
    cdef char *recorded
    for i in range(step.n):
        row = step.rows[i] * width
        recorded = s.dhidden + (t + 1) * s.rows * width + row
        memcpy(recorded, s.dh + row, width)
        s.kernels.add_rows(1, <const char *>step.dy + row, s.units, s.units, recorded)


cdef void record_gates(const Sequence *s, const Step *step, Py_ssize_t t) noexcept nogil:
    """dgates[t] and drecurrent[t]: each compact row at its own place."""
    cdef Py_ssize_t i, place, width = s.gates * s.units * s.item
    for i in range(step.n):
        place = (t * s.rows + step.rows[i]) * width
        memcpy(s.dgates + place, <const char *>step.dgates + i * width, width)
        memcpy(s.drecurrent + place, <const char *>step.drecurrent + i * width, width)


cdef void backward_share(void *job, int k) noexcept nogil:
    """BPTT over the steps of the chunk at hand for the rows of one share, and their dx."""
    cdef Work *w = <Work *>job
    cdef const Sequence *s = w.sequence
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], n = 0, at = w.base[k + 1], t, i
    cdef Py_ssize_t states = s.rows * s.units * s.item, gate_rows = s.gates * s.units
    cdef Step step
    memset(&step, 0, sizeof(Step))
    step.rows, step.units, step.activation = rows, s.units, s.activation
    step.dh, step.dc, step.ahead = s.dh, s.dc, -s.rows * s.units
    for t in range(w.last - 1, w.first - 1, -1):
        while n < count and length_of(s, rows[n]) > t:
            n += 1
        if n == 0:
            continue
        at -= n
        for i in range(n):
            w.places[at + i] = t * s.rows + rows[i]
        step.n = n
        point_at(s, t, &step)
        step.dy = s.dy + t * states
        step.dgates = w.dgates + at * gate_rows * s.item
        step.drecurrent = w.drecurrent + at * gate_rows * s.item
        if s.dhidden != NULL:
            record_hidden(s, &step, t)
        if s.dcells != NULL:
            step.dcells = s.dcells + (t + 1) * states
        s.backward(&step)
        if s.dgates != NULL:
            record_gates(s, &step, t)
        # dh[rows] = drecurrent @ W_hh + what the cell left in dh   (n, G*H)(G*H, H)
        s.kernels.multiply(
            n, step.drecurrent, NULL, gate_rows, gate_rows, w.packed_hh, s.units, 1, NULL, s.leaves_dh,
            s.dh, rows, s.units, s.units,
        )
        if not isinf(s.clip_step):
            w.clipped[k] += s.kernels.clip_rows(&step, s.clip_step)
    # dx = dgates @ W_ih   (rows, G*H)(G*H, I)
    s.kernels.multiply(
        w.base[k + 1] - w.base[k], w.dgates + w.base[k] * gate_rows * s.item, NULL, gate_rows, gate_rows,
        w.packed_ih, s.inputs, 1, NULL, 0, s.dx, w.places + w.base[k], s.inputs, s.inputs,
    )


cdef void pack_share(void *job, int k) noexcept nogil:
    """Pack one share of the panels of x and of h[t-1], the right-hand sides of the weight gradients."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    s.kernels.pack_rows(s.x, w.places, w.base[w.shares], s.inputs, k, w.threads, w.rows_x)
    s.kernels.pack_rows(s.hidden, w.places, w.base[w.shares], s.units, k, w.threads, w.rows_h)


cdef void weights_share(void *job, int k) noexcept nogil:
    """Add a chunk's gradients into one share of the weights' rows.

    dweight_ih += dgates' x; dweight_hh += drecurrent' h[t-1]   (G*H, rows)(rows, I or H);
    dbias += sums of dgates
    """
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units, grain = s.kernels.block_rows, total = w.base[w.shares]
    cdef Py_ssize_t first = part(gate_rows, k, w.threads, grain)
    cdef Py_ssize_t last = part(gate_rows, k + 1, w.threads, grain)
    cdef Py_ssize_t candidate = gate_rows - s.units
    if s.two_products:
        s.kernels.accumulate_outer(
            total, w.dgates, gate_rows, first, last, w.rows_x, s.inputs, s.dweight_ih, NULL, 0, NULL
        )
        s.kernels.accumulate_outer(
            total, w.drecurrent, gate_rows, first, last, w.rows_h, s.units, s.dweight_hh, NULL, 0, NULL
        )
    else:
        s.kernels.accumulate_outer(
            total, w.dgates, gate_rows, first, last,
            w.rows_x, s.inputs, s.dweight_ih, w.rows_h, s.units, s.dweight_hh,
        )
    s.kernels.add_rows(total, w.dgates + first * s.item, gate_rows, last - first, s.dbias + first * s.item)
    if s.dbias_hn != NULL and last > candidate:
        first = max(first, candidate)
        s.kernels.add_rows(
            total, w.drecurrent + first * s.item, gate_rows, last - first,
            s.dbias_hn + (first - candidate) * s.item,
        )


cdef void blas_weights(const Sequence *s, const Work *w, Py_ssize_t total) noexcept nogil:
    """A chunk's weight gradients by BLAS, on rows gathered in the order of the gate gradients."""
    cdef Py_ssize_t gate_rows = s.gates * s.units, i, candidate = gate_rows - s.units
    cdef Py_ssize_t x_bytes = s.inputs * s.item, h_bytes = s.units * s.item
    for i in range(total):
        memcpy(w.rows_x + i * x_bytes, s.x + w.places[i] * x_bytes, x_bytes)
        memcpy(w.rows_h + i * h_bytes, s.hidden + w.places[i] * h_bytes, h_bytes)
    # dweight_ih += dgates' x   (G*H, rows)(rows, I); dweight_hh += drecurrent' h[t-1]   (G*H, rows)(rows, H)
    gemm(
        s.item, True, gate_rows, s.inputs, total, w.dgates, gate_rows, w.rows_x, s.inputs,
        s.dweight_ih, s.inputs,
    )
    gemm(
        s.item, True, gate_rows, s.units, total, w.drecurrent, gate_rows, w.rows_h, s.units,
        s.dweight_hh, s.units,
    )
    s.kernels.add_rows(total, w.dgates, gate_rows, gate_rows, s.dbias)
    if s.dbias_hn != NULL:
        s.kernels.add_rows(total, w.drecurrent + candidate * s.item, gate_rows, s.units, s.dbias_hn)


cdef Py_ssize_t count_rows(const Sequence *s, Work *w) noexcept nogil:
    """Where each share's compact rows of the chunk begin; returns how many there are."""
    cdef Py_ssize_t i, total = 0
    cdef int k
    for k in range(w.shares):
        w.base[k] = total
        for i in range(w.start[k], w.start[k + 1]):
            total += max(0, min(length_of(s, w.order[i]), w.last) - w.first)
    w.base[w.shares] = total
    return total


cdef Py_ssize_t run_backward(Sequence *s) noexcept nogil:
    """BPTT over the whole sequence; returns how often clip_step acted."""
    cdef Work w
    cdef int k
    cdef Py_ssize_t row, clipped = 0, gate_rows = s.gates * s.units
    lay_out(s, &w, True)
    arrange(s, &w)
    memset(w.clipped, 0, sizeof(w.clipped))
    run_shares(w.threads, pack_backward, &w)
    if s.lengths != NULL:
        for row in range(s.rows):
            clear_row(s, s.dx, row, s.inputs)
            clear_row(s, s.dgates, row, gate_rows)
            clear_row(s, s.drecurrent, row, gate_rows)
            if s.dhidden != NULL:
                clear_row(s, s.dhidden + s.rows * s.units * s.item, row, s.units)
            if s.dcells != NULL:
                clear_row(s, s.dcells + s.rows * s.units * s.item, row, s.units)
    w.last = s.steps
    while w.last > 0:
        w.first = (w.last - 1) // w.chunk * w.chunk
        if count_rows(s, &w) > 0:
            run_shares(w.shares, backward_share, &w)
            if s.kernels.blas:
                blas_weights(s, &w, w.base[w.shares])
            else:
                run_shares(w.threads, pack_share, &w)
                run_shares(w.threads, weights_share, &w)
        w.last = w.first
    for k in range(w.shares):
        clipped += w.clipped[k]
    return clipped
