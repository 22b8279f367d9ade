"""Losses and their gradients in one pass, a whole sequence at a time; the arithmetic stands in losses.h.

All take y (T, B, C), ``lengths (B,)`` or None, a ``scale`` of value and gradient (1 / steps for a mean), and
``weights (T, B)``, or (1, B) for the same at every step, by which loss and gradient are multiplied, or None
for 1. Where step t is beyond the length of row b, or its weight is 0, y and target are not read and dy is 0.
``class_weights (C,)`` multiply each class's part.
"""

from libc.math cimport NAN
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from .dispatch cimport Kernels, kernels
from .float_state cimport enter, float_state, leave

ctypedef fused floating:
    float
    double

ctypedef fused class_id:
    int32_t
    int64_t

ctypedef double (*Span)(
    const void *y, const void *target, Py_ssize_t n, double scale, void *dy
) noexcept nogil


# The weight of step t of row b is first[t * stride + b]; first is NULL where all are 1.
cdef struct Weights:
    const double *first
    Py_ssize_t stride
    const double *classes    # (C,) or NULL


cdef Weights weights_of(const double[:, ::1] weights, const double[::1] classes) noexcept:
    cdef Weights w
    w.first, w.stride, w.classes = NULL, 0, NULL
    if weights is not None:
        w.first = &weights[0, 0]
        w.stride = weights.shape[1] if weights.shape[0] > 1 else 0
    if classes is not None:
        w.classes = &classes[0]
    return w


cdef const Py_ssize_t *first(const Py_ssize_t[::1] lengths) noexcept:
    """Where the lengths begin, NULL for None."""
    if lengths is None:
        return NULL
    return &lengths[0]


def softmax_cross_entropy(
    const floating[:, :, ::1] y,
    const class_id[:, ::1] target,
    const Py_ssize_t[::1] lengths,
    double scale,
    floating[:, :, ::1] dy,
    const double[:, ::1] weights=None,
):
    """-log softmax(y[t, b])[target[t, b]], summed and scaled.

    y        (T, B, C)  logits
    target   (T, B)     class ids; one outside 0 <= id < C makes the value NaN
    dy       (T, B, C)  OUT: scale * (softmax(y) - onehot(target))
    """
    cdef Py_ssize_t steps = y.shape[0], rows = y.shape[1], classes = y.shape[2], t, b
    cdef const Py_ssize_t *length = first(lengths)
    cdef const Kernels *kernel = kernels(floating is double)
    cdef Weights w = weights_of(weights, None)
    cdef double total = 0, weight = 1
    cdef class_id right
    cdef float_state before
    with nogil:
        before = enter()
        for t in range(steps):
            for b in range(rows):
                if w.first != NULL:
                    weight = w.first[t * w.stride + b]
                right = target[t, b]  # once: another thread may write there
                if weight == 0 or length != NULL and length[b] <= t:
                    memset(&dy[t, b, 0], 0, classes * sizeof(floating))
                    continue
                if right < 0 or right >= classes:
                    memset(&dy[t, b, 0], 0, classes * sizeof(floating))
                    total = NAN
                    continue
                total += weight * kernel.softmax_row(
                    &y[t, b, 0], classes, right, scale * weight, &dy[t, b, 0]
                )
        total *= scale
        leave(before)
    return total


cdef double smooth_row(
    const Kernels *kernel, const floating *y, Py_ssize_t classes, Py_ssize_t target, double scale,
    const double *weights, double all_weights, double smoothing, floating *dy,
) noexcept nogil:
    """(1 - s) w[target] l[target] + s / C sum_c w[c] l[c], l[c] = -log softmax(y)[c], and its gradient."""
    cdef double own = (1 - smoothing) * (1 if weights == NULL else weights[target])
    cdef double each = smoothing / classes, part, sum_of_y = 0
    cdef Py_ssize_t c
    cdef double loss = kernel.softmax_row(y, classes, target, scale * (own + each * all_weights), dy)
    cdef double log_sum = loss + <double>y[target]
    dy[target] += <floating>(scale * each * all_weights)
    for c in range(classes):
        part = each if weights == NULL else each * weights[c]
        if part:
            sum_of_y += part * <double>y[c]
            dy[c] -= <floating>(scale * part)
    return own * loss + (each * all_weights * log_sum - sum_of_y)


def smoothed_cross_entropy(
    const floating[:, :, ::1] y,
    const class_id[:, ::1] target,
    const Py_ssize_t[::1] lengths,
    double scale,
    floating[:, :, ::1] dy,
    double smoothing,
    const double[:, ::1] weights=None,
    const double[::1] class_weights=None,
):
    """Cross-entropy against 1 - s of the target and s / C of every class (Szegedy et al., 2016), summed and
    scaled; the rest as for softmax_cross_entropy."""
    cdef Py_ssize_t steps = y.shape[0], rows = y.shape[1], classes = y.shape[2], t, b, c
    cdef const Py_ssize_t *length = first(lengths)
    cdef const Kernels *kernel = kernels(floating is double)
    cdef Weights w = weights_of(weights, class_weights)
    cdef double total = 0, weight = 1, all_weights = classes
    cdef class_id right
    cdef float_state before
    with nogil:
        before = enter()
        if w.classes != NULL:
            all_weights = 0
            for c in range(classes):
                all_weights += w.classes[c]
        for t in range(steps):
            for b in range(rows):
                if w.first != NULL:
                    weight = w.first[t * w.stride + b]
                if weight == 0 or length != NULL and length[b] <= t:
                    memset(&dy[t, b, 0], 0, classes * sizeof(floating))
                    continue
                right = target[t, b]
                if right < 0 or right >= classes:
                    memset(&dy[t, b, 0], 0, classes * sizeof(floating))
                    total = NAN
                    continue
                total += weight * smooth_row[floating](
                    kernel, &y[t, b, 0], classes, right, scale * weight, w.classes, all_weights,
                    smoothing, &dy[t, b, 0],
                )
        total *= scale
        leave(before)
    return total


