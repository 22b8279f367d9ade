/* Cells of few units over many steps of one row, as a stream takes them: of two vectors of units at most.
 *
 * From step to step c stays in registers, and of h, each number of which the product wants in all lanes, a copy in one
 * place; nothing is looked up or pointed at again. Sums are made in the order of the tiles and gates by the same
 * functions, so that results are the same bits. What is left is latency: units fused multiply-adds, one after the
 * other, then two gate functions: bench/README.md, "Small streams".
 */
#include "cells.h"

#define MOST_VECTORS 2 /* of units */

/* sums[v * used + j] of the panels' vectors j < used of C: units v * LANES..., of gate j, or of one gate all. */
INLINE void multiply_row(const int C, const int used, const int panels, ptrdiff_t K, const real *h, const real *packed,
                         vec *sums)
{
    UNROLLED
    for (int j = 0; j < panels * used; j++)
        sums[j] = (vec){0};
    for (ptrdiff_t k = 0; k < K; k++)
        UNROLLED
        for (int p = 0; p < panels; p++)
            UNROLLED
            for (int j = 0; j < used; j++)
                sums[p * used + j] += h[k] * *(const vec *)(packed + ((p * K + k) * C + j) * LANES);
}

/* A copy of h (H,) with zeros behind it. */
INLINE void take_states(const real *from, ptrdiff_t units, const int V, real *h)
{
    UNROLLED
    for (int v = 0; v < V; v++)
        store(h + v * LANES, load_first(from + v * LANES, units - v * LANES));
}

INLINE void run_elman(const Run *run, const int V)
{
    const ptrdiff_t units = run->step.units;
    const real *projected = run->step.projected;
    real h[MOST_VECTORS * LANES] __attribute__((aligned(64))), *out = run->step.h;
    take_states(run->step.h_prev, units, V, h);
    for (ptrdiff_t t = 0; t < run->steps; t++, projected += run->wide, out += units) {
        vec sums[MOST_VECTORS];
        multiply_row(4, V, 1, units, h, run->step.packed, sums);
        UNROLLED
        for (int v = 0; v < V; v++) {
            const vec y = activate(run->step.activation, sums[v] + load(projected + v * LANES));
            store(h + v * LANES, y);
            store_first(out + v * LANES, y, units - v * LANES);
        }
    }
}

INLINE void run_lstm(const Run *run, const int V)
{
    const ptrdiff_t units = run->step.units;
    const real *projected = run->step.projected;
    real h[MOST_VECTORS * LANES] __attribute__((aligned(64))), *out = run->step.h;
    vec c[MOST_VECTORS];
    take_states(run->step.h_prev, units, V, h);
    UNROLLED
    for (int v = 0; v < V; v++)
        c[v] = load_first((const real *)run->step.c_prev + v * LANES, units - v * LANES);
    for (ptrdiff_t t = 0; t < run->steps; t++, projected += run->wide, out += units) {
        vec sums[4 * MOST_VECTORS];
        multiply_row(4, 4, V, units, h, run->step.packed, sums);
        UNROLLED
        for (int j = 0; j < 4 * V; j++)
            sums[j] += load(projected + j * LANES);
        UNROLLED
        for (int v = 0; v < V; v++) {
            const LSTMState s = lstm_of(&run->step, v * LANES, units - v * LANES, sums + 4 * v, c[v], 4, 1);
            c[v] = s.c;
            store(h + v * LANES, s.h);
            store_first(out + v * LANES, s.h, units - v * LANES);
        }
    }
    UNROLLED
    for (int v = 0; v < V; v++)
        store_first((real *)run->step.c + v * LANES, c[v], units - v * LANES);
}

INLINE void run_gru(const Run *run, const int V)
{
    const ptrdiff_t units = run->step.units;
    const real *projected = run->step.projected;
    real h[MOST_VECTORS * LANES] __attribute__((aligned(64))), *out = run->step.h;
    vec state[MOST_VECTORS], bias_hn[MOST_VECTORS];
    take_states(run->step.h_prev, units, V, h);
    UNROLLED
    for (int v = 0; v < V; v++) {
        state[v] = load(h + v * LANES);
        bias_hn[v] = load_first((const real *)run->step.bias_hn + v * LANES, units - v * LANES);
    }
    for (ptrdiff_t t = 0; t < run->steps; t++, projected += run->wide, out += units) {
        vec sums[3 * MOST_VECTORS];
        multiply_row(3, 3, V, units, h, run->step.packed, sums);
        UNROLLED
        for (int v = 0; v < V; v++) {
            const real *x = projected + 3 * v * LANES;
            const GRUState s = gru_of(&run->step, sums[3 * v] + load(x), sums[3 * v + 1] + load(x + LANES), sums[3 * v + 2],
                                      bias_hn[v], load(x + 2 * LANES), state[v], 1);
            state[v] = s.h;
            store(h + v * LANES, s.h);
            store_first(out + v * LANES, s.h, units - v * LANES);
        }
    }
}

#define RUN(cell)                                \
    static void cell##_steps(const Run *run)     \
    {                                            \
        if (run->step.units <= LANES)            \
            run_##cell(run, 1);                  \
        else                                     \
            run_##cell(run, 2);                  \
    }
RUN(elman)
RUN(lstm)
RUN(gru)
#undef RUN
