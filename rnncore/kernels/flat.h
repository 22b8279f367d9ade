/* Passes over the flat buffers: norm, clipping, penalties, optimizer updates. Each reads and writes every array once.
 * Settings arrive as double and are rounded to `real` once.
 */
#ifndef RNNCORE_FLAT_H
#define RNNCORE_FLAT_H

#include <math.h>

#include "simd.h"

/* A sum in double kept as 16 partial sums: one running sum would be one chain of additions, and a fixed number of them
 * makes the order, and so the result, the same on every instruction set but for fused multiply-adds. */
#define PARTIAL_SUMS 16
#define WIDE_LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(double)))
#define PARTS (PARTIAL_SUMS / WIDE_LANES)

typedef double wide __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t wide_int __attribute__((vector_size(VECTOR_BYTES)));
typedef real narrow __attribute__((vector_size(VECTOR_BYTES / sizeof(double) * sizeof(real)), aligned(sizeof(real)), may_alias));

INLINE wide squared(wide x) { return x * x; }
INLINE wide absolute(wide x) { return (wide)((wide_int)x & INT64_MAX); }

INLINE void add_terms(const real *x, double factor, wide (*term)(wide), wide *parts)
{
    UNROLLED
    for (int j = 0; j < PARTS; j++)
        parts[j] += term(factor * __builtin_convertvector(*(const narrow *)(x + j * WIDE_LANES), wide));
}

/* The sum of term(factor * x[i]), of which term(0) is 0. */
INLINE double sum_terms(const real *x, double factor, wide (*term)(wide), ptrdiff_t n)
{
    wide parts[PARTS] = {{0}};
    double sums[PARTIAL_SUMS];
    real rest[PARTIAL_SUMS];
    ptrdiff_t i = 0;
    for (; i + PARTIAL_SUMS <= n; i += PARTIAL_SUMS)
        add_terms(x + i, factor, term, parts);
    for (ptrdiff_t k = 0; k < PARTIAL_SUMS; k += LANES)
        store(rest + k, load_first(x + i + k, n - i - k));
    add_terms(rest, factor, term, parts);
    memcpy(sums, parts, sizeof(sums));
    for (int half = PARTIAL_SUMS / 2; half; half /= 2)
        for (int k = 0; k < half; k++)
            sums[k] += sums[k + half];
    return sums[0];
}

static double sum_squares(const real *x, double factor, ptrdiff_t n) { return sum_terms(x, factor, squared, n); }

/* Whether no entry is NaN or infinite: these have all bits of the exponent set. Nothing is computed, so that a caller
 * need not set the floating-point state. */
static int all_finite_array(const void *x_, ptrdiff_t n)
{
    const real *x = x_;
    const lane_int exponent = ((lane_int)2 * EXPONENT_BIAS + 1) << EXPONENT_SHIFT;
    ivec parts[4] = {{0}};
    for (ptrdiff_t i = 0; i < n; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            parts[j] |= ((ivec)load_first(x + i + j * LANES, n - i - j * LANES) & exponent) == exponent;
    const ivec all = (parts[0] | parts[1]) | (parts[2] | parts[3]);
    lane_int found = 0;
    for (ptrdiff_t lane = 0; lane < LANES; lane++)
        found |= all[lane];
    return !found;
}

/* L2 norm. Squares of floats fit into a double, squares of doubles need not: beyond the bounds, where they may have
 * overflowed or lost digits, they are summed again with the entries scaled by a power of two. NaN stays NaN. */
static double norm_array(const void *x, ptrdiff_t n)
{
    double sum = sum_squares(x, 1.0, n);
    if (sum != sum || (sum > 1e-280 && sum < 1e300))
        return __builtin_sqrt(sum);
    double factor = sum > 1.0 ? 0x1p-600 : 0x1p+600;
    return __builtin_sqrt(sum_squares(x, factor, n)) / factor;
}

/* The product is taken in double: a float factor of a large norm would be subnormal. */
static void scale_array(void *x_, double factor, ptrdiff_t n)
{
    real *x = x_;
    ptrdiff_t i = 0;
    for (; i + WIDE_LANES <= n; i += WIDE_LANES) {
        narrow *at = (narrow *)(x + i);
        *at = __builtin_convertvector(factor * __builtin_convertvector(*at, wide), narrow);
    }
    for (; i < n; i++)
        x[i] = (real)(factor * x[i]);
}

INLINE vec magnitude(vec x) { return choose(x < 0, -x, x); }

/* Every entry to [-threshold, threshold]; returns the largest |entry| before, NaN if there was one, and NaN stays NaN. */
static double clip_value_array(void *x_, double threshold, ptrdiff_t n)
{
    real *x = x_;
    vec tops[4] = {{0}};
    ivec is_nan = {0};
    for (ptrdiff_t i = 0; i < n; i += 4 * LANES)
        for (int j = 0; j < 4; j++) {
            const ptrdiff_t at = i + j * LANES;
            const vec v = load_first(x + at, n - at), size = magnitude(v);
            is_nan |= v != v;
            tops[j] = choose(size > tops[j], size, tops[j]);
            store_first(x + at, clamp(v, (real)-threshold, (real)threshold), n - at);
        }
    real top = 0;
    for (int j = 0; j < 4; j++)
        top = max_lanes(tops[j]) > top ? max_lanes(tops[j]) : top;
    for (ptrdiff_t j = 0; j < LANES; j++)
        if (is_nan[j])
            return NAN;
    return (double)top;
}

/* dparams += strength * sign(params); returns strength * sum |params|. */
static double l1_array(const void *params_, void *dparams_, double strength, ptrdiff_t n)
{
    const real *params = params_;
    real *dparams = dparams_;
    const vec s = splat((real)strength);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec p = load_first(params + i, n - i);
        const vec signed_strength = choose(p > 0, s, choose(p < 0, -s, (real)0 * p));
        store_first(dparams + i, load_first(dparams + i, n - i) + signed_strength, n - i);
    }
    return strength * sum_terms(params, 1.0, absolute, n);
}

