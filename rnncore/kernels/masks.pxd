"""What masks do to a step: entries of h[t-1] dropped where it enters the product, states kept from before.

Recurrent dropout (Gal & Ghahramani, 2016): the product takes drop * h[t-1]. Zoneout (Krueger et al., 2017): a
state becomes keep * proposed + (1 - keep) * state before, where the cell has made the proposal. Both work on
rows before and after a cell's own functions, which know nothing of them. Cost: some 10 flops an entry.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from .dispatch cimport Kernels, Step, kernels

# All as bytes; NULL without recurrent dropout, or without zoneout.
cdef struct Masks:
    const Kernels *kernels
    int item                  # bytes of a number
    const char *drop          # (B, H) factors
    char *entering            # (T, B, H) drop * h[t-1], written forward
    const char *keep_h        # (T, B, H), or (1, B, H) with a stride of 0
    const char *keep_c
    char *proposed_h          # (T, B, H), written forward
    char *proposed_c
    Py_ssize_t stride         # bytes from a step's keep to the next one's
    char *product             # (B, H) each, working memory on the way back
    char *dproposed
    char *past_h
    char *past_c


cdef inline void point_masked(
    const Masks *m, Py_ssize_t t, Py_ssize_t states, bint two, Step *step
) noexcept nogil:
    """Have the step take and leave at step t what the masks stand between; a state is ``states`` bytes."""
    if m.drop != NULL:
        step.entering = m.entering + t * states
    if m.keep_h != NULL:
        step.h = m.proposed_h + t * states
        if two:
            step.c = m.proposed_c + t * states


cdef inline void enter_product(const Masks *m, const Step *step) noexcept nogil:
    """entering = drop * h[t-1], of the active rows."""
    cdef const char *h = <const char *>step.h_prev
    cdef Py_ssize_t i, row
    for i in range(step.n):
        row = step.rows[i] * step.units * m.item
        m.kernels.times(m.drop + row, h + row, <char *>step.entering + row, step.units, False)


cdef inline void settle(
    const Masks *m, const Step *step, Py_ssize_t t, Py_ssize_t states, char *hidden, char *cells
) noexcept nogil:
    """Row t + 1 of hidden and cells (1+T, B, H) becomes what the cell proposed, or what row t is."""
    cdef Py_ssize_t i, row, at, before, n = step.units
    for i in range(step.n):
        row = step.rows[i] * n * m.item
        at, before = t * m.stride + row, t * states + row
        m.kernels.blend(m.keep_h + at, <char *>step.h + row, hidden + before, hidden + before + states, n)
        if m.keep_c != NULL:
            m.kernels.blend(m.keep_c + at, <char *>step.c + row, cells + before, cells + before + states, n)


cdef inline void unsettle(const Masks *m, Step *step, Py_ssize_t t) noexcept nogil:
    """The other way: what dy, dh and dc become of the proposals stays there, the rest waits in past."""
    cdef Py_ssize_t i, row, at, n = step.units, width = n * m.item
    cdef char *dh
    cdef char *dc
    for i in range(step.n):
        row = step.rows[i] * width
        at = t * m.stride + row
        dh = <char *>step.dh + row
        m.kernels.add_rows(1, <const char *>step.dy + row, n, n, dh)
        m.kernels.split(m.keep_h + at, dh, m.dproposed + row, m.past_h + row, n)
        memset(dh, 0, width)
        if m.keep_c != NULL:
            dc = <char *>step.dc + row
            if step.dcells != NULL:
                memcpy(<char *>step.dcells + row, dc, width)
            m.kernels.split(m.keep_c + at, dc, dc, m.past_c + row, n)
    step.dy = m.dproposed
    if m.keep_c != NULL:
        step.dcells = NULL


cdef inline void leave_product(const Masks *m, const Step *step, bint add) noexcept nogil:
    """dh = drop * product, or += with ``add``."""
    cdef Py_ssize_t i, row
    for i in range(step.n):
        row = step.rows[i] * step.units * m.item
        m.kernels.times(m.drop + row, m.product + row, <char *>step.dh + row, step.units, add)


cdef inline void rejoin(const Masks *m, const Step *step) noexcept nogil:
    """The states before also get what was passed by."""
    cdef Py_ssize_t i, row, n = step.units
    for i in range(step.n):
        row = step.rows[i] * n * m.item
        m.kernels.add_rows(1, m.past_h + row, n, n, <char *>step.dh + row)
        if m.keep_c != NULL:
            m.kernels.add_rows(1, m.past_c + row, n, n, <char *>step.dc + row)


cdef inline int take_masks(Masks *m, object masks, floating[:, :, ::1] hidden) except -1:
    """Point to the arrays of a ``Masks`` of the layers, or of None; hidden (1+T, B, H) tells their type."""
    cdef floating[:, ::1] drop
    cdef floating[:, :, ::1] array
    cdef Py_ssize_t states
    memset(m, 0, sizeof(Masks))
    if masks is None:
        return 0
    m.kernels, m.item = kernels(floating is double), sizeof(floating)
    array = masks.work
    states = array.shape[1] * array.shape[2] * <Py_ssize_t>sizeof(floating)
    m.product = <char *>&array[0, 0, 0]
    m.dproposed, m.past_h, m.past_c = m.product + states, m.product + 2 * states, m.product + 3 * states
    if masks.drop is not None:
        drop, array = masks.drop, masks.entering
        m.drop, m.entering = <const char *>&drop[0, 0], <char *>&array[0, 0, 0]
    if masks.keep:
        array = masks.keep[0]
        m.keep_h = <const char *>&array[0, 0, 0]
        m.stride = 0 if array.shape[0] == 1 else states
        array = masks.proposed[0]
        m.proposed_h = <char *>&array[0, 0, 0]
    if len(masks.keep) > 1:
        array = masks.keep[1]
        m.keep_c = <const char *>&array[0, 0, 0]
        array = masks.proposed[1]
        m.proposed_c = <char *>&array[0, 0, 0]
    return 0
