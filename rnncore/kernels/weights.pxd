"""What the weights get: a chunk's gradients, summed over its rows of (step, sequence) pairs.

Products (G*H, rows)(rows, I or H) on packed panels, split among the threads by the weights' rows; by BLAS
where the tiles are slower. Cost: 2 G H (I + H) flops a row; the weights' gradients are read and written once
a chunk.
"""

from libc.string cimport memcpy

from .blas cimport gemm
from .memory cimport carve
from .plan cimport OWN_ARRAYS, Sequence, Work
from .threads cimport part, run_shares


cdef inline const char *past(const Sequence *s, Py_ssize_t lag) noexcept nogil:
    """h[t-lag] at every step, (T, B, H)."""
    return s.hidden + (1 - lag) * s.rows * s.units * s.item


cdef inline const char *entering(const Sequence *s) noexcept nogil:
    """h[t-lag] at every step as the product takes it, (T, B, H)."""
    return past(s, s.lag) if s.masks.drop == NULL else s.masks.entering


cdef inline void pack_share(void *job, int k) noexcept nogil:
    """Pack one share of the panels of x and of h[t-1], the right-hand sides of the weight gradients."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t total = w.base[w.shares]
    s.kernels.pack_rows(s.x, s.inputs, w.places, total, s.inputs, k, w.threads, w.rows_x)
    s.kernels.pack_rows(entering(s), s.units, w.places, total, s.units, k, w.threads, w.rows_h)
    if s.reset_before:
        s.kernels.pack_rows(s.candidates, s.units, w.places, total, s.units, k, w.threads, w.rows_reset)


cdef inline void pack_skip_rows(void *job, int k) noexcept nogil:
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    s.kernels.pack_rows(
        past(s, s.lags[w.at_lag]), s.units, w.places, w.base[w.shares], s.units, k, w.threads, w.rows_skip
    )


cdef inline void skip_share(void *job, int k) noexcept nogil:
    """dweight_skip[d] += drecurrent' h[t-d] for one delay, one share of its rows   (H, rows)(rows, H)"""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t grain = s.kernels.block_rows
    s.kernels.accumulate_outer(
        w.base[w.shares], w.drecurrent, s.units, part(s.units, k, w.threads, grain),
        part(s.units, k + 1, w.threads, grain), w.rows_skip, s.units,
        s.dweight_skip + w.at_lag * s.units * s.units * s.item, s.units, NULL, 0, NULL, 0,
    )


cdef inline void weights_share(void *job, int k) noexcept nogil:
    """Add a chunk's gradients into one share of the weights' rows.

    dweight_ih += dgates' x; dweight_hh += drecurrent' h[t-1]   (G*H, rows)(rows, I or H);
    dbias += sums of dgates
    """
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units, grain = s.kernels.block_rows, total = w.base[w.shares]
    cdef Py_ssize_t first = part(gate_rows, k, w.threads, grain)
    cdef Py_ssize_t last = part(gate_rows, k + 1, w.threads, grain)
    cdef Py_ssize_t split = min(max(first, w.joint), last)
    if s.two_products or s.reset_before:
        s.kernels.accumulate_outer(
            total, w.dgates, gate_rows, first, last, w.rows_x, s.inputs, s.dweight_ih, s.inputs,
            NULL, 0, NULL, 0,
        )
        s.kernels.accumulate_outer(
            total, w.drecurrent, gate_rows, first, split, w.rows_h, s.units, s.dweight_hh, s.units,
            NULL, 0, NULL, 0,
        )
        s.kernels.accumulate_outer(
            total, w.drecurrent, gate_rows, split, last, w.rows_reset, s.units, s.dweight_hh, s.units,
            NULL, 0, NULL, 0,
        )
    else:
        s.kernels.accumulate_outer(
            total, w.dgates, gate_rows, first, last,
            w.rows_x, s.inputs, s.dweight_ih, s.inputs, w.rows_h, s.units, s.dweight_hh, s.units,
        )
    add_vectors(s, w, first, last)


cdef inline const char *made_cells(const Sequence *s) noexcept nogil:
    """c[t] as the cell made it, at every step, (T, B, H)."""
    if s.masks.keep_c != NULL:
        return s.masks.proposed_c
    return NULL if s.cells == NULL else s.cells + s.rows * s.units * s.item


cdef inline void add_peephole(
    const Sequence *s, const Work *w, Py_ssize_t first, Py_ssize_t last,
    int gate, const char *cells, char *sums,
) noexcept nogil:
    """sums += sums of dgates c over the rows, for the part of one gate that lies in first ... last - 1."""
    cdef Py_ssize_t before = gate * s.units
    first, last = max(first, before), min(last, before + s.units)
    if sums != NULL and first < last:
        s.kernels.add_products(
            w.base[w.shares], w.dgates + first * s.item, s.gates * s.units,
            cells + (first - before) * s.item, w.places, s.units,
            last - first, sums + (first - before) * s.item,
        )


