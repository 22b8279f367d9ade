"""What every cell's time loop shares: chunks of steps, active rows, packed weights, threads.

Steps are taken in chunks of about CHUNK_ROWS rows of (step, sequence) pairs. For a chunk the input
projection is one product, then come its time steps, which read it while it is in the cache; going back, a
chunk's gradients of the gates serve dx and the weights at once and are overwritten by the next chunk's. So
no array of the size of the tape is needed beside the tape.

The batch is split among the threads for a whole chunk, each with its own rows; rows are sorted by length,
so that the active ones come first. Cost: 2 T B G H (I + H) flops forward, twice that backward, over the
rows that have a step.
"""

from cython cimport floating
from libc.math cimport isinf
from libc.string cimport memset

from .dispatch cimport (
    ACTIVATION_IDENTITY,
    ACTIVATION_RELU,
    ACTIVATION_SIGMOID,
    ACTIVATION_TANH,
    Clipped,
    Kernels,
    Step,
    kernels,
)
from .float_state cimport enter, float_state, leave
from .masks cimport enter_product, leave_product, point_masked, rejoin, settle, unsettle
from .plan cimport (
    Sequence,
    Work,
    all_clipped,
    arrange,
    check_gates,
    clear_padding,
    count_rows,
    lay_out,
    lay_out_panels,
    length_of,
    own_lengths,
)
from .records cimport record_gates, record_hidden
from .threads cimport part, run_shares, threads_for
from .unpacked cimport (
    Part,
    add_skip_unpacked,
    carry_unpacked,
    input_gradient_unpacked,
    project_unpacked,
)
from .weights cimport add_own, add_weight_gradients, place_own

ctypedef void (*Task)(void *job, int share) noexcept nogil

cdef enum:
    TILE = 24             # rows in a part: whole tiles of any height

cdef dict ACTIVATIONS = {
    "tanh": ACTIVATION_TANH,
    "sigmoid": ACTIVATION_SIGMOID,
    "relu": ACTIVATION_RELU,
    "identity": ACTIVATION_IDENTITY,
}


cdef int activation_code(str name):
    return ACTIVATIONS[name]


cdef inline void point_at(const Sequence *s, Py_ssize_t t, Step *step) noexcept nogil:
    """Have the step read and write the tape at step t."""
    cdef Py_ssize_t states = s.rows * s.units * s.item
    step.h_prev = s.hidden + (t + 1 - s.lag) * states
    step.h = s.hidden + (t + 1) * states
    if s.cells != NULL:
        step.c_prev = s.cells + t * states
        step.c = s.cells + (t + 1) * states
    if s.gate_tape != NULL:
        step.gates = s.gate_tape + t * states * s.gates
    if s.candidates != NULL:
        step.candidates = s.candidates + t * states
    if s.noise != NULL:
        step.noise = s.noise + t * states
    point_masked(&s.masks, t, states, s.cells != NULL, step)


cdef inline Step new_step(const Sequence *s, const Work *w, const Py_ssize_t *rows) noexcept nogil:
    """What is the same at every step of a share."""
    cdef Step step
    memset(&step, 0, sizeof(Step))
    step.rows, step.units = rows, s.units
    step.gate_activation, step.activation = s.gate_activation, s.activation
    step.packed, step.packed_hn, step.bias_hn = w.packed_hh, w.packed_hn, s.bias_hn
    step.weight_ci, step.weight_cf, step.weight_co = s.weight_ci, s.weight_cf, s.weight_co
    step.leak, step.drop = s.leak, s.masks.drop
    if w.unpacked_hh:
        step.weight, step.room = s.weight_hh, w.packed_hh
    return step


