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

/* Vectors in a panel: one for each gate, or as many for each as make four. More than MAX_GATES are not interleaved. */
#define MAX_GATES 4
#define PANEL_VECTORS(gates) ((gates) == 3 ? 3 : 4)
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
#define BLOCK_DEPTH 256         /* rows of A in a packed block: 6 KiB in float */
#define GROUP_ROWS (4 * BLOCK_ROWS)
#define FEW_PANELS 4
#define COLUMNS_AHEAD 8 /* rows of a panel that tiles of two to four rows ask for: they wait for the second-level cache */
#define FEW_DEEP 4 /* rows of A and B whose outer product is bound by memory alone */

typedef real Tile[MAX_TILE_ROWS * MAX_PANEL_VECTORS * LANES] __attribute__((aligned(64)));
typedef void (*outer_function)(ptrdiff_t, const real *const *, ptrdiff_t, const real *, real *const *);
typedef void (*tile_function)(ptrdiff_t, const real *const *, const real *, const real *const *, real *const *);

static const real ZEROS[MAX_PANEL_VECTORS * LANES] __attribute__((aligned(64)));

/* out[r][j] = start[r][j] + sum over k of a[r][k * stride] * b[k * ldb + j], for constant R rows and V vectors of columns
 * j from `first` on; start counts for the first `started` of all. A row of start may be its row of out. The sums begin
 * with 0, or where they were left in out, if resumed: then they are what one call over all k makes. */
INLINE void strip(const int R, const int first, const int V, const int started, const int resumed, ptrdiff_t K,
                  const real *const *a, const ptrdiff_t stride, const real *b, const ptrdiff_t ldb,
                  const real *const *start, real *const *out)
{
    vec sum[MAX_TILE_ROWS][MAX_PANEL_VECTORS];
    UNROLLED
    for (int r = 0; r < R; r++)
        UNROLLED
        for (int j = 0; j < V; j++)
            sum[r][j] = resumed ? load(out[r] + (first + j) * LANES) : (vec){0};
    const real *panel = b + first * LANES;
    for (ptrdiff_t k = 0; k < K; k++) {
        vec column[MAX_PANEL_VECTORS];
        UNROLLED
        for (int j = 0; j < V; j++) {
            column[j] = resumed ? load(panel + k * ldb + j * LANES) : *(const vec *)(panel + k * ldb + j * LANES);
            if (R > 1 && R <= 3)
                IN_REGISTER(column[j]);
            if (R > 1 && R <= 4 && !resumed)
                __builtin_prefetch(panel + (k + COLUMNS_AHEAD) * ldb + j * LANES);
        }
        UNROLLED
        for (int r = 0; r < R; r++)
            UNROLLED
            for (int j = 0; j < V; j++)
                sum[r][j] += a[r][k * stride] * column[j];
    }
    UNROLLED
    for (int r = 0; r < R; r++)
        UNROLLED
        for (int j = 0; j < V; j++) {
            if (first + j < started)
                sum[r][j] += load(start[r] + (first + j) * LANES);
            store(out[r] + (first + j) * LANES, sum[r][j]);
        }
}

/* The first `used` of C vectors, in as many strips as their sums need registers. */
INLINE void tile(const int R, const int C, const int used, const int started, const int resumed, ptrdiff_t K,
                 const real *const *a, const ptrdiff_t stride, const real *b, const ptrdiff_t ldb,
                 const real *const *start, real *const *out)
{
    const int most = TILE_VECTORS(C);
    strip(R, 0, used < most ? used : most, started, resumed, K, a, stride, b, ldb, start, out);
    if (used > most)
        strip(R, most, used - most, started, resumed, K, a, stride, b, ldb, start, out);
}

