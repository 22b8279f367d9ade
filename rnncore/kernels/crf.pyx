"""Linear-chain conditional random fields (Lafferty, McCallum & Pereira, 2001): loss, gradient, best tags.

y[t, b, i K + j] is the potential of tag j at step t after tag i at step t-1; at step 0 only i = 0 counts.
With E[t, i, j] = e^(y[t, i, j] - m[t, j]), m the largest over i, and n steps:

    alpha[t, j]  = m[t, j] + log sum_i e^alpha[t-1, i] E[t, i, j]
    beta[t-1, i] = log sum_j E[t, i, j] e^(m[t, j] + beta[t, j])
    log Z        = log sum_j e^alpha[n-1, j]
    dy[t, i, j]  = e^(alpha[t-1, i] + y[t, i, j] + beta[t, j] - log Z) - [i, j are the tags of t-1 and t]

All sums are taken in double. Rows are shared out among the threads. Cost: K^2 exponentials a step.
"""

from cython cimport floating
from libc.math cimport exp, log
from libc.string cimport memset

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave
from .threads cimport part, run_shares, threads_for

cdef enum:
    FLOPS_A_PAIR = 100     # a pair of tags takes about as long as so many flops in the tiles

# One call; every share of the rows has its own part of the scratch.
cdef struct Job:
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t tags
    bint is_double
    int shares
    const Kernels *kernels        # for double
    const void *y                 # (T, B, K * K)
    const Py_ssize_t *lengths     # (B,) or NULL
    const Py_ssize_t *target      # (T, B)
    const double *scales          # (B,)
    double *losses                # (B,)
    void *dy                      # (T, B, K * K)
    Py_ssize_t *best              # (T, B)
    double *scratch
    Py_ssize_t scratch_size       # of a share


cdef inline Py_ssize_t length_of(const Job *job, Py_ssize_t b) noexcept nogil:
    return job.steps if job.lengths == NULL else job.lengths[b]


cdef double scaled(const double *logs, Py_ssize_t n, double *numbers) noexcept nogil:
    """numbers = e^(logs - the largest); returns the largest."""
    cdef double highest = logs[0]
    cdef Py_ssize_t j
    for j in range(1, n):
        highest = max(highest, logs[j])
    for j in range(n):
        numbers[j] = exp(logs[j] - highest)
    return highest


cdef void exponentials(
    const Job *job, const floating *y, double *highest, double *e
) noexcept nogil:
    """e (K, K) and m (K,) of one step."""
    cdef Py_ssize_t tags = job.tags, i, j
    for j in range(tags):
        highest[j] = y[j]
    for i in range(1, tags):
        for j in range(tags):
            highest[j] = max(highest[j], <double>y[i * tags + j])
    for i in range(tags):
        for j in range(tags):
            e[i * tags + j] = y[i * tags + j] - highest[j]
    job.kernels.exp(e, e, tags * tags)


cdef double forward_row(
    const Job *job, Py_ssize_t b, Py_ssize_t n, const floating *y, double *scratch
) noexcept nogil:
    """Fills e (T, K, K), m and alpha (T, K); returns log Z."""
    cdef Py_ssize_t tags = job.tags, pairs = tags * tags, t, i, j
    cdef double *e = scratch
    cdef double *m = e + job.steps * pairs
    cdef double *alpha = m + job.steps * tags
    cdef double *p = alpha + job.steps * tags
    cdef double *sums = p + tags
    cdef double highest, total = 0
    cdef const floating *at = y + b * pairs
    for j in range(tags):
        alpha[j] = at[j]
    for t in range(1, n):
        at = y + (t * job.rows + b) * pairs
        exponentials(job, at, m + t * tags, e + t * pairs)
        highest = scaled(alpha + (t - 1) * tags, tags, p)
        for j in range(tags):
            sums[j] = 0
        for i in range(tags):
            for j in range(tags):
                sums[j] += p[i] * e[t * pairs + i * tags + j]
        for j in range(tags):
            alpha[t * tags + j] = highest + m[t * tags + j] + log(sums[j])
    highest = scaled(alpha + (n - 1) * tags, tags, p)
    for j in range(tags):
        total += p[j]
    return highest + log(total)


cdef void loss_row(
    const Job *job, Py_ssize_t b, const floating *y, floating *dy, double *scratch
) noexcept nogil:
    cdef Py_ssize_t tags = job.tags, pairs = tags * tags, n = length_of(job, b), t, i, j, place, before
    cdef double *e = scratch
    cdef double *m = e + job.steps * pairs
    cdef double *alpha = m + job.steps * tags
    cdef double *p = alpha + job.steps * tags
    cdef double *q = p + tags
    cdef double *beta = q + tags
    cdef double scale = job.scales[b], log_z, score = 0, highest, top, factor, total
    for t in range(job.steps):
        memset(dy + (t * job.rows + b) * pairs, 0, pairs * sizeof(floating))
    if n == 0 or scale == 0:
        job.losses[b] = 0
        return
    log_z = forward_row[floating](job, b, n, y, scratch)
    for j in range(tags):
        beta[j] = 0
    for t in range(n - 1, 0, -1):
        place = (t * job.rows + b) * pairs
        for j in range(tags):
            beta[j] += m[t * tags + j]
        top = scaled(beta, tags, q)
        highest = scaled(alpha + (t - 1) * tags, tags, p)
        factor = exp(highest + top - log_z)
        for i in range(tags):
            total = 0
            for j in range(tags):
                total += e[t * pairs + i * tags + j] * q[j]
                dy[place + i * tags + j] = <floating>(
                    scale * (factor * p[i] * e[t * pairs + i * tags + j] * q[j])
                )
            beta[i] = top + log(total)
    for j in range(tags):
        dy[b * pairs + j] = <floating>(scale * exp(alpha[j] + beta[j] - log_z))
    before = 0
    for t in range(n):
        j = job.target[t * job.rows + b]
        place = (t * job.rows + b) * pairs + (before if t else 0) * tags + j
        score += <double>y[place]
        dy[place] -= <floating>scale
        before = j
    job.losses[b] = log_z - score


