/* Products with a matrix that is not packed, for weights that are used once.
 *
 * Packing reads a matrix and writes it, and the product reads it again: three times the traffic of a single step, whose
 * few rows do not pay for it. Here it is read once, in the order in which it is in memory:
 *
 * - rows along k: squares are transposed in registers and multiplied there; for more rows of A than a tile has, one panel
 *   at a time is packed, and used while it is in the second-level cache;
 * - columns side by side: slabs of a few rows, whose sums wait in memory for the next slab.
 *
 * The sums are the chains over k of product.h, with the same bits.
 */
#ifndef RNNCORE_UNPACKED_H
#define RNNCORE_UNPACKED_H

#include "product.h"
#include "table.h"

#define DIRECT_DEPTH 8   /* rows of a slab that is read in place: few streams */
#define COPIED_DEPTH 64  /* rows of a slab that is copied, for many rows of A: 16 KiB, in the first-level cache */
#define PANEL_DEPTH 2048 /* rows of a panel that the second-level cache holds: 0.5 MiB */

typedef void (*resumed_function)(ptrdiff_t, const real *const *, const real *, ptrdiff_t, real *const *);
typedef real Slab[COPIED_DEPTH * MAX_PANEL_VECTORS * LANES] __attribute__((aligned(64)));

#define RESUMED(R, C, used)                                                                                          \
    static __attribute__((noinline)) void resumed_##R##x##used##of##C(ptrdiff_t K, const real *const *a, const real *b, \
                                                                      ptrdiff_t ldb, real *const *out)               \
    {                                                                                                                \
        tile(R, C, used, 0, 1, K, a, 1, b, ldb, NULL, out);                                                          \
    }
#define SIX(C, used)                                                                                                 \
    RESUMED(1, C, used) RESUMED(2, C, used) RESUMED(3, C, used) RESUMED(4, C, used) RESUMED(5, C, used)             \
    RESUMED(6, C, used)
SIX(3, 3) RESUMED(7, 3, 3) RESUMED(8, 3, 3)
SIX(4, 1)
SIX(4, 2)
SIX(4, 3)
SIX(4, 4)
#undef SIX
#undef RESUMED
#define SIX(kind)                                                                                                    \
    NULL, resumed_1x##kind, resumed_2x##kind, resumed_3x##kind, resumed_4x##kind, resumed_5x##kind, resumed_6x##kind
static const resumed_function resumed_of_3[] = {SIX(3of3), resumed_7x3of3, resumed_8x3of3};
static const resumed_function resumed_of_4[][7] = {{SIX(1of4)}, {SIX(2of4)}, {SIX(3of4)}, {SIX(4of4)}};
#undef SIX

INLINE resumed_function resumed_tile(const int vectors, ptrdiff_t used, ptrdiff_t rows)
{
    return vectors == 3 ? resumed_of_3[rows] : resumed_of_4[used - 1][rows];
}

/* out[r] = a[r] B for R rows and LANES columns of B whose rows are along k: n of them, stride numbers apart. */
INLINE void sum_rows(const int R, ptrdiff_t K, const real *const *a, const real *source, ptrdiff_t n, ptrdiff_t stride,
                     real *const *out)
{
    vec sum[MAX_TILE_ROWS];
    UNROLLED
    for (int r = 0; r < R; r++)
        sum[r] = (vec){0};
    for (ptrdiff_t first = 0; first < K; first += LANES) {
        const ptrdiff_t depth = K - first < LANES ? K - first : LANES;
        vec square[LANES];
        load_square(source + first, n, stride, depth, rows_ahead(stride, first), square);
        if (depth == LANES)
            UNROLLED
            for (ptrdiff_t k = 0; k < LANES; k++)
                UNROLLED
                for (int r = 0; r < R; r++)
                    sum[r] += a[r][first + k] * square[k];
        else
            for (ptrdiff_t k = 0; k < depth; k++)
                UNROLLED
                for (int r = 0; r < R; r++)
                    sum[r] += a[r][first + k] * square[k];
    }
    UNROLLED
    for (int r = 0; r < R; r++)
        store(out[r], sum[r]);
}

#define SUM_ROWS(R)                                                                                                      static __attribute__((noinline)) void sum_rows_##R(ptrdiff_t K, const real *const *a, const real *source,                                                               ptrdiff_t n, ptrdiff_t stride, real *const *out)                  {                                                                                                                        sum_rows(R, K, a, source, n, stride, out);                                                                       }
SUM_ROWS(1)
SUM_ROWS(2)
SUM_ROWS(3)
SUM_ROWS(4)
SUM_ROWS(5)
SUM_ROWS(6)
SUM_ROWS(7)
SUM_ROWS(8)
#undef SUM_ROWS
static void (*const sums_of_rows[])(ptrdiff_t, const real *const *, const real *, ptrdiff_t, ptrdiff_t, real *const *) = {
    NULL,       sum_rows_1, sum_rows_2, sum_rows_3, sum_rows_4, sum_rows_5,
    sum_rows_6, sum_rows_7, sum_rows_8,
};

