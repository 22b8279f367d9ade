"""Clockwork network (Koutník, Greff, Gomez & Schmidhuber, 2014): groups of units with periods of their own.

    h_g[t] = tanh(W_ih x[t] + sum over groups j >= g of W_gj h_j[t-1] + b)   if period g divides t
             h_g[t-1]                                                         otherwise

Groups are of about the same size, their periods ascending; a group hears itself and slower ones, so that the
blocks of weight_hh below the diagonal take no part. Steps are counted from 0 in each call.

Cost: a group of n units that hears those from s on takes 2 n (I + H - s) flops a row in each of its steps
forward, twice that backward, and nothing in the others but a copy.
"""

from cython cimport floating
from libc.math cimport isinf
from libc.string cimport memcpy, memset

from .dispatch cimport ACTIVATION_TANH, Clipped, Kernels, Step, kernels
from .float_state cimport enter, float_state, leave
from .memory cimport carve
from .plan cimport MAX_SHARES, all_clipped, clear_padding
from .threads cimport part, run_shares, threads_for

import numpy as np

cdef enum:
    CHUNK_ROWS = 256   # (step, row) pairs gathered at a time for the weights' gradients

cdef struct Work:
    const Kernels *kernels
    int item
    int shares
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t inputs
    Py_ssize_t units
    Py_ssize_t groups
    const Py_ssize_t *periods
    const Py_ssize_t *lengths
    const char *x
    const char *weight_ih
    const char *weight_hh
    const char *bias
    char *hidden
    const char *dy
    char *dh
    char *dx
    char *dgates
    char *dhidden
    double clip_step
    Clipped clipped[MAX_SHARES]
    Py_ssize_t *places      # (shares, B) active rows
    char *masked            # weight_hh (H, H) with zeros where a unit does not hear another
    char *packed            # of each group that a run may begin with, in turn: weights of x, of h, the bias
    Py_ssize_t size         # bytes from one of them to the next
    Py_ssize_t size_ih
    Py_ssize_t size_hh
    Py_ssize_t *chunk       # for the weights' gradients: places of rows, their dgates, x and h[t-1] packed
    char *gathered
    char *rows_x
    char *rows_h


cdef inline Py_ssize_t begin(const Work *w, Py_ssize_t group) noexcept nogil:
    """The first unit of a group; of the group after the last one, H."""
    return group * w.units // w.groups


cdef inline Py_ssize_t lines(Py_ssize_t size) noexcept nogil:
    """Bytes of whole cache lines."""
    return (size + 63) // 64 * 64


cdef inline Py_ssize_t group_of(const Work *w, Py_ssize_t unit) noexcept nogil:
    return ((unit + 1) * w.groups - 1) // w.units


cdef inline bint begins(const Work *w, Py_ssize_t group) noexcept nogil:
    """Whether a group may step while the one before it does not: then a run of groups may begin with it."""
    return group == 0 or w.periods[group] % w.periods[group - 1] != 0


cdef inline char *packed_from(const Work *w, Py_ssize_t group) noexcept nogil:
    """The panels of the units from a group's first one on."""
    cdef char *panels = w.packed
    cdef Py_ssize_t g
    for g in range(group):
        panels += w.size if begins(w, g) else 0
    return panels


cdef Py_ssize_t lay_out(Work *w, char *scratch, bint keeps_gates) noexcept nogil:
    """Carve the working memory from the scratch; returns the bytes it takes."""
    cdef const Kernels *k = w.kernels
    cdef char *space = scratch
    cdef Py_ssize_t largest = (w.units + w.groups - 1) // w.groups, H = w.units, inputs = w.inputs
    w.size_ih = lines(max(k.packed_size(inputs, H, 1), k.packed_size(H, inputs, 1)) * w.item)
    w.size_hh = lines(k.packed_size(H, H, 1) * w.item)
    w.size = w.size_ih + w.size_hh + lines(k.packed_size(1, H, 1) * w.item)
    w.places = <Py_ssize_t *>carve(&space, MAX_SHARES * w.rows * sizeof(Py_ssize_t))
    w.masked = carve(&space, H * H * w.item)
    w.packed = carve(&space, packed_from(w, w.groups) - w.packed)
    w.chunk = <Py_ssize_t *>carve(&space, CHUNK_ROWS * sizeof(Py_ssize_t))
    w.gathered = carve(&space, CHUNK_ROWS * largest * w.item)
    w.rows_x = carve(&space, k.packed_size(CHUNK_ROWS, inputs, 1) * w.item)
    w.rows_h = carve(&space, k.packed_size(CHUNK_ROWS, H, 1) * w.item)
    if keeps_gates:
        w.dgates = carve(&space, w.steps * w.rows * H * w.item)
    return space - scratch


