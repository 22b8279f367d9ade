"""Connectionist temporal classification (Graves, Fernandez, Gomez & Schmidhuber, 2006), and decoding.

The U labels of a row are written with a blank before, between and behind them: S = 2U + 1 states. With lp =
log softmax(y), an alignment of the row's n steps goes through the states from the first or second to the last
or last but one, at each step staying, moving on by one, or skipping a blank between two labels that differ:

    alpha[t, s] = lp[t, s] + log sum of e^alpha[t-1] over s, s-1 and, if it may be skipped to, s-2
    beta[t, s]  = log sum of e^(beta[t+1] + lp[t+1]) over s, s+1 and, if it may be skipped to, s+2
    log p       = log (e^alpha[n-1, S-1] + e^alpha[n-1, S-2])
    dy[t, c]    = softmax(y[t])[c] - sum over the states s of c of e^(alpha[t, s] + beta[t, s] - log p)

All sums are taken in double. Rows are shared out among the threads. Cost: T C exponentials, and about 6 T S
exponentials and logarithms a row.
"""

from cython cimport floating
from libc.math cimport INFINITY, exp, log, log1p
from libc.string cimport memset

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave
from .threads cimport part, run_shares, threads_for

cdef enum:
    FLOPS_A_STATE = 5000   # a state of a step takes about as long as so many flops in the tiles

# One call; every share of the rows has its own part of the scratch.
cdef struct Job:
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t classes
    int item                      # bytes of a number of y
    int shares
    const Kernels *kernels
    const char *y                 # (T, B, C)
    const Py_ssize_t *lengths     # (B,) or NULL
    Py_ssize_t blank
    const Py_ssize_t *labels      # (N,), those of all rows
    const Py_ssize_t *offsets     # (B + 1,)
    const double *scales          # (B,)
    double *losses                # (B,)
    char *dy                      # (T, B, C)
    Py_ssize_t width              # beams
    Py_ssize_t *found             # (B, T)
    Py_ssize_t *found_lengths     # (B,)
    double *scores                # (B,)
    double *scratch
    Py_ssize_t scratch_size       # of a share
    Py_ssize_t *places
    Py_ssize_t places_size