/* One row times two neighbouring panels: a single panel's C sums would wait for each other's latency. */
INLINE void tile_pair(const int C, const int started, ptrdiff_t K, const real *a, const real *b, const real *start,
                      real *out)
{
    vec sum[2 * MAX_PANEL_VECTORS];
    UNROLLED
    for (int j = 0; j < 2 * C; j++)
        sum[j] = (vec){0};
    for (ptrdiff_t k = 0; k < K; k++)
        UNROLLED
        for (int j = 0; j < C; j++) {
            sum[j] += a[k] * *(const vec *)(b + (k * C + j) * LANES);
            sum[C + j] += a[k] * *(const vec *)(b + ((K + k) * C + j) * LANES);
        }
    UNROLLED
    for (int j = 0; j < 2 * C; j++)
        store(out + j * LANES, j % C < started ? sum[j] + load(start + j * LANES) : sum[j]);
}

#define TILE(R, C, used, started)                                                                                \
    static __attribute__((noinline)) void tile_##R##x##used##of##C##from##started(                               \
        ptrdiff_t K, const real *const *a, const real *b, const real *const *start, real *const *out)            \
    {                                                                                                            \
        tile(R, C, used, started, 0, K, a, 1, b, C * LANES, start, out);                                                       \
    }
#define TILES(C, used, started)                                                                                  \
    TILE(1, C, used, started) TILE(2, C, used, started) TILE(3, C, used, started) TILE(4, C, used, started)      \
    TILE(5, C, used, started) TILE(6, C, used, started)
TILES(3, 3, 3) TILE(7, 3, 3, 3) TILE(8, 3, 3, 3)
TILES(3, 3, 2) TILE(7, 3, 3, 2) TILE(8, 3, 3, 2)
TILES(4, 4, 4)
TILES(4, 3, 3)
TILES(4, 2, 2)
TILES(4, 1, 1)
#undef TILES
#undef TILE

/* By number of rows, 1 and up. */
#define SIX(kind) NULL, tile_1x##kind, tile_2x##kind, tile_3x##kind, tile_4x##kind, tile_5x##kind, tile_6x##kind
static const tile_function tiles_of_3[] = {SIX(3of3from3), tile_7x3of3from3, tile_8x3of3from3};
static const tile_function tiles_of_3_from_2[] = {SIX(3of3from2), tile_7x3of3from2, tile_8x3of3from2};
static const tile_function tiles_of_4[][7] = {{SIX(1of4from1)}, {SIX(2of4from2)}, {SIX(3of4from3)}, {SIX(4of4from4)}};
#undef SIX

/* Vectors of a panel of plain columns that a tile computes where `columns` are left: no more than hold them. */
INLINE ptrdiff_t vectors_used(int vectors, ptrdiff_t columns)
{
    return vectors == 4 && columns <= 3 * LANES ? (columns + LANES - 1) / LANES : vectors;
}

INLINE void multiply_tile(const int vectors, ptrdiff_t used, ptrdiff_t rows, ptrdiff_t K, const real *const *a,
                          const real *b, const real *const *start, real *const *out)
{
    (vectors == 3 ? tiles_of_3 : tiles_of_4[used - 1])[rows](K, a, b, start, out);
}

/* Rows of the next tile where so many are left: the last two share theirs, for a tile of few rows waits for its loads. */
INLINE ptrdiff_t tile_height(const ptrdiff_t most, ptrdiff_t left)
{
    return left <= most ? left : left < most + 4 ? (left + 1) / 2 : most;
}

static ptrdiff_t packed_size(ptrdiff_t K, ptrdiff_t units, int gates)
{
    return PANEL_COUNT(units, gates) * PANEL_WIDTH(gates) * K;
}

/* square[k][i] = source[i * stride + k] for i < n and k < depth, 0 for the other lanes: LANES numbers of each of n rows,
 * transposed in registers. Meanwhile the rows that come LANES later are asked for, in the order in which they follow in
 * memory, `ahead` bytes from their beginning: the processor by itself does not follow so many rows at once. */
INLINE void load_square(const real *source, ptrdiff_t n, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t ahead, vec square[LANES])
{
    const char *next = (const char *)source + ahead;
    if (n >= LANES && depth >= LANES)
        UNROLLED
        for (ptrdiff_t i = 0; i < LANES; i++) {
            square[i] = load(source + i * stride);
            if (i * VECTOR_BYTES % 64 == 0)
                __builtin_prefetch(next + i * VECTOR_BYTES, 0, 2);
        }
    else
        for (ptrdiff_t i = 0; i < LANES; i++)
            square[i] = i < n ? load_first(source + i * stride, depth) : (vec){0};
    transpose(square);
}