def clockwork_scratch_size(
    Py_ssize_t steps, Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units,
    const Py_ssize_t[::1] periods, dtype
):
    """Entries of working memory for T steps, B rows, I inputs, H units in groups of these periods (G,)."""
    cdef Work w
    memset(&w, 0, sizeof(Work))
    w.steps, w.rows, w.inputs, w.units = steps, rows, inputs, units
    w.groups, w.periods = periods.shape[0], &periods[0]
    w.item = np.dtype(dtype).itemsize
    w.kernels = kernels(w.item == 8)
    return (lay_out(&w, NULL, True) + 64) // w.item + 1


cdef inline Py_ssize_t panel_width(const Work *w) noexcept nogil:
    """Columns of a panel."""
    return w.kernels.packed_size(1, 1, 1)


cdef inline Py_ssize_t listeners(const Work *w, Py_ssize_t unit) noexcept nogil:
    """The unit behind those that hear this one."""
    return begin(w, group_of(w, unit) + 1)


cdef void pack(Work *w, bint back) noexcept nogil:
    """The weights of runs of groups in panels, or those of their transposes.

    A panel of recurrent weights begins with the first unit that one of its own hears; of the transposes, it
    ends behind the last one that hears one of its own.
    """
    cdef Py_ssize_t g, p, s, u, n, first, H = w.units, inputs = w.inputs, width = panel_width(w)
    cdef char *panels
    cdef char *panel
    for u in range(H):
        s = begin(w, group_of(w, u))
        memset(w.masked + u * H * w.item, 0, s * w.item)
        memcpy(w.masked + (u * H + s) * w.item, w.weight_hh + (u * H + s) * w.item, (H - s) * w.item)
    for g in range(w.groups):
        if not begins(w, g):
            continue
        s, panels = begin(w, g), packed_from(w, g)
        panel = panels + w.size_ih
        if back:
            w.kernels.pack(w.weight_ih + s * inputs * w.item, H - s, inputs, 1, 0, 1, inputs, 0, 1, panels)
        else:
            w.kernels.pack(w.weight_ih + s * inputs * w.item, inputs, H - s, 1, 0, inputs, 1, 0, 1, panels)
            w.kernels.pack(w.bias + s * w.item, 1, H - s, 1, 0, 1, 0, 0, 1, panel + w.size_hh)
        for p in range((H - s + width - 1) // width):
            u = s + p * width
            n = min(width, H - u)
            if back:
                first = listeners(w, u + n - 1)
                w.kernels.pack(w.masked + (s * H + u) * w.item, first - s, n, 1, 0, 1, H, 0, 1, panel)
                panel += width * (first - s) * w.item
            else:
                first = begin(w, group_of(w, u))
                w.kernels.pack(w.masked + (u * H + first) * w.item, H - first, n, 1, 0, H, 1, 0, 1, panel)
                panel += width * (H - first) * w.item


cdef inline Py_ssize_t active(const Work *w, int share, Py_ssize_t t, Py_ssize_t *rows) noexcept nogil:
    """The rows of a share that have a step t; returns how many."""
    cdef Py_ssize_t b, n = 0
    for b in range(part(w.rows, share, w.shares, 1), part(w.rows, share + 1, w.shares, 1)):
        if w.lengths == NULL or w.lengths[b] > t:
            rows[n] = b
            n += 1
    return n


cdef inline Py_ssize_t run_end(const Work *w, Py_ssize_t t, Py_ssize_t group) noexcept nogil:
    """The group behind those from here on that all step at t, or all do not."""
    cdef bint steps = t % w.periods[group] == 0
    group += 1
    while group < w.groups and (t % w.periods[group] == 0) == steps:
        group += 1
    return group


cdef void sums(
    const Work *w, Py_ssize_t group, Py_ssize_t stop, Py_ssize_t n, const Py_ssize_t *rows, Py_ssize_t t,
    const char *before, char *after,
) noexcept nogil:
    """after = W_ih x[t] + W_hh before + b for the units from a group's first one up to stop, panel by panel
    (n, I)(I, units), (n, H)(H, units)"""
    cdef const char *panel_ih = packed_from(w, group)
    cdef const char *panel_hh = panel_ih + w.size_ih
    cdef const char *bias = panel_hh + w.size_hh
    cdef Py_ssize_t u = begin(w, group), H = w.units, inputs = w.inputs, width = panel_width(w), first, units
    while u < stop:
        first, units = begin(w, group_of(w, u)), min(width, stop - u)
        w.kernels.multiply(
            n, w.x + t * w.rows * inputs * w.item, rows, inputs, inputs, panel_ih, units, 1, bias, False,
            after + u * w.item, rows, H, units,
        )
        w.kernels.multiply(
            n, before + first * w.item, rows, H, H - first, panel_hh, units, 1, NULL, True,
            after + u * w.item, rows, H, units,
        )
        panel_ih, bias = panel_ih + width * inputs * w.item, bias + width * w.item
        panel_hh += width * (H - first) * w.item
        u += width


cdef void carry(
    const Work *w, Py_ssize_t group, Py_ssize_t stop, Py_ssize_t n, const Py_ssize_t *rows,
    const char *dgates, char *dx,
) noexcept nogil:
    """dh += dgates @ W_hh, dx += dgates @ W_ih (NULL for none) for the units from a group's first up to stop
    (n, units)(units, H), (n, units)(units, I)"""
    cdef const char *panel = packed_from(w, group)
    cdef Py_ssize_t s = begin(w, group), H = w.units, inputs = w.inputs, width = panel_width(w)
    cdef Py_ssize_t p, u, columns, heard_by
    for p in range(0 if dx == NULL else (inputs + width - 1) // width):
        u = p * width
        columns = min(width, inputs - u)
        w.kernels.multiply(
            n, dgates + s * w.item, rows, H, stop - s, panel + u * (H - s) * w.item, columns, 1, NULL, True,
            dx + u * w.item, rows, inputs, columns,
        )
    panel += w.size_ih
    for p in range((H - s + width - 1) // width):
        u = s + p * width
        columns = min(width, H - u)
        heard_by = listeners(w, u + columns - 1) - s
        w.kernels.multiply(
            n, dgates + s * w.item, rows, H, min(heard_by, stop - s), panel, columns, 1, NULL, True,
            w.dh + u * w.item, rows, H, columns,
        )
        panel += width * heard_by * w.item


cdef void forward_share(void *job, int k) noexcept nogil:
    """The whole sequence for the rows of one share."""
    cdef const Work *w = <const Work *>job
    cdef Py_ssize_t *rows = w.places + k * w.rows
    cdef Py_ssize_t t, i, n, s, at, units, first, end, H = w.units, states = w.rows * w.units * w.item
    cdef const char *before
    cdef char *after
    for t in range(w.steps):
        n = active(w, k, t, rows)
        before, after = w.hidden + t * states, w.hidden + (t + 1) * states
        end = 0
        while end < w.groups:
            first, end = end, run_end(w, t, end)
            s, units = begin(w, first), begin(w, end) - begin(w, first)
            if t % w.periods[first]:
                for i in range(n):
                    at = (rows[i] * H + s) * w.item
                    memcpy(after + at, before + at, units * w.item)
            else:
                sums(w, first, s + units, n, rows, t, before, after)
                for i in range(n):
                    at = (rows[i] * H + s) * w.item
                    w.kernels.tanh(after + at, after + at, units)
    clear_padding(w.lengths, w.steps, w.rows, w.hidden + states, H * w.item, k, w.shares)


cdef void cells(const Work *w, Py_ssize_t t, Py_ssize_t n, const Py_ssize_t *rows, Step *step) noexcept nogil:
    """dh + dy becomes the gradient of the sums of groups that step; else it stays, for the state before."""
    cdef Py_ssize_t i, j, row, first, end, s, units, H = w.units, states = w.rows * w.units * w.item
    cdef Py_ssize_t at = t * states
    cdef char *used_up
    step.dy, step.h = w.dy + at, w.hidden + at + states
    i = 0
    while i < n:  # rows that lie one after the other are compact where they stand
        j = i + 1
        while j < n and rows[j] == rows[j - 1] + 1:
            j += 1
        row = rows[i] * H * w.item
        step.n, step.rows, step.dgates = j - i, rows + i, w.dgates + at + row
        w.kernels.elman_backward(step)
        w.kernels.add_rows(1, w.dy + at + row, step.n * H, step.n * H, w.dh + row)
        if w.dhidden != NULL:
            memcpy(w.dhidden + states + at + row, w.dh + row, step.n * H * w.item)
        i = j
    end = 0
    while end < w.groups:
        first, end = end, run_end(w, t, end)
        s, units = begin(w, first), begin(w, end) - begin(w, first)
        used_up = w.dh if t % w.periods[first] == 0 else w.dgates + at
        for i in range(n):
            memset(used_up + (rows[i] * H + s) * w.item, 0, units * w.item)
    step.n, step.rows = n, rows


cdef void backward_share(void *job, int k) noexcept nogil:
    """BPTT for the rows of one share, and their dx."""
    cdef Work *w = <Work *>job
    cdef Py_ssize_t *rows = w.places + k * w.rows
    cdef Py_ssize_t t, i, n, first, end, H = w.units, inputs = w.inputs
    cdef char *dgates
    cdef char *dx = NULL
    cdef Step step
    memset(&step, 0, sizeof(Step))
    step.units, step.dh, step.activation = H, w.dh, ACTIVATION_TANH
    for t in range(w.steps - 1, -1, -1):
        n = active(w, k, t, rows)
        dgates = w.dgates + t * w.rows * H * w.item
        if w.dx != NULL:
            dx = w.dx + t * w.rows * inputs * w.item
            for i in range(n):
                memset(dx + rows[i] * inputs * w.item, 0, inputs * w.item)
        cells(w, t, n, rows, &step)
        end = 0
        while end < w.groups:
            first, end = end, run_end(w, t, end)
            if t % w.periods[first] == 0:
                carry(w, first, begin(w, end), n, rows, dgates, dx)
        if not isinf(w.clip_step):
            w.kernels.clip_rows(&step, w.clip_step, &w.clipped[k])
    clear_padding(w.lengths, w.steps, w.rows, w.dx, inputs * w.item, k, w.shares)
    clear_padding(w.lengths, w.steps, w.rows, w.dgates, H * w.item, k, w.shares)
    if w.dhidden != NULL:
        clear_padding(w.lengths, w.steps, w.rows, w.dhidden + w.rows * H * w.item, H * w.item, k, w.shares)


cdef Py_ssize_t gather(
    const Work *w, Py_ssize_t period, Py_ssize_t *t, Py_ssize_t *row
) noexcept nogil:
    """The places t * B + b of the next rows, up to CHUNK_ROWS, every period-th step; returns how many."""
    cdef Py_ssize_t n = 0
    while t[0] < w.steps and n < CHUNK_ROWS:
        if w.lengths == NULL or w.lengths[row[0]] > t[0]:
            w.chunk[n] = t[0] * w.rows + row[0]
            n += 1
        row[0] += 1
        if row[0] == w.rows:
            row[0] = 0
            t[0] += period
    return n


cdef void add_weights(
    const Work *w, Py_ssize_t group, char *dweight_ih, char *dweight_hh, char *dbias
) noexcept nogil:
    """Add a group's gradients: dW_ih += dgates' x, dW_hh += dgates' h[t-1], over its (step, row) pairs."""
    cdef Py_ssize_t s = begin(w, group), units = begin(w, group + 1) - s, H = w.units, inputs = w.inputs
    cdef Py_ssize_t t = 0, row = 0, n, i
    while True:
        n = gather(w, w.periods[group], &t, &row)
        if n == 0:
            return
        for i in range(n):
            memcpy(
                w.gathered + i * units * w.item, w.dgates + (w.chunk[i] * H + s) * w.item, units * w.item
            )
        w.kernels.pack_rows(w.x, inputs, w.chunk, n, inputs, 0, 1, w.rows_x)
        w.kernels.pack_rows(w.hidden + s * w.item, H, w.chunk, n, H - s, 0, 1, w.rows_h)
        w.kernels.accumulate_outer(
            n, w.gathered, units, 0, units, w.rows_x, inputs, dweight_ih + s * inputs * w.item, inputs,
            w.rows_h, H - s, dweight_hh + (s * H + s) * w.item, H,
        )
        w.kernels.add_rows(n, w.gathered, units, units, dbias + s * w.item)


cdef Work start(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const Py_ssize_t[::1] periods,
    floating[:, :, ::1] hidden,
):
    """What both directions have in common; the rest is zero."""
    cdef Work w
    memset(&w, 0, sizeof(Work))
    w.kernels, w.item = kernels(sizeof(floating) == sizeof(double)), sizeof(floating)
    w.steps, w.rows, w.inputs, w.units = x.shape[0], x.shape[1], x.shape[2], weight_hh.shape[1]
    w.groups, w.periods = periods.shape[0], &periods[0]
    if lengths is not None:
        w.lengths = &lengths[0]
    w.x, w.hidden = <const char *>&x[0, 0, 0], <char *>&hidden[0, 0, 0]
    w.weight_ih, w.weight_hh = <const char *>&weight_ih[0, 0], <const char *>&weight_hh[0, 0]
    return w


cdef void choose_shares(Work *w) noexcept nogil:
    cdef Py_ssize_t heard = w.inputs + w.units // 2
    w.shares = <int>min(threads_for(2.0 * w.steps * w.rows * w.units * heard / w.groups), w.rows)


def clockwork_forward(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] bias,
    const Py_ssize_t[::1] periods,
    floating[:, :, ::1] hidden,
    floating[::1] scratch,
):
    """x (T, B, I), periods (G,) -> hidden (1+T, B, H), whose row 0 holds the initial state; padding becomes
    0."""
    cdef Work w = start(x, lengths, weight_ih, weight_hh, periods, hidden)
    cdef float_state before
    w.bias = <const char *>&bias[0]
    lay_out(&w, <char *>&scratch[0], False)
    with nogil:
        before = enter()
        choose_shares(&w)
        pack(&w, False)
        run_shares(w.shares, forward_share, &w)
        leave(before)


def clockwork_backward(
    const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const Py_ssize_t[::1] periods,
    double clip_step,
    floating[:, :, ::1] hidden,
    floating[:, ::1] dh,
    floating[:, :, ::1] dx,
    floating[:, ::1] dweight_ih,
    floating[:, ::1] dweight_hh,
    floating[::1] dbias,
    floating[::1] scratch,
    floating[:, :, ::1] dhidden=None,
    floating[:, :, ::1] dgates=None,
    floating[:, :, ::1] drecurrent=None,
):
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dbias.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of the sums, 0 where a group does not step.
    """
    cdef Work w = start(x, lengths, weight_ih, weight_hh, periods, hidden)
    cdef Clipped clipped
    cdef Py_ssize_t g
    cdef char *dweights = <char *>&dweight_ih[0, 0]
    cdef char *drecurrents = <char *>&dweight_hh[0, 0]
    cdef char *dbiases = <char *>&dbias[0]
    cdef float_state before
    w.clip_step = clip_step
    w.dy, w.dh = <const char *>&dy[0, 0, 0], <char *>&dh[0, 0]
    w.dx = NULL if dx is None else <char *>&dx[0, 0, 0]
    lay_out(&w, <char *>&scratch[0], dgates is None)
    if dgates is not None:
        w.dgates = <char *>&dgates[0, 0, 0]
    if dhidden is not None:
        w.dhidden = <char *>&dhidden[0, 0, 0]
    with nogil:
        before = enter()
        choose_shares(&w)
        pack(&w, True)
        run_shares(w.shares, backward_share, &w)
        for g in range(w.groups):
            add_weights(&w, g, dweights, drecurrents, dbiases)
        if drecurrent is not None:
            memcpy(&drecurrent[0, 0, 0], w.dgates, w.steps * w.rows * w.units * w.item)
        clipped = all_clipped(w.clipped, w.shares)
        leave(before)
    return clipped.times, clipped.factors