cdef inline double log_add(double a, double b) noexcept nogil:
    """log (e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b == -INFINITY else a + log1p(exp(b - a))


cdef inline double log_add3(double a, double b, double c) noexcept nogil:
    """log (e^a + e^b + e^c)."""
    cdef double top = max(a, max(b, c))
    if top == -INFINITY:
        return a + b + c   # which is NaN where one of them is
    return top + log(exp(a - top) + exp(b - top) + exp(c - top))


cdef inline Py_ssize_t label_of(const Job *job, const Py_ssize_t *labels, Py_ssize_t s) noexcept nogil:
    return labels[s // 2] if s % 2 else job.blank


cdef inline bint skips(const Py_ssize_t *labels, Py_ssize_t s) noexcept nogil:
    """Whether an alignment may come to state s from state s - 2."""
    return s % 2 and s >= 3 and labels[s // 2] != labels[s // 2 - 1]


cdef inline Py_ssize_t lowest(Py_ssize_t states, Py_ssize_t steps, Py_ssize_t t) noexcept nogil:
    """The first state at step t from which the end can still be reached."""
    return max(0, states - 2 * (steps - t))


cdef inline Py_ssize_t highest(Py_ssize_t states, Py_ssize_t t) noexcept nogil:
    """Behind the last state that can be reached by step t."""
    return min(states, 2 * t + 2)


cdef inline double soften(const Job *job, const floating *y, double scale, floating *dy) noexcept nogil:
    """dy = scale softmax(y) of one step (C,); returns the logarithm of the sum of e^y."""
    cdef Py_ssize_t c, top = 0
    cdef double loss
    for c in range(1, job.classes):
        if y[c] > y[top]:
            top = c
    # The kernel takes one class's scale off; at the likeliest it can be put back without a loss of digits.
    loss = job.kernels.softmax_row(y, job.classes, top, scale, dy)
    dy[top] += <floating>scale
    return loss + <double>y[top]


cdef double run_alphas(
    const Job *job, const floating *y, Py_ssize_t n, const Py_ssize_t *labels, Py_ssize_t states,
    const double *norms, double *alphas
) noexcept nogil:
    """Fill alphas (n, S) where an alignment can pass; returns log p. ``norms`` (n,): log sum e^y."""
    cdef Py_ssize_t t, s, stride = job.rows * job.classes, first, last
    cdef double *alpha
    cdef double *before
    cdef double total
    for t in range(n):
        alpha = alphas + t * states
        before = alpha - states
        first, last = lowest(states, n, t), highest(states, t)
        for s in range(first, last):
            if t == 0:
                total = 0
            elif s == 0:
                total = before[0]
            elif skips(labels, s):
                total = log_add3(before[s], before[s - 1], before[s - 2])
            else:
                total = log_add(before[s], before[s - 1])
            alpha[s] = total + <double>y[t * stride + label_of(job, labels, s)] - norms[t]
        for s in range(last, min(states, last + 2)):
            alpha[s] = -INFINITY
    alpha = alphas + (n - 1) * states
    return alpha[0] if states == 1 else log_add(alpha[states - 1], alpha[states - 2])


cdef void run_betas(
    const Job *job, const floating *y, Py_ssize_t n, const Py_ssize_t *labels, Py_ssize_t states,
    const double *norms, const double *alphas, double log_p, double scale, double *beta, floating *dy
) noexcept nogil:
    """Take the posteriors of all states off dy; beta (S + 2,) is working memory."""
    cdef Py_ssize_t t, s, stride = job.rows * job.classes, first, last
    cdef double posterior, blanks
    for s in range(states + 2):
        beta[s] = -INFINITY
    for t in range(n - 1, -1, -1):
        first, last = lowest(states, n, t), highest(states, t)
        for s in range(first, last):
            if t == n - 1:
                beta[s] = 0
            elif s + 2 < states and skips(labels, s + 2):
                beta[s] = log_add3(beta[s], beta[s + 1], beta[s + 2])
            else:
                beta[s] = log_add(beta[s], beta[s + 1])
        blanks = 0
        for s in range(first, last):
            posterior = exp(alphas[t * states + s] + beta[s] - log_p)
            if s % 2:
                dy[t * stride + labels[s // 2]] -= <floating>(scale * posterior)
            else:
                blanks += posterior
            # On the way back, beta counts the step's own probability as well.
            beta[s] += <double>y[t * stride + label_of(job, labels, s)] - norms[t]
        dy[t * stride + job.blank] -= <floating>(scale * blanks)


cdef void loss_of_row(
    const Job *job, Py_ssize_t b, double *scratch, const floating *y, floating *dy
) noexcept nogil:
    """Loss and gradient of row b; y and dy point to its first step."""
    cdef const Py_ssize_t *labels = job.labels + job.offsets[b]
    cdef Py_ssize_t n = job.steps if job.lengths == NULL else job.lengths[b]
    cdef Py_ssize_t states = 2 * (job.offsets[b + 1] - job.offsets[b]) + 1, stride = job.rows * job.classes, t
    cdef double *norms = scratch
    cdef double *beta = norms + n
    cdef double *alphas = beta + states + 2
    cdef double log_p = -INFINITY
    if lowest(states, n, 0) <= 1:
        for t in range(n):
            norms[t] = soften(job, y + t * stride, job.scales[b], dy + t * stride)
        log_p = run_alphas(job, y, n, labels, states, norms, alphas)
    job.losses[b] = -log_p
    if log_p == -INFINITY:
        n = 0
    else:
        run_betas(job, y, n, labels, states, norms, alphas, log_p, job.scales[b], beta, dy)
    for t in range(n, job.steps):
        memset(dy + t * stride, 0, job.classes * sizeof(floating))


cdef void loss_share(void *job_, int k) noexcept nogil:
    """The rows of one share."""
    cdef const Job *job = <const Job *>job_
    cdef double *scratch = job.scratch + k * job.scratch_size
    cdef Py_ssize_t b, at
    for b in range(part(job.rows, k, job.shares, 1), part(job.rows, k + 1, job.shares, 1)):
        at = b * job.classes * job.item
        if job.item == sizeof(double):
            loss_of_row(job, b, scratch, <const double *>(job.y + at), <double *>(job.dy + at))
        else:
            loss_of_row(job, b, scratch, <const float *>(job.y + at), <float *>(job.dy + at))


cdef Job plan(
    const floating[:, :, ::1] y, const Py_ssize_t[::1] lengths, Py_ssize_t blank, double[:, ::1] scratch
):
    """What all calls have in common; the rest is zero."""
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.steps, job.rows, job.classes, job.item = y.shape[0], y.shape[1], y.shape[2], sizeof(floating)
    job.kernels = kernels(sizeof(floating) == sizeof(double))
    job.y = <const char *>&y[0, 0, 0]
    if lengths is not None:
        job.lengths = &lengths[0]
    job.blank = blank
    job.scratch, job.scratch_size = &scratch[0, 0], scratch.shape[1]
    job.shares = <int>min(job.rows, scratch.shape[0])
    return job


cdef void run(Job *job, Py_ssize_t states, void (*task)(void *job, int share) noexcept nogil) noexcept nogil:
    """All shares of a job of so many states a step, as many as there is scratch for at most."""
    cdef float_state before = enter()
    job.shares = min(job.shares, threads_for(FLOPS_A_STATE * <double>(job.steps * job.rows) * states))
    run_shares(job.shares, task, job)
    leave(before)


def ctc_scratch_size(steps, labels):
    """Doubles of working memory that a thread of ``ctc_loss`` wants: T steps, at most U labels a row."""
    return steps + (steps + 1) * (2 * labels + 1) + 2


def ctc_loss(
    const floating[:, :, ::1] y,
    const Py_ssize_t[::1] labels,
    const Py_ssize_t[::1] offsets,
    const Py_ssize_t[::1] lengths,
    Py_ssize_t blank,
    const double[::1] scales,
    double[::1] losses,
    floating[:, :, ::1] dy,
    double[:, ::1] scratch,
):
    """Losses of all rows, each -log p(labels | y), and scales[b] times the gradient of each.

    y (T, B, C) are logits, labels (N,) ids other than blank, of which offsets[b] ... offsets[b + 1] - 1 are
    those of row b; losses (B,) and dy (T, B, C) are written. A row that has no alignment gets an infinite
    loss and no gradient. Padding is not read, and dy is 0 there. scratch (threads, ctc_scratch_size).
    """
    cdef Py_ssize_t average = offsets[offsets.shape[0] - 1] // (offsets.shape[0] - 1)
    cdef Job job = plan(y, lengths, blank, scratch)
    if labels.shape[0]:
        job.labels = &labels[0]
    job.offsets, job.scales = &offsets[0], &scales[0]
    job.losses, job.dy = &losses[0], <char *>&dy[0, 0, 0]
    with nogil:
        run(&job, 2 * average + 1, loss_share)


# --- prefix beam search
# Prefixes are nodes of a tree, so that one which is dropped and found again is the same. A beam is a prefix
# with the probabilities of all its alignments so far that end in a blank and in its last label.

cdef struct Tree:
    Py_ssize_t *parent
    Py_ssize_t *label
    Py_ssize_t *child             # the youngest, -1 for none
    Py_ssize_t *sibling           # the next older, -1 for none
    Py_ssize_t *beam              # where the node stands among the beams, -1 for nowhere
    Py_ssize_t size

# W beams, or candidates in a heap with the least likely first.
cdef struct Beams:
    Py_ssize_t size
    double *score                 # log_add(blank, label)
    double *blank
    double *label
    Py_ssize_t *node              # of a candidate that is new: of the prefix before its last label
    Py_ssize_t *last              # the last label of a new candidate, -1 for one that is a node


cdef inline void swap_beams(Beams *beams, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    beams.score[i], beams.score[j] = beams.score[j], beams.score[i]
    beams.blank[i], beams.blank[j] = beams.blank[j], beams.blank[i]
    beams.label[i], beams.label[j] = beams.label[j], beams.label[i]
    beams.node[i], beams.node[j] = beams.node[j], beams.node[i]
    beams.last[i], beams.last[j] = beams.last[j], beams.last[i]


cdef void offer(
    Beams *heap, Py_ssize_t width, double blank, double label, Py_ssize_t node, Py_ssize_t last
) noexcept nogil:
    """Take a candidate into the heap if it is among the ``width`` likeliest so far."""
    cdef double score = log_add(blank, label)
    cdef Py_ssize_t i, least
    if heap.size == width and not score > heap.score[0]:
        return
    i = heap.size if heap.size < width else 0
    heap.score[i], heap.blank[i], heap.label[i], heap.node[i], heap.last[i] = score, blank, label, node, last
    if heap.size < width:
        heap.size += 1
        while i and heap.score[i] < heap.score[(i - 1) // 2]:
            swap_beams(heap, i, (i - 1) // 2)
            i = (i - 1) // 2
        return
    while True:
        least = i
        if 2 * i + 1 < width and heap.score[2 * i + 1] < heap.score[least]:
            least = 2 * i + 1
        if 2 * i + 2 < width and heap.score[2 * i + 2] < heap.score[least]:
            least = 2 * i + 2
        if least == i:
            return
        swap_beams(heap, i, least)
        i = least


cdef Py_ssize_t child_of(Tree *tree, Py_ssize_t parent, Py_ssize_t label) noexcept nogil:
    """The node of a prefix and one label more, made if there is none."""
    cdef Py_ssize_t node = tree.child[parent]
    while node >= 0:
        if tree.label[node] == label:
            return node
        node = tree.sibling[node]
    node = tree.size
    tree.size += 1
    tree.parent[node], tree.label[node], tree.child[node], tree.beam[node] = parent, label, -1, -1
    tree.sibling[node] = tree.child[parent]
    tree.child[parent] = node
    return node


cdef void advance(
    const Job *job, const double *lp, Tree *tree, const Beams *beams, Beams *heap, double *extended
) noexcept nogil:
    """One step: every beam stays what it is or grows by a label; the likeliest go into the heap."""
    cdef Py_ssize_t i, j, c, node, parent
    cdef double blank, label
    heap.size = 0
    for i in range(beams.size):
        node = beams.node[i]
        # The prefix as it is: a blank, or its last label once more.
        blank, label = beams.score[i] + lp[job.blank], -INFINITY
        if node:
            label = beams.label[i] + lp[tree.label[node]]
            parent = tree.beam[tree.parent[node]]
            if parent >= 0:  # what the shorter prefix becomes with this label
                label = log_add(label, lp[tree.label[node]] + (
                    beams.blank[parent] if tree.label[beams.node[parent]] == tree.label[node]
                    else beams.score[parent]
                ))
        offer(heap, job.width, blank, label, node, -1)
    for i in range(beams.size):
        node = beams.node[i]
        for c in range(job.classes):
            # A label twice in a row needs a blank between.
            extended[c] = lp[c] + (beams.blank[i] if c == tree.label[node] else beams.score[i])
        extended[job.blank] = -INFINITY
        for j in range(beams.size):
            if beams.node[j] and tree.parent[beams.node[j]] == node:
                extended[tree.label[beams.node[j]]] = -INFINITY   # is a beam itself, and counted there
        for c in range(job.classes):
            if extended[c] > -INFINITY:
                offer(heap, job.width, -INFINITY, extended[c], node, c)


cdef inline void read_step(const floating *y, Py_ssize_t classes, double *lp) noexcept nogil:
    """lp = log softmax(y) of one step (C,)."""
    cdef Py_ssize_t c
    cdef double top = y[0], total = 0
    for c in range(1, classes):
        top = max(top, <double>y[c])
    for c in range(classes):
        total += exp(<double>y[c] - top)
    for c in range(classes):
        lp[c] = <double>y[c] - top - log(total)


cdef Beams carve_beams(double **numbers, Py_ssize_t **places, Py_ssize_t width) noexcept nogil:
    cdef Beams beams
    beams.size = 0
    beams.score, beams.blank, beams.label = numbers[0], numbers[0] + width, numbers[0] + 2 * width
    beams.node, beams.last = places[0], places[0] + width
    numbers[0] += 3 * width
    places[0] += 2 * width
    return beams


cdef void search_row(const Job *job, Py_ssize_t b, double *numbers, Py_ssize_t *places) noexcept nogil:
    """The likeliest labels of row b."""
    cdef Py_ssize_t n = job.steps if job.lengths == NULL else job.lengths[b]
    cdef Py_ssize_t t, i, best = 0, at, nodes = 1 + n * job.width
    cdef Beams beams = carve_beams(&numbers, &places, job.width)
    cdef Beams heap = carve_beams(&numbers, &places, job.width)
    cdef double *lp = numbers
    cdef double *extended = numbers + job.classes
    cdef Tree tree
    tree.parent, tree.label, tree.child = places, places + nodes, places + 2 * nodes
    tree.sibling, tree.beam = places + 3 * nodes, places + 4 * nodes
    tree.size, tree.parent[0], tree.label[0], tree.child[0], tree.beam[0] = 1, -1, -1, -1, 0
    beams.size, beams.node[0], beams.score[0], beams.blank[0], beams.label[0] = 1, 0, 0, 0, -INFINITY
    for t in range(n):
        at = (t * job.rows + b) * job.classes * job.item
        if job.item == sizeof(double):
            read_step(<const double *>(job.y + at), job.classes, lp)
        else:
            read_step(<const float *>(job.y + at), job.classes, lp)
        advance(job, lp, &tree, &beams, &heap, extended)
        for i in range(beams.size):
            tree.beam[beams.node[i]] = -1
        beams, heap = heap, beams
        for i in range(beams.size):
            if beams.last[i] >= 0:
                beams.node[i] = child_of(&tree, beams.node[i], beams.last[i])
            tree.beam[beams.node[i]] = i
    for i in range(1, beams.size):
        if beams.score[i] > beams.score[best]:
            best = i
    write_prefix(job, b, &tree, beams.node[best])
    job.scores[b] = beams.score[best]


cdef void write_prefix(const Job *job, Py_ssize_t b, const Tree *tree, Py_ssize_t leaf) noexcept nogil:
    """The labels from the root to a leaf."""
    cdef Py_ssize_t node = leaf, count = 0
    while node:
        count += 1
        node = tree.parent[node]
    job.found_lengths[b] = count
    node = leaf
    while node:
        count -= 1
        job.found[b * job.steps + count] = tree.label[node]
        node = tree.parent[node]


cdef void search_share(void *job_, int k) noexcept nogil:
    """The rows of one share."""
    cdef const Job *job = <const Job *>job_
    cdef Py_ssize_t b
    for b in range(part(job.rows, k, job.shares, 1), part(job.rows, k + 1, job.shares, 1)):
        search_row(job, b, job.scratch + k * job.scratch_size, job.places + k * job.places_size)


def ctc_search_sizes(steps, classes, width):
    """Doubles and indices of working memory that a thread of ``ctc_search`` wants."""
    return 6 * width + 2 * classes, 4 * width + 5 * (1 + steps * width)


def ctc_search(
    const floating[:, :, ::1] y,
    const Py_ssize_t[::1] lengths,
    Py_ssize_t blank,
    Py_ssize_t width,
    Py_ssize_t[:, ::1] found,
    Py_ssize_t[::1] found_lengths,
    double[::1] scores,
    double[:, ::1] scratch,
    Py_ssize_t[:, ::1] places,
):
    """Prefix beam search (Graves & Jaitly, 2014; Hannun et al., 2014): the likeliest labels of each row.

    y (T, B, C) are logits, finite, ``width`` how many prefixes are kept after a step; found (B, T),
    found_lengths (B,) and scores (B,), log p of the labels by the alignments that were kept, are written.
    scratch and places (threads, ctc_search_sizes).
    """
    cdef Job job = plan(y, lengths, blank, scratch)
    job.width, job.found, job.found_lengths = width, &found[0, 0], &found_lengths[0]
    job.scores, job.places, job.places_size = &scores[0], &places[0, 0], places.shape[1]
    with nogil:
        run(&job, width, search_share)
