/* The input projection of a cell so narrow that the columns of all its gates, side by side, are fewer vectors than the
 * gates: a panel [i f g o] of 4 vectors, of which a unit or seven fill a fraction, is computed from one or two. The
 * rows of A, which are long then, come from memory while the sums of the rows in front of them are made.
 */
#include "unpacked.h"

/* Whether the columns (gates, units) are narrow. */
static int is_narrow(ptrdiff_t units, int gates)
{
    return gates == 1 ? units <= PANEL_WIDTH(1) : units <= LANES && (gates * units + LANES - 1) / LANES < gates;
}

/* out = A B + start, as multiply makes it: B (K, gates * units) is packed as columns of one gate, rows of start and out
 * are a panel of `gates`. */
static void multiply_narrow(ptrdiff_t n, const void *a_, const ptrdiff_t *places_a, ptrdiff_t lda, ptrdiff_t K,
                            const void *packed, ptrdiff_t units, int gates, const void *start_, void *out_)
{
    const real *a = a_, *start = start_;
    const ptrdiff_t width = PANEL_WIDTH(gates), used = vectors_used(4, gates * units);
    const real *row[MAX_TILE_ROWS], *from[MAX_TILE_ROWS];
    real *to[MAX_TILE_ROWS];
    Tile sums;
    for (ptrdiff_t i = 0, rows; i < n; i += rows) {
        rows = tile_height(TILE_ROWS(4), n - i);
        for (ptrdiff_t r = 0; r < rows; r++) {
            row[r] = a + places_a[i + r] * lda;
            from[r] = ZEROS;
            to[r] = sums + r * PANEL_WIDTH(1);
            const real *next = a + places_a[i + rows + r < n ? i + rows + r : n - 1] * lda;
            for (ptrdiff_t k = 0; k < K; k += 64 / (ptrdiff_t)sizeof(real))
                __builtin_prefetch(next + k);
        }
        multiply_tile(4, used, rows, K, row, packed, from, to);
        for (ptrdiff_t r = 0; r < rows; r++) {
            real *out = (real *)out_ + (i + r) * width;
            for (ptrdiff_t j = 0; gates == 1 && j < used * LANES; j += LANES)
                store(out + j, load(to[r] + j) + load(start + j));
            for (ptrdiff_t g = 0; gates > 1 && g < gates; g++)
                store(out + g * LANES, load(to[r] + g * units) + load(start + g * LANES));
        }
    }
}
