/* Matrix products on packed panels and register tiles.
 *
 * A matrix B (K, N) is packed once and used many times: N columns are cut into panels of C vectors, and a
 * panel holds its K rows one after the other, so that a tile walks it in order. A panel of gated columns
 * holds the same units of every gate side by side, [i f g o] of 16 units for AVX-512, so that a cell finds
 * all it needs of a unit in one tile.
 *
 * A tile multiplies up to R rows of A with one panel, R*C sums in registers: 24 of AVX-512's 32, 12 of the
 * 16 that AVX2 and SSE2 have. An entry is always summed over k = 0, 1, ... K-1 in this order by one fused
 * chain, whatever the tile's height: a row's result does not depend on the rows it is computed with.
 *
 * Cost: 2 K flops an entry; K*C vectors of B read per R rows. On one AVX-512 core 217 to 245 GFLOP/s for K
 * = 32 to 512.
 */
#include "simd.h"

/* Vectors in a panel: one for each gate, four where there is one gate. */
#define PANEL_VECTORS(gates) ((gates) == 1 ? 4 : (gates))
#define PANEL_WIDTH(gates) (PANEL_VECTORS(gates) * LANES)
#define PANEL_UNITS(gates) (PANEL_WIDTH(gates) / (gates))
#define PANEL_COUNT(units, gates) (((units) + PANEL_UNITS(gates) - 1) / PANEL_UNITS(gates))

#if VECTOR_REGISTERS >= 32
#define TILE_VECTORS(vectors) (vectors)
#define TILE_ROWS(vectors) ((vectors) == 4 ? 6 : 8)
#else
#define TILE_VECTORS(vectors) ((vectors) == 4 ? 2 : 3)
#define TILE_ROWS(vectors) ((vectors) == 4 ? 6 : 4)
#endif
#define MAX_TILE_ROWS 8
#define MAX_PANEL_VECTORS 4
#define BLOCK_ROWS TILE_ROWS(4) /* columns of A in a packed block */
#define BLOCK_DEPTH 512         /* rows of A in a packed block: 12 KiB in float */

typedef real Tile[MAX_TILE_ROWS * MAX_PANEL_VECTORS * LANES] __attribute__((aligned(64)));
typedef void (*tile_function)(ptrdiff_t, const real *const *, const real *, real *);

/* out[r][j] = sum over k of a[r][k * stride] * b[k][j], for constant R rows and the first `used` of C
 * vectors of columns j. */
INLINE void tile(const int R, const int C, const int used, ptrdiff_t K, const real *const *a, const ptrdiff_t stride,
                 const real *b, real *out)
{
    const int V = used < TILE_VECTORS(C) ? used : TILE_VECTORS(C);
    const real *row[MAX_TILE_ROWS];
    for (int r = 0; r < R; r++)
        row[r] = a[r];
    for (int first = 0; first < used; first += V) {
        vec sum[MAX_TILE_ROWS][MAX_PANEL_VECTORS];
        for (int r = 0; r < R; r++)
            for (int j = 0; j < V; j++)
                sum[r][j] = (vec){0};
        const real *panel = b + first * LANES;
        for (ptrdiff_t k = 0; k < K; k++) {
            vec column[MAX_PANEL_VECTORS];
            for (int j = 0; j < V; j++)
                column[j] = *(const vec *)(panel + (k * C + j) * LANES);
            for (int r = 0; r < R; r++)
                for (int j = 0; j < V; j++)
                    sum[r][j] += row[r][k * stride] * column[j];
        }
        for (int r = 0; r < R; r++)
            for (int j = 0; j < V; j++)
                *(vec *)(out + (r * C + first + j) * LANES) = sum[r][j];
    }
}

/* One row times two neighbouring panels: a single panel's C sums would wait for each other's latency. */
INLINE void tile_pair(const int C, ptrdiff_t K, const real *a, const real *b, real *out)
{
    vec sum[2 * MAX_PANEL_VECTORS];
    for (int j = 0; j < 2 * C; j++)
        sum[j] = (vec){0};
    for (ptrdiff_t k = 0; k < K; k++)
        for (int j = 0; j < C; j++) {
            sum[j] += a[k] * *(const vec *)(b + (k * C + j) * LANES);
            sum[C + j] += a[k] * *(const vec *)(b + ((K + k) * C + j) * LANES);
        }
    for (int j = 0; j < 2 * C; j++)
        *(vec *)(out + j * LANES) = sum[j];
}

#define TILE(R, C, used)                                                                                        \
    static __attribute__((noinline)) void tile_##R##x##used##of##C(ptrdiff_t K, const real *const *a,           \
                                                                   const real *b, real *out)                    \
    {                                                                                                           \
        tile(R, C, used, K, a, 1, b, out);                                                                      \
    }
