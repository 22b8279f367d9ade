/* Vectors of `real` for the instruction set this file is compiled for, and the gate functions on them.
 *
 * The including file (one of levels/) defines REAL (float or double) and VECTOR_BYTES (16, 32 or 64). GCC's
 * and Clang's vector types carry all arithmetic, so one text serves SSE2, AVX2, AVX-512 and NEON.
 *
 * exp and tanh share one reduction, y = n ln 2 + r with |r| <= ln 2 / 2, and one Taylor series for e^r - 1,
 * whose remainder lies below half a unit in the last place: r^8/8! = 5e-9 (float), r^14/14! = 4e-18 (double).
 * Every function lets NaN through: clamps are written so that a failed comparison keeps the operand.
 */
#ifndef RNNCORE_SIMD_H
#define RNNCORE_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if VECTOR_BYTES > 16
#include <immintrin.h>
#endif

typedef REAL real;
#if REAL_IS_DOUBLE
typedef int64_t lane_int;
#define EXPONENT_SHIFT 52
#define EXPONENT_BIAS 1023
#define ROUNDING_MAGIC 6755399441055744.0 /* 1.5 * 2^52: adding it rounds; the integer is in the low bits */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LOW (-708.0)
#define EXP_HIGH 709.0
#define SIGMOID_LOW (-708.39)
#define TANH_SATURATION 20.0
#else
typedef int32_t lane_int;
#define EXPONENT_SHIFT 23
#define EXPONENT_BIAS 127
#define ROUNDING_MAGIC 12582912.0f /* 1.5 * 2^23 */
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define EXP_LOW (-87.0f)
#define EXP_HIGH 88.0f
#define SIGMOID_LOW (-87.33f)
#define TANH_SATURATION 10.0f
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef lane_int ivec __attribute__((vector_size(VECTOR_BYTES)));

#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(real)))
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
/* Half of one vector's lanes, from lane k on, alternating with another's: indices for a shuffle. */
#define ZIP2(k) (k), (k) + LANES
#define ZIP4(k) ZIP2(k), ZIP2((k) + 1)
#define ZIP8(k) ZIP4(k), ZIP4((k) + 2)
#define ZIP16(k) ZIP8(k), ZIP8((k) + 4)
#if VECTOR_BYTES == 64 && !REAL_IS_DOUBLE
#define ZIPPED ZIP16
#elif VECTOR_BYTES == 64 || (VECTOR_BYTES == 32 && !REAL_IS_DOUBLE)
#define ZIPPED ZIP8
#elif VECTOR_BYTES == 32 || !REAL_IS_DOUBLE
#define ZIPPED ZIP4
#else
#define ZIPPED ZIP2
#endif
#define INLINE static inline __attribute__((always_inline))
/* Before a loop of few, constant rounds over vectors: unrolled later, neither compiler would see in time that the vectors
 * need no place in memory. */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* For a vector that several instructions take: GCC would have each of few load it anew. */
#if defined(__x86_64__) || defined(__i386__)
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#else
#define IN_REGISTER(x) (void)(x)
#endif

INLINE vec splat(real x) { return x - (vec){0}; }
INLINE vec load(const real *p) { return *(const vec_unaligned *)p; }
INLINE void store(real *p, vec x) { *(vec_unaligned *)p = x; }

#if VECTOR_BYTES == 64
#define FIRST(n) ((1u << ((n) < 0 ? 0 : (n))) - 1)
#if REAL_IS_DOUBLE
#define LOAD_FIRST(p, n, other) _mm512_mask_loadu_pd(other, (__mmask8)FIRST(n), p)
#define STORE_FIRST(p, n, x) _mm512_mask_storeu_pd(p, (__mmask8)FIRST(n), x)
#else
#define LOAD_FIRST(p, n, other) _mm512_mask_loadu_ps(other, (__mmask16)FIRST(n), p)
#define STORE_FIRST(p, n, x) _mm512_mask_storeu_ps(p, (__mmask16)FIRST(n), x)
#endif
#elif VECTOR_BYTES == 32
/* Lanes' numbers are compared with n. */
#if REAL_IS_DOUBLE
#define FIRST(n) ((__m256i)((ivec){0, 1, 2, 3} < (lane_int)(n)))
#define LOAD_FIRST(p, n, other) choose((ivec)FIRST(n), _mm256_maskload_pd(p, FIRST(n)), other)
#define STORE_FIRST(p, n, x) _mm256_maskstore_pd(p, FIRST(n), x)
#else
#define FIRST(n) ((__m256i)((ivec){0, 1, 2, 3, 4, 5, 6, 7} < (lane_int)(n)))
#define LOAD_FIRST(p, n, other) choose((ivec)FIRST(n), _mm256_maskload_ps(p, FIRST(n)), other)
#define STORE_FIRST(p, n, x) _mm256_maskstore_ps(p, FIRST(n), x)
#endif
#endif

