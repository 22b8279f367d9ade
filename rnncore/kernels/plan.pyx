"""The plan of one call of a cell's kernels: chunks of steps, shares of rows, working memory."""

from libc.string cimport memset

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave
from .memory cimport carve
from .threads cimport part, threads_for

import numpy as np

cdef enum:
    # So few rows, with so much to do in a step, have its units shared out: bench/README.md, "Few rows".
    FEW_ROWS = 4
    STEP_FLOPS = 100000
    SOME_ROWS = 6
    LARGE_STEP_FLOPS = 2500000
    # Each share sums up its own gradients, where they are few bytes, and few beside x and h.
    OWN_BYTES = 524288
    OWN_PART = 24
    OWN_CHUNK_ROWS = 192  # room for them, in small batches
    # What reading a weight costs, in flops: bench/README.md, "One step with gradients".
    READ_FLOPS = 32
    MAX_GATES = 4         # product.h has the same
    CHUNK_ROWS = 256      # 512 and 1024 are no faster: bench/README.md, "Chunks"


cdef int check_gates(Py_ssize_t gates) except -1:
    if not 1 <= gates <= MAX_GATES:
        raise ValueError(f"gates is {gates}, but the kernels have panels of 1 to {MAX_GATES} gates")
    return 0


cdef char *lay_out_panels(const Sequence *s, Work *w, char *space) noexcept nogil:
    """Carve what the weights are packed into for a forward pass; returns where the rest begins."""
    cdef Py_ssize_t gate_rows = s.gates * s.units
    cdef const Kernels *k = s.kernels
    w.joint = gate_rows - s.units if s.reset_before else gate_rows
    w.interleaved = 1 if s.reset_before else s.gates
    w.columns = gate_rows if s.reset_before else s.units
    w.wide = k.packed_size(1, w.columns, w.interleaved)
    w.panels = w.wide // k.packed_size(1, 1, w.interleaved)
    w.packed_hh = carve(&space, k.packed_size(s.units, w.joint // w.interleaved, w.interleaved) * s.item)
    w.narrow = k.is_narrow(w.columns, w.interleaved)
    if w.narrow:
        w.packed_ih = carve(&space, k.packed_size(s.inputs, w.columns * w.interleaved, 1) * s.item)
    else:
        w.packed_ih = carve(&space, k.packed_size(s.inputs, w.columns, w.interleaved) * s.item)
    w.packed_bias = carve(&space, w.wide * s.item)
    w.packed_hn = NULL
    if s.reset_before:
        w.packed_hn = carve(&space, k.packed_size(s.units, s.units, 1) * s.item)
    return space


cdef void choose_shares(const Sequence *s, Work *w) noexcept nogil:
    """How many threads take part, and what is shared out: the batch, or of few rows the units."""
    cdef double step = 2.0 * s.rows * s.gates * s.units * s.units
    cdef bint few = s.rows <= FEW_ROWS and step >= STEP_FLOPS
    few = few or s.rows <= SOME_ROWS and step >= LARGE_STEP_FLOPS
    cdef double uses = 2.0 * s.steps * s.rows
    cdef bint once = s.steps == 1
    if once:
        uses = max(uses, <double>READ_FLOPS)
    w.threads = threads_for(uses * s.gates * s.units * (s.inputs + s.units))
    w.shares, w.unit_shares = <int>min(w.threads, s.rows), 1
    if (few or once) and not s.reset_before:
        w.shares, w.unit_shares = 1, w.threads
    elif w.shares == 1:
        w.threads = 1  # what others had packed would lie in their caches


cdef void choose_unpacked(const Sequence *s, Work *w) noexcept nogil:
    """Weights that one share uses once need no packing: weight_hh in a step, weight_ih in a chunk."""
    cdef bint once = s.panels == NULL and w.shares == 1
    w.unpacked_hh = once and s.steps == 1
    w.unpacked_ih = once and w.chunk == s.steps and (w.unit_shares == 1 or s.steps == 1)


cdef bint own_pay(const Sequence *s, Work *w) noexcept nogil:
    """Whether each share is to have gradients of its own; and how many bytes they take."""
    cdef Py_ssize_t H = s.units, gate_rows = s.gates * H, room = s.steps * s.rows * (s.inputs + H) * s.item
    w.own_size = (gate_rows * (s.inputs + H + 1) + 5 * H + s.further * H * H) * s.item + OWN_ARRAYS * 64
    if w.shares == 1 or s.kernels.blas:
        return False
    return w.own_size <= OWN_BYTES and (w.shares - 1) * w.own_size <= room // OWN_PART


cdef Py_ssize_t lay_out(const Sequence *s, Work *w, bint back, bint own) noexcept nogil:
    """Decide on threads and chunks and carve the working memory of a pass; returns the bytes it takes."""
    cdef Py_ssize_t rows, gate_rows = s.gates * s.units
    cdef const Kernels *k = s.kernels
    cdef char *space = s.scratch
    cdef char *shared
    cdef float_state before = enter()  # rounding decides with the threads
    w.sequence = s
    choose_shares(s, w)
    leave(before)
    own = back and own and own_pay(s, w)
    w.chunk = OWN_CHUNK_ROWS if own and 4 * s.rows <= OWN_CHUNK_ROWS else CHUNK_ROWS
    w.chunk = max(1, min(s.steps, w.chunk // s.rows))
    choose_unpacked(s, w)
    rows = w.chunk * s.rows
    w.lengths = <Py_ssize_t *>carve(&space, s.rows * sizeof(Py_ssize_t))
    w.order = <Py_ssize_t *>carve(&space, s.rows * sizeof(Py_ssize_t))
    w.buckets = <Py_ssize_t *>carve(&space, (s.steps + 2) * sizeof(Py_ssize_t))
    w.places = <Py_ssize_t *>carve(&space, rows * sizeof(Py_ssize_t))
    w.packed_skip = carve(&space, s.further * k.packed_size(s.units, s.units, 1) * s.item)
    if back:
        if s.further:
            w.rows_skip = carve(&space, k.packed_size(rows, s.units, 1) * s.item)
        w.joint = gate_rows - s.units if s.reset_before else gate_rows
        w.packed_hn = NULL
        if s.reset_before:
            w.packed_hn = carve(&space, k.packed_size(s.units, s.units, 1) * s.item)
        w.packed_hh = carve(&space, k.packed_size(w.joint, s.units, 1) * s.item)
        w.packed_ih = carve(&space, k.packed_size(gate_rows, s.inputs, 1) * s.item)
        w.dgates = carve(&space, rows * gate_rows * s.item)
        w.drecurrent = carve(&space, rows * gate_rows * s.item) if s.two_products else w.dgates
        w.rows_x = carve(&space, k.packed_size(rows, s.inputs, 1) * s.item)
        w.rows_h = carve(&space, k.packed_size(rows, s.units, 1) * s.item)
        if s.dleak != NULL:
            w.dleak = carve(&space, rows * s.units * s.item)
        if s.reset_before:
            w.rows_reset = carve(&space, k.packed_size(rows, s.units, 1) * s.item)
        w.own = NULL
        if own:
            shared = space
            w.own = carve(&space, (w.shares - 1) * w.own_size)
            if s.scratch_end != NULL and space > s.scratch_end:  # it was measured for fewer threads
                w.own, space = NULL, shared
    else:
        if s.panels != NULL:
            lay_out_panels(s, w, s.panels)
        else:
            space = lay_out_panels(s, w, space)
        w.projected = carve(&space, rows * w.wide * s.item)
    return space - s.scratch


def scratch_size(
    Py_ssize_t steps, Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units, int gates, dtype,
    bint leaky=False, Py_ssize_t skips=0, bint two_products=False, bint reset_before=False,
):
    """Entries of working memory that a cell's kernels need for T steps or fewer, B rows, I inputs, H units,
    G gates, whatever the number of threads by then.

    leaky: whether the leak is learned; skips: skip connections beside the first; two_products: whether gates
    and their products with h[t-1] have gradients of their own; reset_before: whether the last gate's product
    is with r h[t-1]. A kernel refuses a scratch that is too small.
    """
    cdef Sequence s
    cdef Work w
    cdef Py_ssize_t size
    check_gates(gates)
    s.steps, s.rows, s.inputs, s.units, s.gates = steps, rows, inputs, units, gates
    s.item = np.dtype(dtype).itemsize
    s.kernels = kernels(s.item == 8)
    s.scratch = s.scratch_end = s.panels = NULL
    s.further = skips
    s.two_products, s.reset_before, s.dleak = two_products, reset_before, <char *>&s if leaky else NULL
    # Chunks are longer where shares have no gradients of their own, and with fewer threads they may not.
    size = max(lay_out(&s, &w, False, False), lay_out(&s, &w, True, False), lay_out(&s, &w, True, True))
    return (size + 64) // s.item + 1


def panels_size(Py_ssize_t inputs, Py_ssize_t units, int gates, dtype, bint reset_before=False):
    """Entries of the panels that pack_recurrent fills."""
    cdef Sequence s
    cdef Work w
    check_gates(gates)
    s.inputs, s.units, s.gates, s.reset_before = inputs, units, gates, reset_before
    s.item = np.dtype(dtype).itemsize
    s.kernels = kernels(s.item == 8)
    return (lay_out_panels(&s, &w, NULL) - <char *>NULL + 64) // s.item + 1


cdef Py_ssize_t copy_lengths(const Sequence *s, Work *w) noexcept nogil:
    """Returns the first row whose length is not from 0 to T, -1 if there is none."""
    cdef Py_ssize_t row
    for row in range(s.rows):
        w.lengths[row] = s.lengths[row]
        if not 0 <= w.lengths[row] <= s.steps:
            return row
    return -1


cdef int own_lengths(Sequence *s, Work *w) except -1:
    """Go by a copy of the lengths, which nobody else can change, if each is from 0 to T."""
    cdef Py_ssize_t wrong = -1 if s.lengths == NULL else copy_lengths(s, w)
    if wrong >= 0:
        raise ValueError(f"lengths[{wrong}] is {w.lengths[wrong]}, but x has {s.steps} steps (T)")
    if s.lengths != NULL:
        s.lengths = w.lengths
    return 0


cdef void arrange(const Sequence *s, Work *w) noexcept nogil:
    """Deal the rows out to the shares, in each by descending length."""
    cdef Py_ssize_t row, i, place, length
    cdef int k
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


cdef Py_ssize_t count_rows(const Sequence *s, Work *w) noexcept nogil:
    """Which steps before w.last make up a chunk, and where each share's compact rows of them begin; returns
    how many there are."""
    cdef Py_ssize_t i, active, total = 0, rows = w.start[w.shares] - w.start[0]
    cdef int k
    w.first = w.last
    for k in range(w.shares):
        w.base[k] = 0  # for now, the share's active rows
    while w.first > 0:
        active = 0
        for k in range(w.shares):
            while (
                w.base[k] < w.start[k + 1] - w.start[k]
                and length_of(s, w.order[w.start[k] + w.base[k]]) >= w.first
            ):
                w.base[k] += 1
            active += w.base[k]
        if total + active > w.chunk * rows:
            break
        total += active
        w.first -= 1
    total = 0
    for k in range(w.shares):
        w.base[k] = total
        for i in range(w.start[k], w.start[k + 1]):
            total += max(0, min(length_of(s, w.order[i]), w.last) - w.first)
    w.base[w.shares] = total
    return total


cdef void clear_padding(
    const Py_ssize_t *lengths, Py_ssize_t steps, Py_ssize_t rows, char *array, Py_ssize_t width,
    int k, int shares,
) noexcept nogil:
    """Zero array (T, B, width in bytes) beyond the rows' lengths, if both are there: share k of the steps,
    each in the longest runs, for a row's steps lie a power of two apart."""
    cdef Py_ssize_t t, b, first
    if lengths == NULL or array == NULL:
        return
    for t in range(part(steps, k, shares, 1), part(steps, k + 1, shares, 1)):
        b = 0
        while b < rows:
            while b < rows and lengths[b] > t:
                b += 1
            first = b
            while b < rows and lengths[b] <= t:
                b += 1
            memset(array + (t * rows + first) * width, 0, (b - first) * width)