cdef void best_row(const Job *job, Py_ssize_t b, const floating *y, double *scratch) noexcept nogil:
    """The tags of highest score (Viterbi, 1967), and their log-probability."""
    cdef Py_ssize_t tags = job.tags, pairs = tags * tags, n = length_of(job, b), t, i, j, tag = 0
    cdef double log_z, best, value
    cdef double *scores = scratch       # (T, K)
    cdef double *come = scores + job.steps * tags   # (T, K): the tag before
    cdef const floating *at = y + b * pairs
    for t in range(n, job.steps):
        job.best[t * job.rows + b] = 0
    job.losses[b] = 0
    if n == 0:
        return
    log_z = forward_row[floating](job, b, n, y, scratch)
    for j in range(tags):
        scores[j] = at[j]
    for t in range(1, n):
        at = y + (t * job.rows + b) * pairs
        for j in range(tags):
            best, tag = scores[(t - 1) * tags] + at[j], 0
            for i in range(1, tags):
                value = scores[(t - 1) * tags + i] + at[i * tags + j]
                if value > best:
                    best, tag = value, i
            scores[t * tags + j], come[t * tags + j] = best, tag
    tag = 0
    for j in range(1, tags):
        if scores[(n - 1) * tags + j] > scores[(n - 1) * tags + tag]:
            tag = j
    job.losses[b] = scores[(n - 1) * tags + tag] - log_z
    for t in range(n - 1, -1, -1):
        job.best[t * job.rows + b] = tag
        tag = <Py_ssize_t>come[t * tags + tag] if t else 0


cdef void loss_share(void *given, int k) noexcept nogil:
    cdef const Job *job = <const Job *>given
    cdef double *scratch = job.scratch + k * job.scratch_size
    cdef Py_ssize_t b
    for b in range(part(job.rows, k, job.shares, 1), part(job.rows, k + 1, job.shares, 1)):
        if job.is_double:
            loss_row[double](job, b, <const double *>job.y, <double *>job.dy, scratch)
        else:
            loss_row[float](job, b, <const float *>job.y, <float *>job.dy, scratch)


cdef void best_share(void *given, int k) noexcept nogil:
    cdef const Job *job = <const Job *>given
    cdef double *scratch = job.scratch + k * job.scratch_size
    cdef Py_ssize_t b
    for b in range(part(job.rows, k, job.shares, 1), part(job.rows, k + 1, job.shares, 1)):
        if job.is_double:
            best_row[double](job, b, <const double *>job.y, scratch)
        else:
            best_row[float](job, b, <const float *>job.y, scratch)


cdef Job plan(
    const floating[:, :, ::1] y, Py_ssize_t tags, const Py_ssize_t[::1] lengths, double[:, ::1] scratch,
    double[::1] losses,
):
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.steps, job.rows, job.tags = y.shape[0], y.shape[1], tags
    job.is_double, job.kernels, job.y = floating is double, kernels(True), &y[0, 0, 0]
    if lengths is not None:
        job.lengths = &lengths[0]
    job.scratch, job.scratch_size, job.losses = &scratch[0, 0], scratch.shape[1], &losses[0]
    job.shares = <int>min(job.rows, scratch.shape[0])
    return job


cdef void run(Job *job, void (*task)(void *job, int share) noexcept nogil) noexcept nogil:
    cdef float_state before = enter()
    cdef double pairs = <double>job.steps * job.rows * job.tags * job.tags
    job.shares = min(job.shares, threads_for(FLOPS_A_PAIR * pairs))
    run_shares(job.shares, task, job)
    leave(before)


def crf_scratch_size(Py_ssize_t steps, Py_ssize_t tags):
    """Doubles of working memory that a thread wants: T steps, K tags."""
    return steps * (tags * tags + 2 * tags) + 3 * tags


def crf_loss(
    const floating[:, :, ::1] y,
    const Py_ssize_t[:, ::1] target,
    const Py_ssize_t[::1] lengths,
    Py_ssize_t tags,
    const double[::1] scales,
    double[::1] losses,
    floating[:, :, ::1] dy,
    double[:, ::1] scratch,
):
    """Losses of all rows, each -log p(target | y), and scales[b] times the gradient of each.

    y and dy (T, B, K K), target (T, B), lengths (B,) from 0 or None, losses (B,), scratch (threads,
    crf_scratch_size). Padding is not read, and dy is 0 there; a row of scale 0 is not read.
    """
    cdef Job job = plan(y, tags, lengths, scratch, losses)
    job.target, job.scales, job.dy = &target[0, 0], &scales[0], &dy[0, 0, 0]
    with nogil:
        run(&job, loss_share)


def crf_best(
    const floating[:, :, ::1] y,
    const Py_ssize_t[::1] lengths,
    Py_ssize_t tags,
    Py_ssize_t[:, ::1] best,
    double[::1] scores,
    double[:, ::1] scratch,
):
    """Each row's likeliest tags, best (T, B), 0 in the padding, and their log-probability, scores (B,)."""
    cdef Job job = plan(y, tags, lengths, scratch, scores)
    job.best = &best[0, 0]
    with nogil:
        run(&job, best_share)