/* out[r] = a[r] B for one tile of rows and panel p. */
static void sum_panel(const Matrix *m, ptrdiff_t p, ptrdiff_t rows, const real *const *a, real *const *out)
{
    real *to[MAX_TILE_ROWS];
    for (ptrdiff_t j = 0; j < PANEL_VECTORS(m->gates); j++) {
        const ptrdiff_t n = m->units - unit_of(m, p, j);
        for (ptrdiff_t r = 0; r < rows; r++)
            to[r] = out[r] + j * LANES;
        if (n > 0)
            sums_of_rows[rows](m->K, a, source_of(m, p, j), n, m->unit_stride, to);
        else if (m->gates > 1)
            for (ptrdiff_t r = 0; r < rows; r++)
                store(to[r], (vec){0});
    }
}

INLINE const real *row_of(const Product *q, ptrdiff_t i)
{
    return (const real *)q->a + (q->places_a ? q->places_a[i] : i) * q->lda;
}

/* Sums of row i are complete: columns first..first+n-1 go where they belong, with what is added to them. */
INLINE void finish(const Product *q, ptrdiff_t i, ptrdiff_t first, ptrdiff_t n, const real *sums)
{
    real *out = (real *)q->out + (q->places_out ? q->places_out[i] : i) * q->ldo + first;
    const real *start = q->add ? out : q->start ? (const real *)q->start + first : NULL;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const vec sum = load(sums + j);
        store_first(out + j, start ? sum + load_first(start + j, n - j) : sum, n - j);
    }
}

/* One panel after the other: a tile of rows takes its slabs, more rows have it packed first. */
static void multiply_by_panel(const Product *q, const Matrix *m)
{
    const int vectors = PANEL_VECTORS(m->gates);
    const ptrdiff_t width = PANEL_WIDTH(m->gates), panels = PANEL_COUNT(m->units, m->gates);
    const real *row[MAX_TILE_ROWS];
    real *out[MAX_TILE_ROWS];
    Tile sums;
    for (ptrdiff_t p = 0; p < panels && p * width < q->columns; p++) {
        const ptrdiff_t used = m->gates == 1 ? vectors_used(vectors, m->units - p * width) : vectors;
        const ptrdiff_t limit = q->columns - p * width, columns = limit < used * LANES ? limit : used * LANES;
        const ptrdiff_t units = PANEL_UNITS(m->gates), left = m->units - p * units;
        if (q->n > TILE_ROWS(vectors) || m->k_stride != 1) {
            pack_panel(m, p, 0, m->K, q->room);
            multiply(q->n, q->a, q->places_a, q->lda, m->K, q->room, left < units ? left : units, m->gates,
                     q->start ? (const real *)q->start + p * width : NULL, q->add, (real *)q->out + p * width,
                     q->places_out, q->ldo, columns);
            continue;
        }
        for (ptrdiff_t r = 0; r < q->n; r++) {
            row[r] = row_of(q, r);
            out[r] = sums + r * width;
        }
        sum_panel(m, p, q->n, row, out);
        for (ptrdiff_t r = 0; r < q->n; r++)
            finish(q, r, p * width, columns, out[r]);
    }
}

/* The rows of B slab by slab as they follow one another in memory, columns side by side. */
static void multiply_by_rows(const Product *q, const Matrix *m)
{
    const ptrdiff_t width = PANEL_WIDTH(1), wide = PANEL_COUNT(m->units, 1) * width;
    const ptrdiff_t most = q->n > TILE_ROWS(4) ? COPIED_DEPTH : DIRECT_DEPTH;
    real *sums = q->room;
    Slab slab;
    memset(sums, 0, q->n * wide * sizeof(real));
    for (ptrdiff_t k = 0; k < m->K; k += most) {
        const ptrdiff_t depth = m->K - k < most ? m->K - k : most;
        for (ptrdiff_t p = 0; p * width < m->units; p++) {
            const ptrdiff_t left = m->units - p * width, used = vectors_used(4, left);
            const int direct = q->n <= TILE_ROWS(4) && left >= used * LANES;
            const real *b = direct ? m->w + k * m->k_stride + p * width : slab;
            if (!direct)
                pack_panel(m, p, k, depth, slab);
            for (ptrdiff_t i = 0; direct && i < depth; i++)
                UNROLLED
                for (ptrdiff_t j = 0; j < PANEL_WIDTH(1); j += 64 / (ptrdiff_t)sizeof(real))
                    __builtin_prefetch(b + (depth + i) * m->k_stride + j, 0, 2);
            for (ptrdiff_t i = 0, rows; i < q->n; i += rows) {
                const real *row[MAX_TILE_ROWS];
                real *out[MAX_TILE_ROWS];
                rows = tile_height(TILE_ROWS(4), q->n - i);
                for (ptrdiff_t r = 0; r < rows; r++) {
                    row[r] = row_of(q, i + r) + k;
                    out[r] = sums + (i + r) * wide + p * width;
                }
                resumed_tile(4, used, rows)(depth, row, b, direct ? m->k_stride : width, out);
            }
        }
    }
    for (ptrdiff_t i = 0; i < q->n; i++)
        finish(q, i, 0, q->columns < wide ? q->columns : wide, sums + i * wide);
}

/* A product as multiply makes it, of an unpacked matrix. */
static void multiply_unpacked(const Product *q)
{
    const Matrix m = {q->weight, q->K, q->units, q->gates, q->gate_stride, q->unit_stride, q->k_stride};
    if (m.gates == 1 && m.unit_stride == 1 && q->n <= m.K && (q->n <= TILE_ROWS(4) || m.K > PANEL_DEPTH))
        multiply_by_rows(q, &m);
    else
        multiply_by_panel(q, &m);
}

#endif