cdef inline void add_vectors(
    const Sequence *s, const Work *w, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """Add a chunk's gradients of biases, peepholes and leaks, for the gate rows first ... last - 1."""
    cdef Py_ssize_t gate_rows = s.gates * s.units, total = w.base[w.shares], candidate = gate_rows - s.units
    s.kernels.add_rows(total, w.dgates + first * s.item, gate_rows, last - first, s.dbias + first * s.item)
    if s.dleak != NULL:
        s.kernels.add_rows(total, w.dleak + first * s.item, s.units, last - first, s.dleak + first * s.item)
    add_peephole(s, w, first, last, 0, s.cells, s.dweight_ci)
    add_peephole(s, w, first, last, 1, s.cells, s.dweight_cf)
    add_peephole(s, w, first, last, s.gates - 1, made_cells(s), s.dweight_co)
    if s.dbias_hn != NULL and last > candidate:
        first = max(first, candidate)
        s.kernels.add_rows(
            total, w.drecurrent + first * s.item, gate_rows, last - first,
            s.dbias_hn + (first - candidate) * s.item,
        )


cdef inline void gather(
    const Sequence *s, const Work *w, const char *rows, Py_ssize_t width, char *gathered
) noexcept nogil:
    """The rows (N, width) at the chunk's places, one after the other."""
    cdef Py_ssize_t i, size = width * s.item
    for i in range(w.base[w.shares]):
        memcpy(gathered + i * size, rows + w.places[i] * size, size)


cdef inline void blas_weights(const Sequence *s, const Work *w) noexcept nogil:
    """A chunk's weight gradients by BLAS, on rows gathered in the order of the gate gradients."""
    cdef Py_ssize_t gate_rows = s.gates * s.units, total = w.base[w.shares], k
    cdef Py_ssize_t reset_rows = gate_rows - w.joint
    gather(s, w, s.x, s.inputs, w.rows_x)
    gather(s, w, entering(s), s.units, w.rows_h)
    # dweight_ih += dgates' x   (G*H, rows)(rows, I); dweight_hh += drecurrent' h[t-1]   (G*H, rows)(rows, H)
    gemm(
        s.item, True, gate_rows, s.inputs, total, w.dgates, gate_rows, w.rows_x, s.inputs,
        s.dweight_ih, s.inputs,
    )
    gemm(
        s.item, True, w.joint, s.units, total, w.drecurrent, gate_rows, w.rows_h, s.units,
        s.dweight_hh, s.units,
    )
    if s.reset_before:
        gather(s, w, s.candidates, s.units, w.rows_reset)
        gemm(
            s.item, True, reset_rows, s.units, total, w.drecurrent + w.joint * s.item, gate_rows,
            w.rows_reset, s.units, s.dweight_hh + w.joint * s.units * s.item, s.units,
        )
    for k in range(s.further):
        gather(s, w, past(s, s.lags[k]), s.units, w.rows_skip)
        gemm(
            s.item, True, s.units, s.units, total, w.drecurrent, s.units, w.rows_skip, s.units,
            s.dweight_skip + k * s.units * s.units * s.item, s.units,
        )
    add_vectors(s, w, 0, gate_rows)


cdef inline void add_weight_gradients(Work *w) noexcept nogil:
    """Add a chunk's gradients into those of weights and biases."""
    cdef const Sequence *s = w.sequence
    if s.kernels.blas:
        blas_weights(s, w)
        return
    run_shares(w.threads, pack_share, w)
    run_shares(w.threads, weights_share, w)
    for w.at_lag in range(s.further):
        run_shares(w.threads, pack_skip_rows, w)
        run_shares(w.threads, skip_share, w)


cdef inline void fields(Sequence *s, char ***places, Py_ssize_t *sizes) noexcept nogil:
    """Where gradients go, OWN_ARRAYS of them, and how many numbers each has."""
    cdef Py_ssize_t H = s.units, gate_rows = s.gates * H
    places[0], sizes[0] = &s.dweight_ih, gate_rows * s.inputs
    places[1], sizes[1] = &s.dweight_hh, gate_rows * H
    places[2], sizes[2] = &s.dbias, gate_rows
    places[3], sizes[3] = &s.dbias_hn, H
    places[4], sizes[4] = &s.dweight_ci, H
    places[5], sizes[5] = &s.dweight_cf, H
    places[6], sizes[6] = &s.dweight_co, H
    places[7], sizes[7] = &s.dleak, H
    places[8], sizes[8] = &s.dweight_skip, s.further * H * H


cdef inline void place_own(Sequence *s, char *own) noexcept nogil:
    """Have gradients summed up in a share's own set."""
    cdef char **places[OWN_ARRAYS]
    cdef Py_ssize_t sizes[OWN_ARRAYS]
    cdef int i
    fields(s, places, sizes)
    for i in range(OWN_ARRAYS):
        if places[i][0] != NULL:
            places[i][0] = carve(&own, sizes[i] * s.item)


cdef inline void add_own(const Work *w) noexcept nogil:
    """Add up the shares' own gradients, one after the other."""
    cdef Sequence own, all = w.sequence[0]
    cdef char **sources[OWN_ARRAYS]
    cdef char **targets[OWN_ARRAYS]
    cdef Py_ssize_t sizes[OWN_ARRAYS]
    cdef int i, k
    fields(&all, targets, sizes)
    for k in range(1, w.shares):
        own = all
        place_own(&own, w.own + (k - 1) * w.own_size)
        fields(&own, sources, sizes)
        for i in range(OWN_ARRAYS):
            if targets[i][0] != NULL:
                all.kernels.add_rows(1, sources[i][0], sizes[i], sizes[i], targets[i][0])
