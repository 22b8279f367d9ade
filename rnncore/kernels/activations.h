/* Activations of layers, each beside its derivative. A number's result does not depend on its place, nor a row's on
 * the rows beside it. The kinds are numbered as in FUNCTIONS of rnncore/layers/activation.py. */
#include <math.h>

#include "losses.h"

enum {
    F_IDENTITY, F_SIGMOID, F_TANH, F_RELU, F_LEAKY_RELU, F_ELU, F_GELU, F_GELU_TANH, F_SILU, F_SOFTPLUS, F_SOFTSIGN,
    F_HARD_SIGMOID, F_PRELU, F_SOFTMAX, F_LOG_SOFTMAX
};

#define ROOT_HALF ((real)0.70710678118654752440)
#define GELU_SCALE ((real)1.59576912160573071176) /* 2 sqrt(2 / pi) */
#define GELU_CUBE ((real)0.044715)

/* The probability that a standard normal number is below x, and its density there.
 *
 * With z = |x| / sqrt 2 and t = 2.5 / (2.5 + z): erfc(z) = t e^(-z^2) p(2t - 1), where the polynomial is the Chebyshev
 * series of e^(z^2) erfc(z) / t over 0 <= t <= 1, cut where it is exact to 1e-8 (float) and 3e-16 (double). */
INLINE vec normal_below(vec x, vec *density)
{
#if REAL_IS_DOUBLE
    static const real p[] = {
        0.42161272812228721723, 0.32186073977565927633, 0.18156564665922276357, 0.068500458098447619615,
        0.011344620053543767871, -0.0033572177219048680955, -0.0019275142232051634728, 0.00017568332004232620557,
        0.00028107762359897706793, -0.000023323223494144641799, -0.000045042693600871802032, 7.8133353831103360839e-6,
        7.3004777451222568482e-6, -2.7029522241719812924e-6, -9.3933544233904878014e-7, 7.8725496835112635316e-7,
        7.6528759046111168935e-9, -1.8170530677190367432e-7, 4.4859777528788815392e-8, 2.9679824261374169809e-8,
        -1.4297276763253708035e-8, -2.5848158085343653755e-9, 1.8100251661179291662e-9, 1.3869554058265713748e-11,
    };
#else
    static const real p[] = {
        0.42161272587912611701f, 0.321860742926561781f, 0.18156581047508563642f, 0.068500367063908719748f,
        0.011342670473006241524f, -0.0033564564666552023025f, -0.0019189444662674612266f, 0.00017289277585216515268f,
        0.00026371632379318422453f, -0.000018125633785639273601f, -0.000028064051672275076033f,
        2.6628297664362761626e-6f,
    };
#endif
    const int terms = sizeof p / sizeof *p;
    const vec z = choose(x < 0, -x, x) * ROOT_HALF, square = z * z;
    const vec power = choose(-square < EXP_LOW, splat(0), vexp(-square));
    const vec t = splat((real)2.5) / (z + (real)2.5), s = t + t - (real)1;
    vec sum = splat(p[terms - 1]);
    UNROLLED for (int k = terms - 2; k >= 0; k--)
        sum = sum * s + p[k];
    const vec beyond = sum * t * power * (real)0.5;
    *density = power * (real)0.39894228040143267794;
    return choose(x < 0, beyond, (real)1 - beyond);
}

/* x times f where f falls to 0 for -infinity, and so does the product. */
INLINE vec gated(vec x, vec f) { return choose(f == 0, f, x * f); }

/* sigmoid(x), at most 1e-38 off for the smallest: a product with it may become 0. */
INLINE vec sigmoid_to_zero(vec x) { return choose(x < SIGMOID_LOW, splat(0), vsigmoid(x)); }

/* a (e^x - 1) for x < 0, else x. */
INLINE vec elu_of(vec x, vec a)
{
    vec power;
    const vec r = reduce(clamp(x, EXP_LOW, 0), 1, &power);
    return choose(x < 0, a * (exp_minus_one_reduced(r) * power + (power - (real)1)), x);
}

/* y = f(x); a is the slope or height that some kinds have. */
INLINE vec value_of(const int kind, vec x, vec a)
{
    vec density;
    switch (kind) {
    case F_SIGMOID: return vsigmoid(x);
    case F_TANH: return vtanh(x);
    case F_RELU: return vrelu(x);
    case F_LEAKY_RELU: return choose(x < 0, a * x, x);
    case F_ELU: return elu_of(x, a);
    case F_GELU: return gated(x, normal_below(x, &density));
    case F_GELU_TANH: return gated(x, sigmoid_to_zero(GELU_SCALE * (x + GELU_CUBE * x * x * x)));
    case F_SILU: return gated(x, sigmoid_to_zero(x));
    case F_SOFTPLUS: return vrelu(x) + log_one_plus(vexp(choose(x < 0, x, -x)));
    case F_SOFTSIGN: return x / (choose(x < 0, -x, x) + (real)1);
    case F_HARD_SIGMOID: return clamp(a * x + (real)0.5, 0, 1);
    default: return x;
    }
}

/* dy/dx, from y where `from_output` of activation.py says so, else from x. */
INLINE vec slope_of(const int kind, vec v, vec a)
{
    vec density, s;
    const vec one = splat(1);
    switch (kind) {
    case F_SIGMOID: return v * (one - v);
    case F_TANH: return one - v * v;
    case F_RELU: return choose(v > 0, one, splat(0));
    case F_LEAKY_RELU: return choose(v > 0, one, a);
    case F_ELU: return choose(v > 0, one, a * vexp(clamp(v, EXP_LOW, 0)));
    case F_GELU:
        s = normal_below(v, &density);
        return s + gated(v, density);
    case F_GELU_TANH:
        s = sigmoid_to_zero(GELU_SCALE * (v + GELU_CUBE * v * v * v));
        return s + GELU_SCALE * gated(v + (real)3 * GELU_CUBE * v * v * v, s * (one - s));
    case F_SILU:
        s = sigmoid_to_zero(v);
        return s + gated(v, s * (one - s));
    case F_SOFTPLUS: return vsigmoid(v);
    case F_SOFTSIGN:
        s = one / (choose(v < 0, -v, v) + one);
        return s * s;
    case F_HARD_SIGMOID: return choose((v > 0) & (v < one), a, splat(0));
    default: return one;
    }
}