/* dparams += strength * params; returns strength / 2 * sum params^2. */
static double l2_array(const void *params_, void *dparams_, double strength, ptrdiff_t n)
{
    const real *params = params_;
    real *dparams = dparams_;
    const real s = (real)strength;
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_first(dparams + i, load_first(dparams + i, n - i) + s * load_first(params + i, n - i), n - i);
    return 0.5 * strength * sum_squares(params, 1.0, n);
}

/* velocity is not touched when momentum is 0, and may then be NULL. */
static void sgd_array(void *params_, const void *grads_, void *velocity_, double lr_, double momentum_, int nesterov,
                      ptrdiff_t n)
{
    real *params = params_, *velocity = velocity_;
    const real *grads = grads_;
    const real lr = (real)lr_, momentum = (real)momentum_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec g = load_first(grads + i, n - i);
        vec step = g;
        if (momentum_ != 0) {
            const vec v = momentum * load_first(velocity + i, n - i) + g;
            store_first(velocity + i, v, n - i);
            step = nesterov ? g + momentum * v : v;
        }
        store_first(params + i, load_first(params + i, n - i) - lr * step, n - i);
    }
}

/* velocity is not touched when momentum is 0, and may then be NULL. */
static void rmsprop_array(void *params_, const void *grads_, void *square_, void *velocity_, double lr_, double alpha_,
                          double eps_, double momentum_, ptrdiff_t n)
{
    real *params = params_, *square = square_, *velocity = velocity_;
    const real *grads = grads_;
    const real lr = (real)lr_, alpha = (real)alpha_, rest = (real)(1.0 - alpha_), eps = (real)eps_;
    const real momentum = (real)momentum_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec g = load_first(grads + i, n - i), s = alpha * load_first(square + i, n - i) + rest * (g * g);
        store_first(square + i, s, n - i);
        vec v = g / (vsqrt(s) + eps);
        if (momentum_ != 0) {
            v = momentum * load_first(velocity + i, n - i) + v;
            store_first(velocity + i, v, n - i);
        }
        store_first(params + i, load_first(params + i, n - i) - lr * v, n - i);
    }
}

/* step_size is lr over the first bias correction, root_correction the root of the second, keep 1 - lr * decay. */
static void adam_array(void *params_, const void *grads_, void *mean_, void *square_, double step_size_, double beta1_,
                       double beta2_, double eps_, double root_correction, double keep_, ptrdiff_t n)
{
    real *params = params_, *mean = mean_, *square = square_;
    const real *grads = grads_;
    const real step_size = (real)step_size_, rest1 = (real)(1.0 - beta1_), beta2 = (real)beta2_;
    const real rest2 = (real)(1.0 - beta2_), eps = (real)eps_, keep = (real)keep_;
    const real inverse_root = (real)(1.0 / root_correction);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec g = load_first(grads + i, n - i), before = load_first(mean + i, n - i);
        const vec m = before + rest1 * (g - before), s = beta2 * load_first(square + i, n - i) + rest2 * (g * g);
        store_first(mean + i, m, n - i);
        store_first(square + i, s, n - i);
        store_first(params + i, keep * load_first(params + i, n - i) - step_size * (m / (vsqrt(s) * inverse_root + eps)),
                    n - i);
    }
}

#undef PARTS
#undef WIDE_LANES
#undef PARTIAL_SUMS
#endif
