"""A recurrent layer's products with weights that are not packed: all in a single step, weight_ih in a
single chunk. They are split among the threads by columns, so that each weight is read once."""

from libc.string cimport memset

from .dispatch cimport Product, Step
from .plan cimport Sequence, Work
from .threads cimport part

# What the threads do together for one share of the batch, where they split its units: w.unit_shares parts.
cdef struct Part:
    const Work *work
    const Step *step
    Py_ssize_t total              # compact rows of the share's chunk
    const Py_ssize_t *places      # (total,)
    const char *packed            # going back: recurrent weights, and where their product goes
    const char *weight            # the same as they are, if they are not packed
    char *target                  # (B, H)
    bint add


cdef inline Product rows_of(
    Py_ssize_t n, const void *a, const Py_ssize_t *places, Py_ssize_t lda, Py_ssize_t K
) noexcept nogil:
    """The left-hand side of a product; the rest is zero."""
    cdef Product q
    memset(&q, 0, sizeof(Product))
    q.n, q.a, q.places_a, q.lda, q.K, q.gates = n, a, places, lda, K, 1
    return q


cdef inline void project_unpacked(void *job, int k) noexcept nogil:
    """projected = x @ W_ih' + b for one part of the panels   (rows, I)(I, G*H)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t width = w.wide // w.panels, units = width // w.interleaved
    cdef Py_ssize_t first = part(w.panels, k, w.unit_shares, 1)
    cdef Py_ssize_t last = part(w.panels, k + 1, w.unit_shares, 1)
    cdef Product q = rows_of(p.total, s.x, p.places, s.inputs, s.inputs)
    q.weight, q.gates = s.weight_ih + first * units * s.inputs * s.item, w.interleaved
    q.units = min(last * units, w.columns) - first * units
    q.gate_stride, q.unit_stride, q.k_stride = s.units * s.inputs, s.inputs, 1
    q.start = w.packed_bias + first * width * s.item
    q.out, q.ldo = <char *>p.step.projected + first * width * s.item, w.wide
    q.columns = (last - first) * width
    q.room = w.packed_ih + first * width * s.inputs * s.item
    if first < last:
        s.kernels.multiply_unpacked(&q)


cdef inline void carry_unpacked(void *job, int k) noexcept nogil:
    """target[rows] = drecurrent @ W, or +=, one part of the units   (n, G*H)(G*H, H)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t grain = s.kernels.packed_size(1, 1, 1)
    cdef Py_ssize_t first = part(s.units, k, w.unit_shares, grain)
    cdef Py_ssize_t last = part(s.units, k + 1, w.unit_shares, grain)
    cdef Product q = rows_of(p.step.n, p.step.drecurrent, NULL, s.gates * s.units, w.joint)
    q.weight, q.units = p.weight + first * s.item, last - first
    q.unit_stride, q.k_stride = 1, s.units
    q.add, q.out, q.places_out = p.add, p.target + first * s.item, p.step.rows
    q.ldo, q.columns, q.room = s.units, last - first, <char *>p.packed + first * w.joint * s.item
    if first < last:
        s.kernels.multiply_unpacked(&q)


cdef inline void add_skip_unpacked(
    const Work *w, const Step *step, Py_ssize_t t, Py_ssize_t delay, char *room
) noexcept nogil:
    """projected += h[t-d] @ W_d' for one delay   (n, H)(H, H)"""
    cdef const Sequence *s = w.sequence
    cdef const char *h = s.hidden + (t + 1 - s.lags[delay]) * s.rows * s.units * s.item
    cdef Product q = rows_of(step.n, h, step.rows, s.units, s.units)
    q.weight, q.units = s.weight_skip + delay * s.units * s.units * s.item, s.units
    q.unit_stride, q.k_stride, q.add = s.units, 1, True
    q.out, q.ldo, q.columns, q.room = step.projected, w.wide, w.wide, room
    s.kernels.multiply_unpacked(&q)


cdef inline void input_gradient_unpacked(void *job, int k) noexcept nogil:
    """dx = dgates @ W_ih for one part of the inputs   (rows, G*H)(G*H, I)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units, at = p.places - w.places
    cdef Py_ssize_t grain = s.kernels.packed_size(1, 1, 1)
    cdef Py_ssize_t first = part(s.inputs, k, w.unit_shares, grain)
    cdef Py_ssize_t last = part(s.inputs, k + 1, w.unit_shares, grain)
    cdef Product q = rows_of(p.total, w.dgates + at * gate_rows * s.item, NULL, gate_rows, gate_rows)
    q.weight, q.units = s.weight_ih + first * s.item, last - first
    q.unit_stride, q.k_stride = 1, s.inputs
    q.out, q.places_out, q.ldo, q.columns = s.dx + first * s.item, p.places, s.inputs, last - first
    q.room = w.packed_ih + first * gate_rows * s.item
    if first < last:
        s.kernels.multiply_unpacked(&q)
