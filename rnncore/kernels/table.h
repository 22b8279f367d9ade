/* What one instruction set offers for one type: a table of functions, filled in by level.h, chosen once at
 * import. Pointers to numbers are void *, because one table type serves float and double; dispatch.pxd
 * hands out the right one. */
#ifndef RNNCORE_TABLE_H
#define RNNCORE_TABLE_H

#include "program.h"
#include "step.h"

/* out = A B, + start or + out, where B (K, gates * units) is not packed: B[k][g, u] = weight[g * gate_stride + u *
 * unit_stride + k * k_stride], one of the last two strides 1. Rows of A, out and columns are those of multiply. */
typedef struct {
    ptrdiff_t n;
    const void *a;
    const ptrdiff_t *places_a;
    ptrdiff_t lda;
    ptrdiff_t K;
    const void *weight;
    ptrdiff_t units;
    int gates;
    ptrdiff_t gate_stride, unit_stride, k_stride;
    const void *start;
    int add;
    void *out;
    const ptrdiff_t *places_out;
    ptrdiff_t ldo, columns;
    void *room; /* as long as B packed */
} Product;

typedef struct {
    const char *name;      /* "avx512", "avx2" or "baseline" */
    ptrdiff_t lanes;       /* numbers in a vector */
    /* y[i] = f(x[i]) for n numbers; x and y may be the same array. */
    void (*exp)(const void *x, void *y, ptrdiff_t n);
    void (*tanh)(const void *x, void *y, ptrdiff_t n);
    void (*sigmoid)(const void *x, void *y, ptrdiff_t n);
    void (*softmax)(const void *x, void *y, ptrdiff_t n); /* of one row */
    /* n numbers of rows that masks stand between: elementwise.h. */
    void (*times)(const void *a, const void *b, void *out, ptrdiff_t n, int add);
    void (*blend)(const void *keep, const void *new_side, const void *old_side, void *out, ptrdiff_t n);
    void (*split)(const void *keep, const void *total, void *new_side, void *old_side, ptrdiff_t n);
    /* y = f(x), and dx = f'(x) dy, of rows of so many features: activations.h. */
    void (*activate)(int kind, double alpha, const void *slopes, ptrdiff_t rows, ptrdiff_t features, const void *x, void *y);
    void (*activate_back)(int kind, double alpha, const void *slopes, ptrdiff_t rows, ptrdiff_t features, const void *v,
                          const void *dy, void *dx, void *dslopes);
    /* Passes over the n numbers of a flat buffer, described in flat.h. */
    int (*all_finite)(const void *x, ptrdiff_t n);
    double (*norm)(const void *x, ptrdiff_t n);
    void (*scale)(void *x, double factor, ptrdiff_t n);
    double (*clip_value)(void *x, double threshold, ptrdiff_t n);
    double (*l1)(const void *params, void *dparams, double strength, ptrdiff_t n);
    double (*l2)(const void *params, void *dparams, double strength, ptrdiff_t n);
    void (*sgd)(void *params, const void *grads, void *velocity, double lr, double momentum, int nesterov, ptrdiff_t n);
    void (*rmsprop)(void *params, const void *grads, void *square, void *velocity, double lr, double alpha, double eps,
                    double momentum, ptrdiff_t n);
    void (*adam)(void *params, const void *grads, void *mean, void *square, double step_size, double beta1, double beta2,
                 double eps, double root_correction, double keep, ptrdiff_t n);
    /* Sums of losses, with scale times the gradient in dy: losses.h. */
    double (*softmax_row)(const void *y, ptrdiff_t classes, ptrdiff_t target, double scale, void *dy);
    double (*sigmoid_span)(const void *y, const void *target, ptrdiff_t n, double scale, void *dy);
    double (*squared_span)(const void *y, const void *target, ptrdiff_t n, double scale, void *dy);
    int blas;                 /* whether BLAS is faster for the weight gradients: level.h */
    ptrdiff_t block_rows; /* columns of A that accumulate_outer takes at once */
    /* Products on packed panels: product.h. */
    ptrdiff_t (*packed_size)(ptrdiff_t K, ptrdiff_t units, int gates);
    void (*pack)(const void *w, ptrdiff_t K, ptrdiff_t units, int gates, ptrdiff_t gate_stride, ptrdiff_t unit_stride,
                 ptrdiff_t k_stride, int share, int shares, void *packed);
    void (*pack_rows)(const void *w, ptrdiff_t ld, const ptrdiff_t *places, ptrdiff_t K, ptrdiff_t units, int share,
                      int shares, void *packed);
    void (*multiply)(ptrdiff_t n, const void *a, const ptrdiff_t *places_a, ptrdiff_t lda, ptrdiff_t K, const void *packed,
                     ptrdiff_t units, int gates, const void *start, int add, void *out, const ptrdiff_t *places_out,
                     ptrdiff_t ldo, ptrdiff_t columns);
    void (*multiply_unpacked)(const Product *product);
    int (*is_narrow)(ptrdiff_t units, int gates); /* narrow.h */
    void (*multiply_narrow)(ptrdiff_t n, const void *a, const ptrdiff_t *places_a, ptrdiff_t lda, ptrdiff_t K,
                            const void *packed, ptrdiff_t units, int gates, const void *start, void *out);
    void (*accumulate_outer)(ptrdiff_t K, const void *a, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last, const void *packed,
                             ptrdiff_t units, void *out, ptrdiff_t ldo, const void *packed2, ptrdiff_t units2, void *out2,
                             ptrdiff_t ldo2);
    void (*add_rows)(ptrdiff_t K, const void *a, ptrdiff_t lda, ptrdiff_t columns, void *sums);
    void (*add_products)(ptrdiff_t K, const void *a, ptrdiff_t lda, const void *b, const ptrdiff_t *places, ptrdiff_t ldb,
                         ptrdiff_t columns, void *sums);
    /* One step of each cell, forward and backward: cells.h. */
    void (*elman_forward)(const Step *step);
    void (*elman_backward)(const Step *step);
    void (*leaky_forward)(const Step *step);
    void (*leaky_backward)(const Step *step);
    void (*lstm_forward)(const Step *step);
    void (*lstm_backward)(const Step *step);
    void (*lstm_variant_forward)(const Step *step);
    void (*lstm_variant_backward)(const Step *step);
    void (*lstm_coupled_forward)(const Step *step);
    void (*lstm_coupled_backward)(const Step *step);
    void (*gru_forward)(const Step *step);
    void (*gru_backward)(const Step *step);
    void (*gru_variant_forward)(const Step *step);
    void (*gru_variant_backward)(const Step *step);
    void (*gru_before_forward)(const Step *step);
    void (*gru_before_backward)(const Step *step);
    /* Many steps of one row of at most `small_units`: small.h. */
    ptrdiff_t small_units;
    void (*elman_steps)(const Run *run);
    void (*lstm_steps)(const Run *run);
    void (*gru_steps)(const Run *run);
    void (*clip_rows)(const Step *step, double threshold, Clipped *clipped);
    /* Cells written as their equations: interpreter.h. */
    void (*run_program)(const Program *program, ptrdiff_t n, const ptrdiff_t *rows, const Rows *arrays);
    void (*clip_states)(ptrdiff_t n, const ptrdiff_t *rows, const Rows *states, int n_states, double threshold,
                        Clipped *clipped);
} Kernels;

#if defined(__x86_64__) || defined(_M_X64)
#define RNNCORE_X86 1
extern const Kernels rnncore_avx512_float, rnncore_avx512_double, rnncore_avx2_float, rnncore_avx2_double;
#else
#define RNNCORE_X86 0
#endif
extern const Kernels rnncore_baseline_float, rnncore_baseline_double;

/* Best first; NULL past the last level this processor has. */
static inline const Kernels *rnncore_level(int index, int is_double)
{
    const Kernels *found[3];
    int n = 0;
#if RNNCORE_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        found[n++] = is_double ? &rnncore_avx512_double : &rnncore_avx512_float;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = is_double ? &rnncore_avx2_double : &rnncore_avx2_float;
#endif
    found[n++] = is_double ? &rnncore_baseline_double : &rnncore_baseline_float;
    return index < n ? found[index] : NULL;
}

#endif