cdef void project(void *job, int k) noexcept nogil:
    """projected = x @ W_ih' + b for one part of the panels   (rows, I)(I, G*H)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t width = w.wide // w.panels, units = width // w.interleaved
    cdef Py_ssize_t first = part(w.panels, k, w.unit_shares, 1)
    cdef Py_ssize_t last = part(w.panels, k + 1, w.unit_shares, 1)
    if w.narrow:
        if first < last:
            s.kernels.multiply_narrow(
                p.total, s.x, p.places, s.inputs, s.inputs, w.packed_ih, w.columns, w.interleaved,
                w.packed_bias, p.step.projected,
            )
        return
    s.kernels.multiply(
        p.total, s.x, p.places, s.inputs, s.inputs, w.packed_ih + first * width * s.inputs * s.item,
        min(last * units, w.columns) - first * units, w.interleaved,
        w.packed_bias + first * width * s.item, 0,
        <char *>p.step.projected + first * width * s.item, NULL, w.wide, (last - first) * width,
    )


cdef void step_units(void *job, int k) noexcept nogil:
    """The step for one part of the panels of units."""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef Step step = p.step[0]
    step.first_panel = part(p.work.panels, k, p.work.unit_shares, 1)
    step.last_panel = part(p.work.panels, k + 1, p.work.unit_shares, 1)
    step.room = <char *>step.room + step.first_panel * w.wide // w.panels * w.sequence.units * w.sequence.item
    p.work.sequence.forward(&step)


cdef void carry_units(void *job, int k) noexcept nogil:
    """target[rows] = drecurrent @ W, or +=, one part of the units   (n, G*H)(G*H, H)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t grain = s.kernels.packed_size(1, 1, 1), columns, unit
    cdef Py_ssize_t first = part(s.units, k, w.unit_shares, grain)
    cdef Py_ssize_t last = part(s.units, k + 1, w.unit_shares, grain)
    cdef Py_ssize_t panels = (last - first + grain - 1) // grain, done
    for done in range(panels):
        unit = first + grain * (panels - 1 - done if p.step.turned else done)
        columns = min(grain, last - unit)
        s.kernels.multiply(
            p.step.n, p.step.drecurrent, NULL, s.gates * s.units, w.joint, p.packed + unit * w.joint * s.item,
            columns, 1, NULL, p.add, p.target + unit * s.item, p.step.rows, s.units, columns,
        )


cdef inline char *slot(const Sequence *s, Py_ssize_t t) noexcept nogil:
    """Where dh[t] is gathered, (B, H), for t from -depth on."""
    return s.dh + (t + s.depth) % s.depth * s.rows * s.units * s.item


cdef void carry(Part *p, Py_ssize_t t) noexcept nogil:
    """Hand the gradient of step t on to h[t-lag], on top of what the cell left there, and to h[t-d].

    With a mask on h[t-1] the product has a place of its own. The longest delay's slot is that of step t,
    whose gradient is used up.
    """
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t k, size = s.kernels.packed_size(s.units, s.units, 1) * s.item
    cdef Task task = carry_units
    p.packed, p.target, p.add = w.packed_hh, slot(s, t - s.lag), s.leaves_dh or s.lag < s.depth
    if w.unpacked_hh:
        p.weight, task = s.weight_hh, carry_unpacked
    if s.masks.drop != NULL:
        p.target, p.add = s.masks.product, False
    run_shares(w.unit_shares, task, p)
    for k in range(s.further):
        p.packed, p.target = w.packed_skip + k * size, slot(s, t - s.lags[k])
        if w.unpacked_hh:
            p.weight = s.weight_skip + k * s.units * s.units * s.item
        p.add = s.lags[k] < s.depth
        run_shares(w.unit_shares, task, p)


cdef void add_skips(const Work *w, const Step *step, Py_ssize_t t) noexcept nogil:
    """projected += h[t-d] @ W_d' for the delays beside lag   (n, H)(H, H)"""
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t k, size = s.kernels.packed_size(s.units, s.units, 1) * s.item
    for k in range(s.further):
        if w.unpacked_hh:
            add_skip_unpacked(w, step, t, k, w.packed_skip + k * size)
            continue
        s.kernels.multiply(
            step.n, s.hidden + (t + 1 - s.lags[k]) * s.rows * s.units * s.item, step.rows, s.units, s.units,
            w.packed_skip + k * size, s.units, 1, NULL, True, step.projected, NULL, w.wide, w.wide,
        )


cdef void input_gradient(void *job, int k) noexcept nogil:
    """dx = dgates @ W_ih for one part of the inputs, or of many rows   (rows, G*H)(G*H, I)"""
    cdef const Part *p = <const Part *>job
    cdef const Work *w = p.work
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units, at = p.places - w.places
    cdef Py_ssize_t first = 0, last = p.total, column = 0, stop = s.inputs, grain
    if p.total >= TILE * w.unit_shares:
        first, last = part(p.total, k, w.unit_shares, TILE), part(p.total, k + 1, w.unit_shares, TILE)
    else:
        grain = s.kernels.packed_size(1, 1, 1)
        column, stop = part(s.inputs, k, w.unit_shares, grain), part(s.inputs, k + 1, w.unit_shares, grain)
    s.kernels.multiply(
        last - first, w.dgates + (at + first) * gate_rows * s.item, NULL, gate_rows, gate_rows,
        w.packed_ih + column * gate_rows * s.item, stop - column, 1, NULL, 0,
        s.dx + column * s.item, p.places + first, s.inputs, stop - column,
    )