TILE(1, 3, 3) TILE(2, 3, 3) TILE(3, 3, 3) TILE(4, 3, 3) TILE(5, 3, 3) TILE(6, 3, 3) TILE(7, 3, 3) TILE(8, 3, 3)
TILE(1, 4, 4) TILE(2, 4, 4) TILE(3, 4, 4) TILE(4, 4, 4) TILE(5, 4, 4) TILE(6, 4, 4)
TILE(1, 4, 2) TILE(2, 4, 2) TILE(3, 4, 2) TILE(4, 4, 2) TILE(5, 4, 2) TILE(6, 4, 2)
#undef TILE

/* By number of rows, 1 and up. */
static const tile_function tiles_of_3[] = {NULL,       tile_1x3of3, tile_2x3of3, tile_3x3of3, tile_4x3of3,
                                           tile_5x3of3, tile_6x3of3, tile_7x3of3, tile_8x3of3};
static const tile_function tiles_of_4[] = {NULL,       tile_1x4of4, tile_2x4of4, tile_3x4of4,
                                           tile_4x4of4, tile_5x4of4, tile_6x4of4};
static const tile_function halves_of_4[] = {NULL,       tile_1x2of4, tile_2x2of4, tile_3x2of4,
                                            tile_4x2of4, tile_5x2of4, tile_6x2of4};

/* Vectors of a panel of plain columns that a tile computes where `columns` are left: a half if that is
 * enough. */
INLINE ptrdiff_t vectors_used(int vectors, ptrdiff_t columns)
{
    return vectors == 4 && columns <= 2 * LANES ? 2 : vectors;
}

INLINE void multiply_tile(const int vectors, ptrdiff_t used, ptrdiff_t rows, ptrdiff_t K, const real *const *a,
                          const real *b, real *out)
{
    (vectors == 3 ? tiles_of_3 : used == 2 ? halves_of_4 : tiles_of_4)[rows](K, a, b, out);
}

static ptrdiff_t packed_size(ptrdiff_t K, ptrdiff_t units, int gates)
{
    return PANEL_COUNT(units, gates) * PANEL_WIDTH(gates) * K;
}

/* Pack B (K, gates * units) with B[k][g, u] = w[g * gate_stride + u * unit_stride + k * k_stride]; units
 * beyond the last are zero. */
static void pack(const void *w_, ptrdiff_t K, ptrdiff_t units, int gates, ptrdiff_t gate_stride, ptrdiff_t unit_stride,
                 ptrdiff_t k_stride, void *packed_)
{
    const real *w = w_;
    real *packed = packed_;
    const ptrdiff_t width = PANEL_WIDTH(gates), per_panel = PANEL_UNITS(gates);
    for (ptrdiff_t first = 0; first < units; first += per_panel, packed += width * K) {
        for (ptrdiff_t column = 0; column < width; column += LANES) {
            const int gate = (int)(column / LANES % gates);
            const ptrdiff_t unit = first + column / LANES / gates * LANES;
            const ptrdiff_t n = units - unit < LANES ? units - unit : LANES;
            const real *source = w + gate * gate_stride + unit * unit_stride;
            real *target = packed + column;
            for (ptrdiff_t k = 0; k < K; k++) {
                if (n == LANES && unit_stride == 1)
                    store(target + k * width, load(source + k * k_stride));
                else
                    for (ptrdiff_t i = 0; i < LANES; i++)
                        target[k * width + i] = i < n ? source[i * unit_stride + k * k_stride] : 0;
            }
        }
    }
}

/* Pack the rows w[places[k]] (K, units), as panels first..last-1 of B; without places, rows 0, 1, 2... */
static void pack_rows(const void *w_, const ptrdiff_t *places, ptrdiff_t K, ptrdiff_t units, ptrdiff_t first_panel,
                      ptrdiff_t last_panel, void *packed_)
{
    const real *w = w_;
    const ptrdiff_t width = PANEL_WIDTH(1);
    for (ptrdiff_t p = first_panel; p < last_panel; p++) {
        real *panel = (real *)packed_ + p * width * K;
        for (ptrdiff_t k = 0; k < K; k++)
            for (ptrdiff_t j = 0; j < width; j += LANES) {
                const ptrdiff_t unit = p * width + j;
                store(panel + k * width + j, unit < units ? load_first(w + (places ? places[k] : k) * units + unit, units - unit)
                                                          : (vec){0});
            }
    }
}

/* out = A B (+ start): rows a[places_a[i]] (stride lda) times packed B into out[places_out[i]] (stride
 * ldo), columns in the order of the panels, those at or beyond `columns` left out; either list of places
 * may be NULL for 0, 1, 2... start (one packed row) may be NULL; with `add`, out is added to. */