/* Bytes from the square at column k of LANES rows to its share of the rows that follow them. */
INLINE ptrdiff_t rows_ahead(ptrdiff_t stride, ptrdiff_t k)
{
    return (LANES * stride - k) * (ptrdiff_t)sizeof(real) + k * VECTOR_BYTES;
}

/* target[k * width + i] = source[i * stride + k] for i < n, 0 for the other lanes. */
static void pack_transposed(const real *source, ptrdiff_t K, ptrdiff_t n, ptrdiff_t stride, real *target, ptrdiff_t width)
{
    for (ptrdiff_t first = 0; first < K; first += LANES) {
        const ptrdiff_t depth = K - first < LANES ? K - first : LANES;
        vec square[LANES];
        load_square(source + first, n, stride, depth, rows_ahead(stride, first), square);
        for (ptrdiff_t k = 0; k < depth; k++)
            store(target + (first + k) * width, square[k]);
    }
}

/* Where a matrix B (K, gates * units) is: B[k][g, u] = w[g * gate_stride + u * unit_stride + k * k_stride], where one of
 * the last two strides is 1. */
typedef struct {
    const real *w;
    ptrdiff_t K, units;
    int gates;
    ptrdiff_t gate_stride, unit_stride, k_stride;
} Matrix;

/* The unit that vector j of panel p begins with, and where its gate's numbers are. */
INLINE ptrdiff_t unit_of(const Matrix *m, ptrdiff_t p, ptrdiff_t j)
{
    return p * PANEL_UNITS(m->gates) + j / m->gates * LANES;
}

INLINE const real *source_of(const Matrix *m, ptrdiff_t p, ptrdiff_t j)
{
    return m->w + j % m->gates * m->gate_stride + unit_of(m, p, j) * m->unit_stride;
}

/* Pack rows first..first+depth-1 of panel p; units beyond the last are zero. Rows of columns that are side by side are
 * asked for as far ahead as there are rows. */
static void pack_panel(const Matrix *m, ptrdiff_t p, ptrdiff_t first, ptrdiff_t depth, real *target)
{
    const ptrdiff_t vectors = PANEL_VECTORS(m->gates), width = PANEL_WIDTH(m->gates);
    const ptrdiff_t ahead = (depth < 64 ? depth : 64) * m->k_stride;
    const real *source[MAX_PANEL_VECTORS];
    ptrdiff_t left[MAX_PANEL_VECTORS];
    for (ptrdiff_t j = 0; j < vectors; j++) {
        source[j] = source_of(m, p, j) + first * m->k_stride;
        left[j] = m->units - unit_of(m, p, j);
    }
    if (m->unit_stride == 1 && vectors == 4 && left[3] >= LANES)
        for (ptrdiff_t k = 0; k < depth; k++)
            UNROLLED
            for (ptrdiff_t j = 0; j < 4; j++) {
                __builtin_prefetch(source[j] + k * m->k_stride + ahead, 0, 2);
                store(target + k * width + j * LANES, load(source[j] + k * m->k_stride));
            }
    else if (m->unit_stride == 1)
        for (ptrdiff_t k = 0; k < depth; k++)
            for (ptrdiff_t j = 0; j < vectors; j++)
                store(target + k * width + j * LANES, load_first(source[j] + k * m->k_stride, left[j]));
    else
        for (ptrdiff_t j = 0; j < vectors; j++) {
            if (left[j] > 0)
                pack_transposed(source[j], depth, left[j], m->unit_stride, target + j * LANES, width);
            else
                for (ptrdiff_t k = 0; k < depth; k++)
                    store(target + k * width + j * LANES, (vec){0});
        }
}

