#include "cells.h"

/* GRU with the reset gate before its product: n = tanh(x_n + W_hn (r h_prev)), so that the step takes two products, and
 * its panels hold plain columns: [r z] in `packed`, n in `packed_hn`. The gates pass through `projected`, and r h_prev
 * takes the place of r there. Both products take what enters, drop h_prev under a mask. */
static void gru_before_step_forward(const Step *step)
{
    const ptrdiff_t H = step->units, wide = PANEL_COUNT(3 * H, 1) * PANEL_WIDTH(1);
    const void *entered = step->entering ? step->entering : step->h_prev;
    real *sums = step->projected;
    Product to_gates = {.n = step->n, .a = entered, .places_a = step->rows, .lda = H, .K = H, .units = 2 * H, .gates = 1,
                        .unit_stride = H, .k_stride = 1, .add = 1, .out = sums, .ldo = wide, .columns = 2 * H};
    multiply_states(step, step->packed, 0, to_gates);
    for (ptrdiff_t i = 0; i < step->n; i++)
        for (ptrdiff_t unit = 0; unit < H; unit += LANES) {
            const Spot at = {.index = i, .place = step->rows[i], .unit = unit, .n = H - unit}, *spot = &at;
            real *r_sum = sums + i * wide + unit, *z_sum = r_sum + H;
            const vec r = activate(step->gate_activation, load_first(r_sum, at.n));
            const vec z = activate(step->gate_activation, load_first(z_sum, at.n));
            const vec reset = r * GET(entered, 0, 1);
            store_first(r_sum, reset, at.n);
            store_first(z_sum, z, at.n);
            if (step->gates) {
                PUT(step->gates, 0, 3, r);
                PUT(step->gates, 1, 3, z);
                PUT(step->candidates, 0, 1, reset);
            }
        }
    Product to_candidate = {.n = step->n, .a = sums, .lda = wide, .K = H, .units = H, .gates = 1, .unit_stride = H,
                            .k_stride = 1, .add = 1, .out = sums + 2 * H, .ldo = wide, .columns = H};
    multiply_states(step, step->packed_hn, 2 * H, to_candidate);
    for (ptrdiff_t i = 0; i < step->n; i++)
        for (ptrdiff_t unit = 0; unit < H; unit += LANES) {
            const Spot at = {.index = i, .place = step->rows[i], .unit = unit, .n = H - unit}, *spot = &at;
            const real *z = sums + i * wide + H + unit;
            const vec n = activate(step->activation, load_first(z + H, at.n));
            PUT(step->h, 0, 1, n + load_first(z, at.n) * (GET(step->h_prev, 0, 1) - n));
            if (step->gates)
                PUT(step->gates, 2, 3, n);
        }
}

INLINE void gru_before_backward_at(const Step *step, const int masked)
{
    const ptrdiff_t H = step->units;
    const void *entered = masked ? step->entering : step->h_prev;
    real *dgates = step->dgates;
    for (ptrdiff_t i = 0; i < step->n; i++)
        for (ptrdiff_t unit = 0; unit < H; unit += LANES) {
            const Spot at = {.index = i, .place = step->rows[i], .unit = unit, .n = H - unit}, *spot = &at;
            const vec z = GET(step->gates, 1, 3), n = GET(step->gates, 2, 3);
            const vec dh = GET(step->dy, 0, 1) + GET(step->dh, 0, 1);
            const vec dz = dh * (GET(step->h_prev, 0, 1) - n) * slope(step->gate_activation, z);
            store_first(COMPACT(dgates, 1, 3), dz, at.n);
            store_first(COMPACT(dgates, 2, 3), dh * ((real)1 - z) * slope(step->activation, n), at.n);
            PUT(step->dh, 0, 1, dh * z);
        }
    /* d(r entered) = dn @ W_hn, in the place of dr */
    Product back = {.n = step->n, .a = dgates + 2 * H, .lda = 3 * H, .K = H, .units = H, .gates = 1, .unit_stride = 1,
                    .k_stride = H, .out = dgates, .ldo = 3 * H, .columns = H};
    multiply_states(step, step->packed_hn, 2 * H, back);
    for (ptrdiff_t i = 0; i < step->n; i++)
        for (ptrdiff_t unit = 0; unit < H; unit += LANES) {
            const Spot at = {.index = i, .place = step->rows[i], .unit = unit, .n = H - unit}, *spot = &at;
            const vec r = GET(step->gates, 0, 3), dreset = load_first(COMPACT(dgates, 0, 3), at.n);
            const vec dentered = dreset * r;
            PUT(step->dh, 0, 1, GET(step->dh, 0, 1) + (masked ? dentered * GET(step->drop, 0, 1) : dentered));
            store_first(COMPACT(dgates, 0, 3), dreset * GET(entered, 0, 1) * slope(step->gate_activation, r), at.n);
        }
}

static void gru_before_step_backward(const Step *step)
{
    if (step->drop)
        gru_before_backward_at(step, 1);
    else
        gru_before_backward_at(step, 0);
}