def first_class_outside(const class_id[:, ::1] target, const Py_ssize_t[::1] lengths, Py_ssize_t classes):
    """Place t * B + b of the first class id outside 0..classes-1, padding aside; -1 if there is none."""
    cdef Py_ssize_t rows = target.shape[1], place, found = -1
    cdef const Py_ssize_t *length = first(lengths)
    cdef const class_id *ids = &target[0, 0]
    with nogil:
        for place in range(target.shape[0] * rows):
            if length != NULL and length[place % rows] <= place // rows:
                continue
            if ids[place] < 0 or ids[place] >= classes:
                found = place
                break
    return found


cdef double over_spans(
    Span span,
    const char *y,
    const char *target,
    const Py_ssize_t *length,
    Py_ssize_t steps,
    Py_ssize_t rows,
    Py_ssize_t features,
    Py_ssize_t itemsize,
    double scale,
    char *dy,
    const Weights *w,
) noexcept nogil:
    """Sum of ``span`` over everything but the padding, in the longest runs without a gap in memory; a row at
    a time where each has its weight, a number where each class has one."""
    cdef Py_ssize_t t, b = 0, c, first, row_bytes = features * itemsize, at
    cdef double total = 0, weight = 1
    cdef bint padded, by_row = w.first != NULL or w.classes != NULL
    if length == NULL and not by_row:
        return span(y, target, steps * rows * features, scale, dy)
    for t in range(steps):
        b = 0
        while b < rows:
            first = b
            padded = length != NULL and length[b] <= t
            if by_row:
                if w.first != NULL:
                    weight = w.first[t * w.stride + b]
                padded = padded or weight == 0
                b += 1
            else:
                while b < rows and (length[b] <= t) == padded:
                    b += 1
            at = (t * rows + first) * row_bytes
            if padded:
                memset(dy + at, 0, (b - first) * row_bytes)
            elif w.classes != NULL:
                for c in range(features):
                    if w.classes[c] == 0:
                        memset(dy + at + c * itemsize, 0, itemsize)
                        continue
                    total += weight * w.classes[c] * span(
                        y + at + c * itemsize, target + at + c * itemsize, 1, scale * weight * w.classes[c],
                        dy + at + c * itemsize,
                    )
            else:
                total += weight * span(
                    y + at, target + at, (b - first) * features, scale * weight, dy + at
                )
    return total


def sigmoid_cross_entropy(
    const floating[:, :, ::1] y,
    const floating[:, :, ::1] target,
    const Py_ssize_t[::1] lengths,
    double scale,
    floating[:, :, ::1] dy,
    const double[:, ::1] weights=None,
    const double[::1] class_weights=None,
):
    """-target log sigmoid(y) - (1 - target) log sigmoid(-y), summed and scaled.

    y        (T, B, C)  logits
    target   (T, B, C)  probabilities; one outside 0..1 makes the value NaN
    dy       (T, B, C)  OUT: scale * (sigmoid(y) - target)
    """
    cdef const Py_ssize_t *length = first(lengths)
    cdef Weights w = weights_of(weights, class_weights)
    cdef double total
    cdef float_state before
    with nogil:
        before = enter()
        total = over_spans(
            kernels(floating is double).sigmoid_span,
            <const char *>&y[0, 0, 0], <const char *>&target[0, 0, 0], length,
            y.shape[0], y.shape[1], y.shape[2], sizeof(floating), scale, <char *>&dy[0, 0, 0],
            &w,
        )
        total *= scale
        leave(before)
    return total


def squared_error(
    const floating[:, :, ::1] y,
    const floating[:, :, ::1] target,
    const Py_ssize_t[::1] lengths,
    double scale,
    floating[:, :, ::1] dy,
    const double[:, ::1] weights=None,
    const double[::1] class_weights=None,
):
    """(y - target)^2 / 2, summed and scaled.

    y        (T, B, C)
    target   (T, B, C)
    dy       (T, B, C)  OUT: scale * (y - target)
    """
    cdef const Py_ssize_t *length = first(lengths)
    cdef Weights w = weights_of(weights, class_weights)
    cdef double total
    cdef float_state before
    with nogil:
        before = enter()
        total = over_spans(
            kernels(floating is double).squared_span,
            <const char *>&y[0, 0, 0], <const char *>&target[0, 0, 0], length,
            y.shape[0], y.shape[1], y.shape[2], sizeof(floating), scale, <char *>&dy[0, 0, 0],
            &w,
        )
        total *= scale
        leave(before)
    return total