/* mask ? a : b, lane by lane; mask is the result of a comparison. */
INLINE vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* The first n lanes, none if n is negative; the others are `other` on a load and left alone in memory on a store. What
 * lies beyond is not touched. */
INLINE vec load_first_or(const real *p, ptrdiff_t n, real other)
{
    if (n >= LANES)
        return load(p);
#ifdef LOAD_FIRST
    return LOAD_FIRST(p, n, splat(other));
#else
    vec x = splat(other);
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = p[i];
    return x;
#endif
}

INLINE vec load_first(const real *p, ptrdiff_t n) { return load_first_or(p, n, 0); }

INLINE void store_first(real *p, vec x, ptrdiff_t n)
{
    if (n >= LANES) {
        store(p, x);
        return;
    }
#ifdef STORE_FIRST
    STORE_FIRST(p, n, x);
#else
    for (ptrdiff_t i = 0; i < n; i++)
        p[i] = x[i];
#endif
}

/* Rows become columns. One round takes row i and row i + LANES/2 apart into their lanes and lays these alternately into
 * rows 2i and 2i + 1; each row's number, written in bits, then turns by one bit with the lane's: log2(LANES) rounds
 * exchange the two. */
INLINE void transpose(vec square[LANES])
{
    for (int round = 1; round < LANES; round *= 2) {
        vec mixed[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            const vec a = square[i], b = square[i + LANES / 2];
            mixed[2 * i] = SHUFFLE(a, b, ZIPPED(0));
            mixed[2 * i + 1] = SHUFFLE(a, b, ZIPPED(LANES / 2));
        }
        for (int i = 0; i < LANES; i++)
            square[i] = mixed[i];
    }
}

/* x within low..high; NaN stays NaN, which x86's min and max grant when x is their second operand. */
INLINE vec clamp(vec x, real low, real high)
{
#if VECTOR_BYTES == 64 && REAL_IS_DOUBLE
    return _mm512_max_pd(splat(low), _mm512_min_pd(splat(high), x));
#elif VECTOR_BYTES == 64
    return _mm512_max_ps(splat(low), _mm512_min_ps(splat(high), x));
#elif VECTOR_BYTES == 32 && REAL_IS_DOUBLE
    return _mm256_max_pd(splat(low), _mm256_min_pd(splat(high), x));
#elif VECTOR_BYTES == 32
    return _mm256_max_ps(splat(low), _mm256_min_ps(splat(high), x));
#else
    x = choose(x > high, splat(high), x);
    return choose(x < low, splat(low), x);
#endif
}

/* a / b for b from 1 to 1e38. One Newton step on the 14-bit estimate leaves an error below one unit in the
 * last place, in a fifth of the time of a division. */
INLINE vec divide(vec a, vec b)
{
#if VECTOR_BYTES == 64 && !REAL_IS_DOUBLE
    const vec estimate = _mm512_rcp14_ps(b);
    const vec quotient = a * estimate;
    /* Fused by name: where a compiler multiplies first, the correction of a tiny quotient is denormal, and flushed. */
    return _mm512_fmadd_ps(estimate, _mm512_fnmadd_ps(b, quotient, a), quotient);
#else
    return a / b;
#endif
}