/* Pack share k of n of the panels of B, a Matrix. */
static void pack(const void *w, ptrdiff_t K, ptrdiff_t units, int gates, ptrdiff_t gate_stride, ptrdiff_t unit_stride,
                 ptrdiff_t k_stride, int share, int shares, void *packed)
{
    const Matrix m = {w, K, units, gates, gate_stride, unit_stride, k_stride};
    const ptrdiff_t panels = PANEL_COUNT(units, gates);
    for (ptrdiff_t p = panels * share / shares; p < panels * (share + 1) / shares; p++)
        pack_panel(&m, p, 0, K, (real *)packed + p * PANEL_WIDTH(gates) * K);
}

/* Pack share k of n of the panels of B's rows w[places[k]] (K, units), ld numbers apart; without places, rows 0, 1,
 * 2... */
static void pack_rows(const void *w_, ptrdiff_t ld, const ptrdiff_t *places, ptrdiff_t K, ptrdiff_t units, int share, int shares,
                      void *packed_)
{
    const real *w = w_;
    const ptrdiff_t width = PANEL_WIDTH(1), panels = PANEL_COUNT(units, 1);
    for (ptrdiff_t p = panels * share / shares; p < panels * (share + 1) / shares; p++) {
        real *panel = (real *)packed_ + p * width * K;
        for (ptrdiff_t k = 0; k < K; k++)
            for (ptrdiff_t j = 0; j < width; j += LANES) {
                const ptrdiff_t unit = p * width + j;
                store(panel + k * width + j, unit < units ? load_first(w + (places ? places[k] : k) * ld + unit, units - unit)
                                                          : (vec){0});
            }
    }
}

/* out = A B, + start or + out: rows a[places_a[i]] (stride lda) times packed B into out[places_out[i]] (stride ldo),
 * columns in the order of the panels, those at or beyond `columns` left out; either list of places may be NULL for 0,
 * 1, 2... What is added is `start` (one packed row, or NULL), or with `add` what out holds. */
static void multiply(ptrdiff_t n, const void *a_, const ptrdiff_t *places_a, ptrdiff_t lda, ptrdiff_t K,
                     const void *packed, ptrdiff_t units, int gates, const void *start_, int add, void *out_,
                     const ptrdiff_t *places_out, ptrdiff_t ldo, ptrdiff_t columns)
{
    const real *a = a_, *b = packed, *start = start_;
    const int vectors = PANEL_VECTORS(gates);
    const ptrdiff_t width = vectors * LANES, panels = PANEL_COUNT(units, gates), height = TILE_ROWS(vectors);
    Tile sums;
    for (ptrdiff_t p = 0; p < panels; p++, b += width * K) {
        const ptrdiff_t used = gates == 1 ? vectors_used(vectors, units - p * width) : vectors;
        const ptrdiff_t limit = columns - p * width;
        const int whole = limit >= used * LANES;
        for (ptrdiff_t i = 0, rows; i < n; i += rows) {
            const real *row[MAX_TILE_ROWS], *from[MAX_TILE_ROWS];
            real *to[MAX_TILE_ROWS];
            rows = tile_height(height, n - i);
            for (ptrdiff_t r = 0; r < rows; r++) {
                real *target = (real *)out_ + (places_out ? places_out[i + r] : i + r) * ldo + p * width;
                row[r] = a + (places_a ? places_a[i + r] : i + r) * lda;
                to[r] = whole ? target : sums + r * width;
                from[r] = add ? to[r] : start ? start + p * width : ZEROS;
                if (add && !whole)
                    memcpy(to[r], target, limit * sizeof(real));
            }
            multiply_tile(vectors, used, rows, K, row, b, from, to);
            for (ptrdiff_t r = 0; r < rows && !whole; r++)
                memcpy((real *)out_ + (places_out ? places_out[i + r] : i + r) * ldo + p * width, to[r],
                       limit * sizeof(real));
        }
    }
}