static void multiply(ptrdiff_t n, const void *a_, const ptrdiff_t *places_a, ptrdiff_t lda, ptrdiff_t K,
                     const void *packed, ptrdiff_t units, int gates, const void *start_, int add, void *out_,
                     const ptrdiff_t *places_out, ptrdiff_t ldo, ptrdiff_t columns)
{
    const real *a = a_, *b = packed, *start = start_;
    const int vectors = PANEL_VECTORS(gates);
    const ptrdiff_t width = vectors * LANES, panels = PANEL_COUNT(units, gates), height = TILE_ROWS(vectors);
    Tile sums;
    for (ptrdiff_t p = 0; p < panels; p++, b += width * K) {
        const ptrdiff_t limit = columns - p * width;
        const ptrdiff_t used = gates == 1 ? vectors_used(vectors, units - p * width) : vectors;
        for (ptrdiff_t i = 0; i < n; i += height) {
            const ptrdiff_t rows = n - i < height ? n - i : height;
            const real *row[MAX_TILE_ROWS];
            for (ptrdiff_t r = 0; r < rows; r++)
                row[r] = a + (places_a ? places_a[i + r] : i + r) * lda;
            multiply_tile(vectors, used, rows, K, row, b, sums);
            for (ptrdiff_t r = 0; r < rows; r++) {
                real *out = (real *)out_ + (places_out ? places_out[i + r] : i + r) * ldo + p * width;
                for (ptrdiff_t j = 0; j < used * LANES && j < limit; j += LANES) {
                    vec value = load(sums + r * width + j);
                    if (start)
                        value += load(start + p * width + j);
                    if (add)
                        value += load_first(out + j, limit - j);
                    store_first(out + j, value, limit - j);
                }
            }
        }
    }
}

/* Copy columns first..first+BLOCK_ROWS-1 of a (K, lda) into block[k][r], zero beyond `last`. */
INLINE void pack_block(const real *a, ptrdiff_t lda, ptrdiff_t K, ptrdiff_t first, ptrdiff_t last, real *block)
{
    a += first;
    if (last - first >= BLOCK_ROWS)
        for (ptrdiff_t k = 0; k < K; k++)
            memcpy(block + k * BLOCK_ROWS, a + k * lda, BLOCK_ROWS * sizeof(real));
    else
        for (ptrdiff_t k = 0; k < K; k++)
            for (ptrdiff_t r = 0; r < BLOCK_ROWS; r++)
                block[k * BLOCK_ROWS + r] = r < last - first ? a[k * lda + r] : 0;
}

/* out[r] += sum over k of block[k][r] * B[k], for the first `rows` columns r of a packed block; B's panels
 * are K_packed deep, and `packed` points to the first row wanted. */
INLINE void accumulate_block(ptrdiff_t K, const real *block, ptrdiff_t rows, const real *packed, ptrdiff_t K_packed,
                             ptrdiff_t units, real *out)
{
    const real *row[MAX_TILE_ROWS];
    Tile sums;
    for (int r = 0; r < BLOCK_ROWS; r++)
        row[r] = block + r;
    for (ptrdiff_t unit = 0; unit < units; unit += PANEL_WIDTH(1), packed += PANEL_WIDTH(1) * K_packed) {
        if (vectors_used(4, units - unit) == 2)
            tile(BLOCK_ROWS, 4, 2, K, row, BLOCK_ROWS, packed, sums);
        else
            tile(BLOCK_ROWS, 4, 4, K, row, BLOCK_ROWS, packed, sums);
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t j = 0; j < PANEL_WIDTH(1) && unit + j < units; j += LANES) {
                real *entry = out + r * units + unit + j;
                const ptrdiff_t n = units - unit - j;
                store_first(entry, load_first(entry, n) + load(sums + r * PANEL_WIDTH(1) + j), n);
            }
    }
}

/* out[m] += sum over k of a[k][m] * B[k], for the columns m in first..last-1 of a (K, lda) and packed B (K,
 * units); out (M, units). A second pair of B and out shares the packed blocks of A; its units are 0 where
 * there is none. */
static void accumulate_outer(ptrdiff_t K, const void *a_, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last,
                             const void *packed, ptrdiff_t units, void *out, const void *packed2, ptrdiff_t units2,
                             void *out2)
{
    const real *a = a_;
    real block[BLOCK_DEPTH * BLOCK_ROWS];
    for (ptrdiff_t k = 0; k < K; k += BLOCK_DEPTH) {
        const ptrdiff_t depth = K - k < BLOCK_DEPTH ? K - k : BLOCK_DEPTH;
        for (ptrdiff_t m = first; m < last; m += BLOCK_ROWS) {
            const ptrdiff_t rows = last - m < BLOCK_ROWS ? last - m : BLOCK_ROWS;
            pack_block(a + k * lda, lda, depth, m, last, block);
            accumulate_block(depth, block, rows, (const real *)packed + k * PANEL_WIDTH(1), K, units,
                             (real *)out + m * units);
            accumulate_block(depth, block, rows, (const real *)packed2 + k * PANEL_WIDTH(1), K, units2,
                             (real *)out2 + m * units2);
        }
    }
}

/* sums[m] += sum over k of a[k][m] for m < columns. */
static void add_rows(ptrdiff_t K, const void *a_, ptrdiff_t lda, ptrdiff_t columns, void *sums_)
{
    const real *a = a_;
    real *sums = sums_;
    for (ptrdiff_t m = 0; m < columns; m += LANES) {
        vec total = {0};
        for (ptrdiff_t k = 0; k < K; k++)
            total += load_first(a + k * lda + m, columns - m);
        store_first(sums + m, load_first(sums + m, columns - m) + total, columns - m);
    }
}