INLINE vec vsqrt(vec x)
{
#if VECTOR_BYTES == 64 && REAL_IS_DOUBLE
    return _mm512_sqrt_pd(x);
#elif VECTOR_BYTES == 64
    return _mm512_sqrt_ps(x);
#elif VECTOR_BYTES == 32 && REAL_IS_DOUBLE
    return _mm256_sqrt_pd(x);
#elif VECTOR_BYTES == 32
    return _mm256_sqrt_ps(x);
#else
    for (ptrdiff_t i = 0; i < LANES; i++)
        x[i] = REAL_IS_DOUBLE ? (real)__builtin_sqrt(x[i]) : (real)__builtin_sqrtf((float)x[i]);
    return x;
#endif
}

/* e^r - 1 for |r| <= ln 2 / 2: neighbouring terms by pairs, and pairs by powers of r^2, for a stream of a small network
 * waits for this chain. */
INLINE vec exp_minus_one_reduced(vec r)
{
    const vec q = r * r;
    const vec first = r * (real)(1.0 / 6.0) + (real)0.5, second = r * (real)(1.0 / 120.0) + (real)(1.0 / 24.0);
    const vec third = r * (real)(1.0 / 5040.0) + (real)(1.0 / 720.0);
#if REAL_IS_DOUBLE
    const vec fourth = r * (1.0 / 362880.0) + 1.0 / 40320.0, fifth = r * (1.0 / 39916800.0) + 1.0 / 3628800.0;
    const vec sixth = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0, square = q * q;
    const vec p = ((sixth * q + fifth) * square + (fourth * q + third)) * square + (second * q + first);
#else
    const vec p = (third * q + second) * q + first;
#endif
    return p * q + r;
}

/* times y = n ln 2 + r for times = 1 or 2; returns r and the vector 2^n. */
INLINE vec reduce(vec y, const int times, vec *power)
{
    const vec shifted = y * (real)(times * 1.44269504088896340736) + ROUNDING_MAGIC;
    const vec n = shifted - ROUNDING_MAGIC;
    *power = (vec)((((ivec)shifted) << EXPONENT_SHIFT) + ((lane_int)EXPONENT_BIAS << EXPONENT_SHIFT));
    return ((times == 2 ? y + y : y) - n * LN2_HIGH) - n * LN2_LOW;
}

/* e^x for EXP_LOW <= x <= EXP_HIGH; beyond, the value at the bound (about 1e-38 and 1e38 in float). */
INLINE vec vexp(vec x)
{
    vec power;
    const vec r = reduce(clamp(x, EXP_LOW, EXP_HIGH), 1, &power);
    return exp_minus_one_reduced(r) * power + power;
}

/* 1 / (1 + e^-x). Below SIGMOID_LOW it would become denormal: it stays just above the smallest normal number, for x =
 * -infinity too. */
INLINE vec vsigmoid(vec x)
{
    vec power;
    const vec r = reduce(clamp(-x, EXP_LOW, -SIGMOID_LOW), 1, &power);
    return divide(splat(1), exp_minus_one_reduced(r) * power + (power + (real)1));
}

/* tanh x = em / (em + 2) with em = e^(2x) - 1: exact in the relative sense down to the smallest x, because
 * for n = 0 em is the series itself. */
INLINE vec vtanh(vec x)
{
    vec power;
    const vec r = reduce(clamp(x, -TANH_SATURATION, TANH_SATURATION), 2, &power), series = exp_minus_one_reduced(r);
    return divide(series * power + (power - (real)1), series * power + (power + (real)1));
}

INLINE vec vrelu(vec x) { return choose(x < 0, splat(0), x); }

/* Each round adds lane i + LANES/2 to lane i and doubles the lanes: log2(LANES) rounds leave the sum in all. */
INLINE real sum_lanes(vec x)
{
    for (int round = 1; round < LANES; round *= 2)
        x = SHUFFLE(x, x, ZIPPED(0)) + SHUFFLE(x, x, ZIPPED(LANES / 2));
    return x[0];
}

INLINE real max_lanes(vec x)
{
    for (int round = 1; round < LANES; round *= 2) {
        const vec low = SHUFFLE(x, x, ZIPPED(0)), high = SHUFFLE(x, x, ZIPPED(LANES / 2));
        x = choose(high > low, high, low);
    }
    return x[0];
}

#endif
