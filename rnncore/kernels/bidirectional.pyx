"""Reading rows backwards, each within its own length, and joining what two directions have read.

With n the length of row b (T without lengths), step t of the reversed row is step n - 1 - t of the row. Cost:
no flops but those of sums; every number is read and written once. Steps are shared out among the threads.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from .dispatch cimport kernels
from .float_state cimport enter, float_state, leave
from .threads cimport part, run_shares, threads_for

cdef enum:
    FLOPS_A_NUMBER = 50    # moving a number takes about as long as so many flops in the tiles


cdef Move plan(
    Py_ssize_t steps, Py_ssize_t rows, Py_ssize_t features, int item, const Py_ssize_t[::1] lengths
):
    """What all moves of a call have in common; the rest is zero."""
    cdef Move m
    memset(&m, 0, sizeof(Move))
    m.kernels = kernels(item == sizeof(double))
    m.steps, m.rows, m.features, m.item = steps, rows, features, item
    if lengths is not None:
        m.lengths = &lengths[0]
    return m


cdef void move_share(void *job, int k) noexcept nogil:
    """The target's steps of one share."""
    cdef const Move *m = <const Move *>job
    cdef Py_ssize_t t, b, n
    cdef const char *source
    cdef char *target
    for t in range(part(m.steps, k, m.shares, 1), part(m.steps, k + 1, m.shares, 1)):
        for b in range(m.rows):
            # A tape's lengths may have changed: beyond T they count as T.
            n = m.steps if m.lengths == NULL else min(m.lengths[b], m.steps)
            target = m.target + (t * m.rows + b) * m.target_bytes
            if t >= n:
                if not m.add:
                    memset(target, 0, m.features * m.item)
                continue
            source = m.source + ((n - 1 - t if m.reverse else t) * m.rows + b) * m.source_bytes
            if m.add:
                m.kernels.add_rows(1, source, m.features, m.features, target)
            else:
                memcpy(target, source, m.features * m.item)


cdef void move(
    Move *m, const char *source, Py_ssize_t wide, char *target, Py_ssize_t target_wide
) noexcept nogil:
    """Move between rows of ``wide`` and ``target_wide`` numbers."""
    cdef float_state before = enter()
    cdef double flops = FLOPS_A_NUMBER * <double>(m.steps * m.rows * m.features)
    m.source, m.source_bytes = source, wide * m.item
    m.target, m.target_bytes = target, target_wide * m.item
    m.shares = <int>min(<Py_ssize_t>threads_for(flops), m.steps)
    run_shares(m.shares, move_share, m)
    leave(before)


def reverse_rows(
    const floating[:, :, ::1] x, const Py_ssize_t[::1] lengths, bint add, floating[:, :, ::1] reverse
):
    """reverse[t, b] = x[n-1-t, b], or += with ``add``; x and reverse (T, B, F). Padding becomes 0, or stays
    with ``add``; that of x is not read."""
    cdef Py_ssize_t features = x.shape[2]
    cdef Move m = plan(x.shape[0], x.shape[1], features, sizeof(floating), lengths)
    m.reverse, m.add = True, add
    with nogil:
        move(&m, <const char *>&x[0, 0, 0], features, <char *>&reverse[0, 0, 0], features)


def join_directions(
    const floating[:, :, ::1] forward,
    const floating[:, :, ::1] reverse,
    const Py_ssize_t[::1] lengths,
    floating[:, :, ::1] y,
):
    """y[t, b] = forward[t, b] and reverse[n-1-t, b] one behind the other where y is (T, B, 2H), their sum
    where it is (T, B, H); forward and reverse (T, B, H). Padding becomes 0 and is not read."""
    cdef Py_ssize_t units = forward.shape[2], wide = y.shape[2]
    cdef Move m = plan(y.shape[0], y.shape[1], units, sizeof(floating), lengths)
    with nogil:
        move(&m, <const char *>&forward[0, 0, 0], units, <char *>&y[0, 0, 0], wide)
        m.reverse, m.add = True, wide == units
        move(&m, <const char *>&reverse[0, 0, 0], units, <char *>(&y[0, 0, 0] + (wide - units)), wide)


def split_directions(
    const floating[:, :, ::1] dy,
    const Py_ssize_t[::1] lengths,
    floating[:, :, ::1] dforward,
    floating[:, :, ::1] dreverse,
):
    """dforward[t, b] = dy[t, b, :H]; dreverse[n-1-t, b] = dy[t, b, H:]; dy (T, B, 2H). Padding becomes 0 and
    is not read."""
    cdef Py_ssize_t units = dforward.shape[2]
    cdef Move m = plan(dy.shape[0], dy.shape[1], units, sizeof(floating), lengths)
    with nogil:
        move(&m, <const char *>&dy[0, 0, 0], 2 * units, <char *>&dforward[0, 0, 0], units)
        m.reverse = True
        move(&m, <const char *>(&dy[0, 0, 0] + units), 2 * units, <char *>&dreverse[0, 0, 0], units)