cdef void forward_share(void *job, int k) noexcept nogil:
    """The whole sequence for the rows of one share."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], active, n, t, first, last, i, total
    cdef Py_ssize_t *places = w.places + w.chunk * w.start[k]
    cdef char *projected = w.projected + w.chunk * w.start[k] * w.wide * s.item
    cdef Py_ssize_t states = s.rows * s.units * s.item
    cdef Step step = new_step(s, w, rows)
    cdef Part together = Part(w, &step, 0, NULL, NULL, NULL, NULL, False)
    cdef Task project_task = project_unpacked if w.unpacked_ih else project
    step.last_panel, step.ahead = w.panels, s.rows * s.units
    active, last = count, 0
    while last < s.steps:
        first = last
        total = 0
        n = active
        while last < s.steps:
            while n > 0 and length_of(s, rows[n - 1]) <= last:
                n -= 1
            if n == 0 or total + n > w.chunk * count:
                break
            for i in range(n):
                places[total + i] = last * s.rows + rows[i]
            total += n
            last += 1
        if total == 0:
            break
        together.total, together.places, step.projected = total, places, projected
        run_shares(w.unit_shares, project_task, &together)
        for t in range(first, last):
            while active > 0 and length_of(s, rows[active - 1]) <= t:
                active -= 1
            step.n, step.turned = active, t & 1
            point_at(s, t, &step)
            if s.masks.drop != NULL:
                enter_product(&s.masks, &step)
            add_skips(w, &step, t)
            if w.unit_shares == 1:
                s.forward(&step)
            else:
                run_shares(w.unit_shares, step_units, &together)
            if s.masks.keep_h != NULL:
                settle(&s.masks, &step, t, states, s.hidden, s.cells)
            step.projected = <char *>step.projected + active * w.wide * s.item
    clear_forward(w, k)


cdef void clear_forward(const Work *w, int k) noexcept nogil:
    """Zero the states beyond the rows' lengths; of the gates, most of the tape, nobody reads them there."""
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t width = s.units * s.item, states = s.rows * width
    clear_padding(s.lengths, s.steps, s.rows, s.hidden + states, width, k, w.shares)
    if s.cells != NULL:
        clear_padding(s.lengths, s.steps, s.rows, s.cells + states, width, k, w.shares)
    clear_padding(s.lengths, s.steps, s.rows, s.candidates, width, k, w.shares)


cdef inline const char *reset_weights(const Sequence *s) noexcept nogil:
    """The rows of weight_hh, (H, H), whose product is with r h[t-1]."""
    return s.weight_hh + (s.gates - 1) * s.units * s.units * s.item


cdef void pack_skips(const Work *w, int k, bint back) noexcept nogil:
    """Pack one share of weight_skip, or of its transposes."""
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t i, size = s.kernels.packed_size(s.units, s.units, 1) * s.item
    cdef Py_ssize_t of_unit = 1 if back else s.units, of_k = s.units if back else 1
    for i in range(s.further):
        s.kernels.pack(
            s.weight_skip + i * s.units * s.units * s.item, s.units, s.units, 1, 0, of_unit, of_k,
            k, w.threads, w.packed_skip + i * size,
        )