#define KINDS(EACH) \
    EACH(F_SIGMOID) EACH(F_TANH) EACH(F_RELU) EACH(F_LEAKY_RELU) EACH(F_ELU) EACH(F_GELU) EACH(F_GELU_TANH) \
    EACH(F_SILU) EACH(F_SOFTPLUS) EACH(F_SOFTSIGN) EACH(F_HARD_SIGMOID)

/* y = x - log sum e^x, in place or not. */
INLINE void log_softmax_row(const real *x, real *y, ptrdiff_t n)
{
    vec top = splat(x[0]), sums = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec v = load_first_or(x + i, n - i, x[0]);
        top = choose(v > top, v, top);
    }
    const real highest = max_lanes(top);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec v = load_first_or(x + i, n - i, -(real)INFINITY) - highest;
        sums += choose(v < EXP_LOW, splat(0), vexp(v));
    }
    const real log_sum = (real)log((double)sum_lanes(sums));
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_first(y + i, load_first(x + i, n - i) - highest - log_sum, n - i);
}

/* y = f(x), row after row; y may be x itself. */
static void activate_rows(int kind, double alpha, const void *slopes, ptrdiff_t rows, ptrdiff_t features, const void *x_,
                     void *y_)
{
    const real *x = x_;
    real *y = y_, highest;
    const ptrdiff_t n = rows * features;
    const vec a = splat((real)alpha);
#define EACH(k)                                                                          \
    case k:                                                                              \
        for (ptrdiff_t i = 0; i < n; i += LANES)                                         \
            store_first(y + i, value_of(k, load_first(x + i, n - i), a), n - i);         \
        return;
    switch (kind) {
        KINDS(EACH)
    case F_PRELU:
        for (ptrdiff_t at = 0; at < n; at += features)
            for (ptrdiff_t i = 0; i < features; i += LANES) {
                const vec v = load_first(x + at + i, features - i), slope = load_first((const real *)slopes + i, features - i);
                store_first(y + at + i, value_of(F_LEAKY_RELU, v, slope), features - i);
            }
        return;
    case F_SOFTMAX:
        for (ptrdiff_t at = 0; at < n; at += features)
            scaled_softmax(x + at, features, 1, y + at, &highest);
        return;
    case F_LOG_SOFTMAX:
        for (ptrdiff_t at = 0; at < n; at += features)
            log_softmax_row(x + at, y + at, features);
        return;
    default:
        if (x != y)
            memcpy(y, x, (size_t)n * sizeof(real));
    }
#undef EACH
}

/* softmax:      dx = y (dy - sum(dy y))
 * log softmax:  dx = dy - e^y sum(dy) */
INLINE void softmax_back_row(const int logarithm, const real *y, const real *dy, real *dx, ptrdiff_t n)
{
    vec sums = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec d = load_first(dy + i, n - i);
        sums += logarithm ? d : d * load_first(y + i, n - i);
    }
    const real sum = sum_lanes(sums);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec d = load_first(dy + i, n - i), v = load_first(y + i, n - i);
        const vec p = logarithm ? choose(v < EXP_LOW, splat(0), vexp(v)) : v;
        store_first(dx + i, logarithm ? d - p * sum : p * (d - sum), n - i);
    }
}

/* dx = f'(v) dy; those of a PReLU's slopes are added to dslopes. dx may be dy itself. */
static void activate_rows_back(int kind, double alpha, const void *slopes, ptrdiff_t rows, ptrdiff_t features, const void *v_,
                          const void *dy_, void *dx_, void *dslopes)
{
    const real *v = v_, *dy = dy_;
    real *dx = dx_;
    const ptrdiff_t n = rows * features;
    const vec a = splat((real)alpha);
#define EACH(k)                                                                          \
    case k:                                                                              \
        for (ptrdiff_t i = 0; i < n; i += LANES)                                         \
            store_first(dx + i, slope_of(k, load_first(v + i, n - i), a) * load_first(dy + i, n - i), n - i); \
        return;
    switch (kind) {
        KINDS(EACH)
    case F_PRELU:
        for (ptrdiff_t i = 0; i < features; i += LANES) {
            const vec slope = load_first((const real *)slopes + i, features - i);
            vec sums = load_first((const real *)dslopes + i, features - i);
            for (ptrdiff_t at = i; at < n; at += features) {
                const vec x = load_first(v + at, features - i), d = load_first(dy + at, features - i);
                sums += choose(x < 0, x * d, splat(0));
                store_first(dx + at, slope_of(F_LEAKY_RELU, x, slope) * d, features - i);
            }
            store_first((real *)dslopes + i, sums, features - i);
        }
        return;
    case F_SOFTMAX:
    case F_LOG_SOFTMAX:
        for (ptrdiff_t at = 0; at < n; at += features)
            if (kind == F_SOFTMAX)
                softmax_back_row(0, v + at, dy + at, dx + at, features);
            else
                softmax_back_row(1, v + at, dy + at, dx + at, features);
        return;
    default:
        if (dx != dy)
            memcpy(dx, dy, (size_t)n * sizeof(real));
    }
#undef EACH
}
#undef KINDS
