/* Losses: each function returns a sum of losses, in double, and writes scale times its gradient.
 *
 * A row is the logits of one step of one sequence; a span is any run of numbers that do not depend on each other.
 */
#ifndef RNNCORE_LOSSES_H
#define RNNCORE_LOSSES_H

#include <math.h>

#include "simd.h"

/* p = scale * softmax(y), which may be y itself; leaves the largest logit in *highest and returns log sum_c
 * e^(y[c] - highest). The largest logit is taken off first, so nothing overflows; a logit of -inf takes no part. */
INLINE double scaled_softmax(const real *y, ptrdiff_t classes, double scale, real *p, real *highest)
{
    vec top = splat(y[0]);
    for (ptrdiff_t i = 0; i < classes; i += LANES) {
        vec x = load_first_or(y + i, classes - i, y[0]);
        top = choose(x > top, x, top);
    }
    *highest = max_lanes(top);

    vec sums = {0};
    for (ptrdiff_t i = 0; i < classes; i += LANES) {
        vec x = load_first_or(y + i, classes - i, -(real)INFINITY) - *highest;
        vec e = choose(x < EXP_LOW, splat(0), vexp(x)); /* vexp alone stays above 0 */
        store_first(p + i, e, classes - i);
        sums += e;
    }
    real sum = sum_lanes(sums);

    real factor = (real)scale / sum;
    for (ptrdiff_t i = 0; i < classes; i += LANES)
        store_first(p + i, load_first(p + i, classes - i) * factor, classes - i);
    return log((double)sum);
}

/* loss = log sum_c e^y[c] - y[target];  dy[c] = softmax(y)[c] - [c = target]. */
static double softmax_row(const void *y_, ptrdiff_t classes, ptrdiff_t target, double scale, void *dy_)
{
    const real *y = y_;
    real *dy = dy_, highest;
    const double log_sum = scaled_softmax(y, classes, scale, dy, &highest);
    dy[target] -= (real)scale;
    return log_sum + ((double)highest - (double)y[target]);
}

/* p = softmax(y), which may be y itself. */
static void softmax_array(const void *y, void *p, ptrdiff_t classes)
{
    real highest;
    scaled_softmax(y, classes, 1, p, &highest);
}

/* log(1 + e) for 0 <= e <= 1, as 2 artanh(s) with s = e / (2 + e); above sqrt 2 - 1 as ln 2 + log((1 + e) / 2), so
 * that |s| <= 0.172. The series' remainder is below half a unit in the last place, and s keeps relative accuracy
 * near 0. */
INLINE vec log_one_plus(vec e)
{
    ivec upper = e > (real)0.41421356237309504880;
    vec s = choose(upper, (e - (real)1) / (e + (real)3), e / (e + (real)2));
    vec s2 = s * s;
#if REAL_IS_DOUBLE
    vec p = splat(1.0 / 21.0);
    p = p * s2 + (real)(1.0 / 19.0);
    p = p * s2 + (real)(1.0 / 17.0);
    p = p * s2 + (real)(1.0 / 15.0);
    p = p * s2 + (real)(1.0 / 13.0);
    p = p * s2 + (real)(1.0 / 11.0);
    p = p * s2 + (real)(1.0 / 9.0);
#else
    vec p = splat((real)(1.0 / 9.0));
#endif
    p = p * s2 + (real)(1.0 / 7.0);
    p = p * s2 + (real)(1.0 / 5.0);
    p = p * s2 + (real)(1.0 / 3.0);
    vec twice = s + s;
    return choose(upper, splat((real)0.69314718055994530942), splat(0)) + (twice + twice * (s2 * p));
}

/* loss = log(1 + e^y) - target y, from the side where the exponential is at most 1;  dy = sigmoid(y) - target.
 * A target outside 0..1 gives NaN: that costs less than a look at every target beforehand. */
INLINE vec sigmoid_loss(vec y, vec target, vec *dy)
{
    vec e = vexp(choose(y < 0, y, -y));
    *dy = choose(y < 0, e, splat(1)) / ((real)1 + e) - target;
    vec loss = choose(y < 0, -y * target, y * ((real)1 - target)) + log_one_plus(e);
    return choose((target < 0) | (target > 1), splat((real)NAN), loss);
}

/* loss = (y - target)^2 / 2;  dy = y - target. */
INLINE vec squared_loss(vec y, vec target, vec *dy)
{
    *dy = y - target;
    return *dy * *dy * (real)0.5;
}

/* Lanes are emptied into a double every SPAN_BLOCK vectors: a float that sums a million losses would keep three digits. */
#define SPAN_BLOCK (64 * LANES)
#define SPAN(name, function)                                                             \
    static double name(const void *y_, const void *target_, ptrdiff_t n, double scale, void *dy_) \
    {                                                                                    \
        const real *y = y_, *target = target_;                                           \
        real *dy = dy_;                                                                  \
        double total = 0;                                                                \
        vec gradient;                                                                    \
        ptrdiff_t i = 0, whole = n - n % LANES;                                          \
        while (i < whole) {                                                              \
            ptrdiff_t stop = whole - i > SPAN_BLOCK ? i + SPAN_BLOCK : whole;            \
            vec sums = {0};                                                              \
            for (; i < stop; i += LANES) {                                               \
                sums += function(load(y + i), load(target + i), &gradient);              \
                store(dy + i, gradient * (real)scale);                                   \
            }                                                                            \
            total += sum_lanes(sums);                                                    \
        }                                                                                \
        if (i < n) {                                                                     \
            vec loss = function(load_first(y + i, n - i), load_first(target + i, n - i), &gradient); \
            store_first(dy + i, gradient * (real)scale, n - i);                          \
            for (ptrdiff_t lane = 0; lane < n - i; lane++)                               \
                total += loss[lane];                                                     \
        }                                                                                \
        return total;                                                                    \
    }

SPAN(sigmoid_span, sigmoid_loss)
SPAN(squared_span, squared_loss)
#undef SPAN
#undef SPAN_BLOCK

#endif