cdef void pack_forward(void *job, int k) noexcept nogil:
    """Pack one share of the weights' panels, each gate's columns beside the others'."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t columns = w.joint // w.interleaved
    s.kernels.pack(s.bias, 1, w.columns, w.interleaved, s.units, 1, 0, k, w.threads, w.packed_bias)
    if not w.unpacked_ih:
        s.kernels.pack(
            s.weight_ih, s.inputs, s.gates * s.units if w.narrow else w.columns,
            1 if w.narrow else w.interleaved, s.units * s.inputs, s.inputs, 1, k, w.threads, w.packed_ih,
        )
    if w.unpacked_hh:
        return
    s.kernels.pack(
        s.weight_hh, s.units, columns, w.interleaved, s.units * s.units, s.units, 1, k, w.threads, w.packed_hh
    )
    if s.reset_before:
        s.kernels.pack(reset_weights(s), s.units, s.units, 1, 0, s.units, 1, k, w.threads, w.packed_hn)
    pack_skips(w, k, False)


cdef void pack_backward(void *job, int k) noexcept nogil:
    """The same for the products on the way back, by the weights' transposes."""
    cdef const Work *w = <const Work *>job
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t gate_rows = s.gates * s.units
    if s.dx != NULL and not w.unpacked_ih:
        s.kernels.pack(s.weight_ih, gate_rows, s.inputs, 1, 0, 1, s.inputs, k, w.threads, w.packed_ih)
    if w.unpacked_hh:
        return
    s.kernels.pack(s.weight_hh, w.joint, s.units, 1, 0, 1, s.units, k, w.threads, w.packed_hh)
    if s.reset_before:
        s.kernels.pack(reset_weights(s), s.units, s.units, 1, 0, 1, s.units, k, w.threads, w.packed_hn)
    pack_skips(w, k, True)