#define OUTER(R, used)                                                                                               \
    static __attribute__((noinline)) void outer_##R##x##used(ptrdiff_t K, const real *const *a, ptrdiff_t stride,     \
                                                             const real *b, real *const *out)                        \
    {                                                                                                                \
        tile(R, 4, used, used, 0, K, a, stride, b, 4 * LANES, (const real *const *)out, out);                                      \
    }
OUTER(6, 4)
OUTER(6, 3)
OUTER(6, 2)
OUTER(6, 1)
OUTER(4, 4)
OUTER(4, 3)
OUTER(4, 2)
OUTER(4, 1)
#undef OUTER
static const outer_function outers[][4] = {{outer_4x1, outer_4x2, outer_4x3, outer_4x4},
                                           {outer_6x1, outer_6x2, outer_6x3, outer_6x4}};

/* out[r] += sum over k of a[k * stride + r] * b[k], for the first rows r, up to BLOCK_ROWS, and columns of a panel. An
 * out that is far away is asked for before the sums are made. */
INLINE void accumulate_tile(ptrdiff_t K, const real *a, ptrdiff_t stride, ptrdiff_t rows, const real *b,
                            ptrdiff_t columns, int far, real *out, ptrdiff_t ldo)
{
    const ptrdiff_t used = vectors_used(4, columns), height = rows > 4 ? BLOCK_ROWS : 4;
    const int whole = columns >= used * LANES;
    const real *row[MAX_TILE_ROWS];
    real *to[MAX_TILE_ROWS];
    Tile sums;
    for (ptrdiff_t r = 0; r < height; r++) {
        row[r] = a + (r < rows ? r : rows - 1);
        to[r] = whole && r < rows ? out + r * ldo : sums + r * PANEL_WIDTH(1);
        for (ptrdiff_t j = 0; far && whole && j < used; j++)
            __builtin_prefetch(to[r] + PANEL_WIDTH(1) + j * LANES, 1);
        if (!whole && r < rows)
            memcpy(to[r], out + r * ldo, columns * sizeof(real));
    }
    outers[height == BLOCK_ROWS][used - 1](K, row, stride, b, to);
    for (ptrdiff_t r = 0; r < rows && !whole; r++)
        memcpy(out + r * ldo, to[r], columns * sizeof(real));
}

/* out[m] += sum over k of a[k][m] * B[k], for the columns m in first..last-1 of a (K, lda) and packed B (K_packed,
 * units), whose row k lies at packed + k * PANEL_WIDTH(1); K is at most BLOCK_DEPTH. Blocks of few columns of A meet a
 * panel while it is in the second-level cache; where there are many panels, they are copied first to lie close. */
INLINE void accumulate_group(ptrdiff_t K, const real *a, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last, const real *blocks,
                             const real *packed, ptrdiff_t K_packed, ptrdiff_t units, real *out, ptrdiff_t ldo)
{
    for (ptrdiff_t unit = 0; unit < units; unit += PANEL_WIDTH(1))
        for (ptrdiff_t m = first, rows; m < last; m += rows) {
            rows = tile_height(BLOCK_ROWS, last - m);
            accumulate_tile(K, blocks ? blocks + (m - first) * K : a + m, blocks ? rows : lda, rows,
                            packed + unit * K_packed, units - unit, blocks != NULL, out + m * ldo + unit, ldo);
        }
}

/* Copy columns first..last-1 of a (K, lda), in blocks as accumulate_group takes them: block[k][r]. */
INLINE void pack_blocks(const real *a, ptrdiff_t lda, ptrdiff_t K, ptrdiff_t first, ptrdiff_t last, real *blocks)
{
    for (ptrdiff_t m = first, rows; m < last; m += rows) {
        rows = tile_height(BLOCK_ROWS, last - m);
        real *block = blocks + (m - first) * K;
        if (rows == BLOCK_ROWS)
            for (ptrdiff_t k = 0; k < K; k++)
                memcpy(block + k * BLOCK_ROWS, a + k * lda + m, BLOCK_ROWS * sizeof(real));
        else
            for (ptrdiff_t k = 0; k < K; k++)
                for (ptrdiff_t r = 0; r < rows; r++)
                    block[k * rows + r] = a[k * lda + m + r];
    }
}

