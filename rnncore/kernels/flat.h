/* Passes over the flat buffers: norm, clipping, penalties, optimizer updates. Each reads and writes every array once;
 * no loop branches, so that the compiler vectorises it. Settings arrive as double and are rounded to `real` once.
 */
#include <math.h>

#include "simd.h"

#if REAL_IS_DOUBLE
#define SQRT __builtin_sqrt
#define ABS __builtin_fabs
#else
#define SQRT __builtin_sqrtf
#define ABS __builtin_fabsf
#endif

/* A sum in double kept as 16 partial sums: one running sum would be one chain of additions, and a fixed number of them
 * makes the order, and so the result, the same on every instruction set but for fused multiply-adds. */
#define PARTIAL_SUMS 16

INLINE double sum_partial(const double *partial)
{
    double total = 0;
    for (int j = 0; j < PARTIAL_SUMS; j++)
        total += partial[j];
    return total;
}

static double sum_squares(const real *x, double factor, ptrdiff_t n)
{
    double partial[PARTIAL_SUMS] = {0};
    ptrdiff_t whole = n - n % PARTIAL_SUMS;
    for (ptrdiff_t i = 0; i < whole; i += PARTIAL_SUMS)
        for (int j = 0; j < PARTIAL_SUMS; j++) {
            double v = factor * (double)x[i + j];
            partial[j] += v * v;
        }
    for (ptrdiff_t i = whole; i < n; i++) {
        double v = factor * (double)x[i];
        partial[i - whole] += v * v;
    }
    return sum_partial(partial);
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
    real *restrict x = x_;
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = (real)(factor * (double)x[i]);
}

/* Every entry to [-threshold, threshold]; returns the largest |entry| before, NaN if there was one, and NaN stays NaN. */
static double clip_value_array(void *x_, double threshold, ptrdiff_t n)
{
    real *x = x_;
    vec top = {0};
    ivec is_nan = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec v = load_first(x + i, n - i);
        vec magnitude = choose(v < 0, -v, v);
        is_nan |= v != v;
        top = choose(magnitude > top, magnitude, top);
        store_first(x + i, clamp(v, (real)-threshold, (real)threshold), n - i);
    }
    for (ptrdiff_t j = 0; j < LANES; j++)
        if (is_nan[j])
            return NAN;
    return (double)max_lanes(top);
}

/* dparams += strength * sign(params); returns strength * sum |params|. */
static double l1_array(const void *params_, void *dparams_, double strength, ptrdiff_t n)
{
    const real *restrict params = params_;
    real *restrict dparams = dparams_;
    const real s = (real)strength;
    double partial[PARTIAL_SUMS] = {0};
    for (ptrdiff_t i = 0; i < n; i++) {
        real p = params[i];
        dparams[i] += p > 0 ? s : (p < 0 ? -s : 0 * p);
    }
    ptrdiff_t whole = n - n % PARTIAL_SUMS;
    for (ptrdiff_t i = 0; i < whole; i += PARTIAL_SUMS)
        for (int j = 0; j < PARTIAL_SUMS; j++)
            partial[j] += (double)ABS(params[i + j]);
    for (ptrdiff_t i = whole; i < n; i++)
        partial[i - whole] += (double)ABS(params[i]);
    return strength * sum_partial(partial);
}

/* dparams += strength * params; returns strength / 2 * sum params^2. */
static double l2_array(const void *params_, void *dparams_, double strength, ptrdiff_t n)
{
    const real *restrict params = params_;
    real *restrict dparams = dparams_;
    const real s = (real)strength;
    for (ptrdiff_t i = 0; i < n; i++)
        dparams[i] += s * params[i];
    return 0.5 * strength * sum_squares(params, 1.0, n);
}

/* velocity is not touched when momentum is 0, and may then be NULL. */
static void sgd_array(void *params_, const void *grads_, void *velocity_, double lr_, double momentum_, int nesterov,
                      ptrdiff_t n)
{
    real *restrict params = params_;
    const real *restrict grads = grads_;
    real *restrict velocity = velocity_;
    const real lr = (real)lr_, momentum = (real)momentum_;
    if (momentum_ == 0) {
        for (ptrdiff_t i = 0; i < n; i++)
            params[i] -= lr * grads[i];
    } else if (nesterov) {
        for (ptrdiff_t i = 0; i < n; i++) {
            real v = momentum * velocity[i] + grads[i];
            velocity[i] = v;
            params[i] -= lr * (grads[i] + momentum * v);
        }
    } else {
        for (ptrdiff_t i = 0; i < n; i++) {
            real v = momentum * velocity[i] + grads[i];
            velocity[i] = v;
            params[i] -= lr * v;
        }
    }
}

/* velocity is not touched when momentum is 0, and may then be NULL. */
static void rmsprop_array(void *params_, const void *grads_, void *square_, void *velocity_, double lr_, double alpha_,
                          double eps_, double momentum_, ptrdiff_t n)
{
    real *restrict params = params_;
    const real *restrict grads = grads_;
    real *restrict square = square_;
    real *restrict velocity = velocity_;
    const real lr = (real)lr_, alpha = (real)alpha_, rest = (real)(1.0 - alpha_), eps = (real)eps_;
    const real momentum = (real)momentum_;
    if (momentum_ == 0) {
        for (ptrdiff_t i = 0; i < n; i++) {
            real g = grads[i];
            real s = alpha * square[i] + rest * (g * g);
            square[i] = s;
            params[i] -= lr * (g / (SQRT(s) + eps));
        }
    } else {
        for (ptrdiff_t i = 0; i < n; i++) {
            real g = grads[i];
            real s = alpha * square[i] + rest * (g * g);
            square[i] = s;
            real v = momentum * velocity[i] + g / (SQRT(s) + eps);
            velocity[i] = v;
            params[i] -= lr * v;
        }
    }
}

/* step_size is lr over the first bias correction, root_correction the root of the second, keep 1 - lr * decay. */
static void adam_array(void *params_, const void *grads_, void *mean_, void *square_, double step_size_, double beta1_,
                       double beta2_, double eps_, double root_correction, double keep_, ptrdiff_t n)
{
    real *restrict params = params_;
    const real *restrict grads = grads_;
    real *restrict mean = mean_;
    real *restrict square = square_;
    const real step_size = (real)step_size_, rest1 = (real)(1.0 - beta1_), beta2 = (real)beta2_;
    const real rest2 = (real)(1.0 - beta2_), eps = (real)eps_, keep = (real)keep_;
    const real inverse_root = (real)(1.0 / root_correction);
    for (ptrdiff_t i = 0; i < n; i++) {
        real g = grads[i];
        real m = mean[i] + rest1 * (g - mean[i]);
        real s = beta2 * square[i] + rest2 * (g * g);
        mean[i] = m;
        square[i] = s;
        params[i] = keep * params[i] - step_size * (m / (SQRT(s) * inverse_root + eps));
    }
}

#undef SQRT
#undef ABS
#undef PARTIAL_SUMS