def pack_recurrent(
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] bias,
    bint reset_before,
    floating[::1] panels,
):
    """Pack a cell's weights once for many forward passes, which then take ``panels`` (N,) and look at the
    weights no more. reset_before: whether the last gate's product is with r h[t-1]."""
    cdef Sequence s
    cdef Work w
    cdef float_state before
    s.item, s.kernels, s.further = sizeof(floating), kernels(sizeof(floating) == sizeof(double)), 0
    s.inputs, s.units = weight_ih.shape[1], weight_hh.shape[1]
    check_gates(weight_hh.shape[0] // weight_hh.shape[1])
    s.gates, s.reset_before = <int>(weight_hh.shape[0] // weight_hh.shape[1]), reset_before
    s.weight_ih, s.weight_hh = <const char *>&weight_ih[0, 0], <const char *>&weight_hh[0, 0]
    s.bias = <const char *>&bias[0]
    w.sequence = &s
    w.unpacked_ih = w.unpacked_hh = False
    lay_out_panels(&s, &w, <char *>&panels[0])
    with nogil:
        before = enter()
        # By its time a number packed is some 100 flops.
        w.threads = threads_for(100.0 * s.gates * s.units * (s.inputs + s.units))
        run_shares(w.threads, pack_forward, &w)
        leave(before)


cdef void go_forward(Work *w) noexcept nogil:
    cdef float_state before = enter()
    arrange(w.sequence, w)
    if w.sequence.panels == NULL:
        run_shares(w.threads, pack_forward, w)
    run_shares(w.shares, forward_share, w)
    leave(before)


cdef int lay_out_within(Sequence *s, Work *w, bint back) except -1:
    """Take the one decision of a call about threads and chunks; its memory must be in the scratch."""
    cdef Py_ssize_t room = s.scratch_end - s.scratch, size = lay_out(s, w, back, True)
    if size > room:
        raise RuntimeError(
            f"scratch has {room} bytes, but this call needs {size}; "
            "take as many entries as scratch_size says for this cell, at the level in force"
        )
    return own_lengths(s, w)


cdef int run_forward(Sequence *s) except -1:
    cdef Work w
    lay_out_within(s, &w, False)
    with nogil:
        go_forward(&w)
    return 0


cdef void backward_share(void *job, int k) noexcept nogil:
    """BPTT over the steps of the chunk at hand for the rows of one share, and their dx."""
    cdef Work *w = <Work *>job
    cdef const Sequence *s = w.sequence
    cdef const Py_ssize_t *rows = w.order + w.start[k]
    cdef Py_ssize_t count = w.start[k + 1] - w.start[k], n = 0, at = w.base[k + 1], t, i
    cdef Py_ssize_t states = s.rows * s.units * s.item, gate_rows = s.gates * s.units
    cdef Step step = new_step(s, w, rows)
    cdef Part together = Part(w, &step, 0, NULL, NULL, NULL, NULL, False)
    together.total, together.places = w.base[k + 1] - w.base[k], w.places + w.base[k]
    step.dc, step.ahead = s.dc, -s.rows * s.units
    for t in range(w.last - 1, w.first - 1, -1):
        while n < count and length_of(s, rows[n]) > t:
            n += 1
        if n == 0:
            continue
        at -= n
        for i in range(n):
            w.places[at + i] = t * s.rows + rows[i]
        step.n, step.turned = n, t & 1
        point_at(s, t, &step)
        step.dh = slot(s, t)
        step.dy = s.dy + t * states
        step.dgates = w.dgates + at * gate_rows * s.item
        step.drecurrent = w.drecurrent + at * gate_rows * s.item
        if s.dleak != NULL:
            step.dleak = w.dleak + at * s.units * s.item
        if s.dhidden != NULL:
            record_hidden(s, &step, t)
        if s.dcells != NULL:
            step.dcells = s.dcells + (t + 1) * states
        if s.masks.keep_h != NULL:
            unsettle(&s.masks, &step, t)
        s.backward(&step)
        if s.dgates != NULL:
            record_gates(s, &step, t)
        carry(&together, t)
        if s.masks.drop != NULL:
            leave_product(&s.masks, &step, s.leaves_dh)
        if s.masks.keep_h != NULL:
            rejoin(&s.masks, &step)
        if not isinf(s.clip_step):
            step.dh = slot(s, t - 1)
            s.kernels.clip_rows(&step, s.clip_step, &w.clipped[k])
    if s.dx != NULL:
        run_shares(w.unit_shares, input_gradient_unpacked if w.unpacked_ih else input_gradient, &together)


cdef void backward_chunks(Work *w) noexcept nogil:
    """BPTT over the whole sequence, chunk by chunk."""
    w.last = w.sequence.steps
    while w.last > 0:
        if count_rows(w.sequence, w) > 0:
            run_shares(w.shares, backward_share, w)
            add_weight_gradients(w)
        w.last = w.first


cdef void backward_alone(void *job, int k) noexcept nogil:
    """The same for the rows of one share, which waits for no other: a call of its own within the call."""
    cdef Work *together = <Work *>job
    cdef Work w = together[0]
    cdef Sequence s = w.sequence[0]
    cdef const Kernels *table = s.kernels
    cdef Py_ssize_t before = w.chunk * w.start[k], gate_rows = s.gates * s.units
    w.sequence, w.shares, w.threads = &s, 1, 1
    w.start[0], w.start[1] = w.start[k], w.start[k + 1]
    w.clipped[0] = Clipped(0, 0)
    w.places += before
    w.dgates += before * gate_rows * s.item
    w.drecurrent += before * gate_rows * s.item
    w.rows_x += table.packed_size(before, s.inputs, 1) * s.item
    w.rows_h += table.packed_size(before, s.units, 1) * s.item
    if s.dleak != NULL:
        w.dleak += before * s.units * s.item
    if s.further:
        w.rows_skip += table.packed_size(before, s.units, 1) * s.item
    if s.reset_before:
        w.rows_reset += table.packed_size(before, s.units, 1) * s.item
    if k > 0:
        memset(w.own + (k - 1) * w.own_size, 0, w.own_size)
        place_own(&s, w.own + (k - 1) * w.own_size)
    backward_chunks(&w)
    together.clipped[k] = w.clipped[0]


cdef Clipped run_backward(Sequence *s) except *:
    """BPTT over the whole sequence; returns what clip_step did."""
    cdef Work w
    lay_out_within(s, &w, True)
    with nogil:
        go_backward(&w)
    return all_clipped(w.clipped, w.shares)


cdef void go_backward(Work *w) noexcept nogil:
    cdef const Sequence *s = w.sequence
    cdef Py_ssize_t width = s.units * s.item, gates = s.gates * width
    cdef float_state before = enter()
    arrange(s, w)
    memset(w.clipped, 0, sizeof(w.clipped))
    run_shares(w.threads, pack_backward, w)
    clear_padding(s.lengths, s.steps, s.rows, s.dx, s.inputs * s.item, 0, 1)
    clear_padding(s.lengths, s.steps, s.rows, s.dgates, gates, 0, 1)
    clear_padding(s.lengths, s.steps, s.rows, s.drecurrent, gates, 0, 1)
    if s.dhidden != NULL:
        clear_padding(s.lengths, s.steps, s.rows, s.dhidden + s.rows * width, width, 0, 1)
    if s.dcells != NULL:
        clear_padding(s.lengths, s.steps, s.rows, s.dcells + s.rows * width, width, 0, 1)
    if w.own == NULL:
        backward_chunks(w)
    else:
        run_shares(w.shares, backward_alone, w)
        add_own(w)
    leave(before)