/* The same for so few k that reading and writing out is all the work: row after row, as they follow in memory. */
INLINE void accumulate_rows(const int K, const real *a, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last, const real *packed,
                            ptrdiff_t units, real *out, ptrdiff_t ldo)
{
    const ptrdiff_t width = PANEL_WIDTH(1);
    for (ptrdiff_t m = first; m < last; m++)
        for (ptrdiff_t unit = 0; unit < units; unit += LANES) {
            const real *b = packed + unit / width * width * K + unit % width;
            real *target = out + m * ldo + unit;
            vec sum = {0};
            UNROLLED
            for (int k = 0; k < K; k++)
                sum += a[k * lda + m] * load(b + k * width);
            store_first(target, sum + load_first(target, units - unit), units - unit);
        }
}

static void accumulate_few(ptrdiff_t K, const real *a, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last, const real *packed,
                           ptrdiff_t units, real *out, ptrdiff_t ldo)
{
    switch (K) {
    case 1: accumulate_rows(1, a, lda, first, last, packed, units, out, ldo); break;
    case 2: accumulate_rows(2, a, lda, first, last, packed, units, out, ldo); break;
    case 3: accumulate_rows(3, a, lda, first, last, packed, units, out, ldo); break;
    default: accumulate_rows(4, a, lda, first, last, packed, units, out, ldo);
    }
}

/* out[m] += sum over k of a[k][m] * B[k], for the columns m in first..last-1 of a (K, lda) and packed B (K,
 * units); out (M, units), rows ldo numbers apart. A second pair of B and out shares the packed blocks of A; its units
 * are 0 where there is none. */
static void accumulate_outer(ptrdiff_t K, const void *a_, ptrdiff_t lda, ptrdiff_t first, ptrdiff_t last,
                             const void *packed, ptrdiff_t units, void *out, ptrdiff_t ldo, const void *packed2,
                             ptrdiff_t units2, void *out2, ptrdiff_t ldo2)
{
    const real *a = a_;
    if (K <= FEW_DEEP && K > 0) {
        accumulate_few(K, a, lda, first, last, packed, units, out, ldo);
        accumulate_few(K, a, lda, first, last, packed2, units2, out2, ldo2);
        return;
    }
    real copy[BLOCK_DEPTH * GROUP_ROWS];
    const real *blocks = units + units2 > FEW_PANELS * PANEL_WIDTH(1) ? copy : NULL;
    for (ptrdiff_t k = 0; k < K; k += BLOCK_DEPTH, a += BLOCK_DEPTH * lda) {
        const ptrdiff_t depth = K - k < BLOCK_DEPTH ? K - k : BLOCK_DEPTH;
        for (ptrdiff_t m = first; m < last; m += GROUP_ROWS) {
            const ptrdiff_t end = last - m < GROUP_ROWS ? last : m + GROUP_ROWS;
            if (blocks)
                pack_blocks(a, lda, depth, m, end, copy);
            accumulate_group(depth, a, lda, m, end, blocks, (const real *)packed + k * PANEL_WIDTH(1), K, units, out,
                             ldo);
            accumulate_group(depth, a, lda, m, end, blocks, (const real *)packed2 + k * PANEL_WIDTH(1), K, units2, out2,
                             ldo2);
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

/* sums[m] += sum over k of a[k][m] * b[places[k]][m] for m < columns. */
static void add_products(ptrdiff_t K, const void *a_, ptrdiff_t lda, const void *b_, const ptrdiff_t *places,
                         ptrdiff_t ldb, ptrdiff_t columns, void *sums_)
{
    const real *a = a_, *b = b_;
    real *sums = sums_;
    for (ptrdiff_t m = 0; m < columns; m += LANES) {
        vec total = {0};
        for (ptrdiff_t k = 0; k < K; k++)
            total += load_first(a + k * lda + m, columns - m) * load_first(b + places[k] * ldb + m, columns - m);
        store_first(sums + m, load_first(sums + m, columns - m) + total, columns - m);
    }
}
