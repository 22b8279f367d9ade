/* The cells: for each, one vector of units of one row, forward and backward. The walk over rows and units
 * is shared.
 *
 * Cost of a forward step: 2 G n H^2 flops in the tiles, which read packed W_hh once per step, and G +
 * (cells with a second state) 1 gate functions an entry. Backward: some 10 G flops an entry here; the
 * product with W_hh is product.h's.
 */
#ifndef RNNCORE_CELLS_H
#define RNNCORE_CELLS_H

#include "flat.h"
#include "step.h"
#include "unpacked.h"

/* Where a cell works: the row's compact index and its place in the batch, its first unit, and how many of a
 * vector's lanes are units. sums points to the first gate's vector of the projected input plus the recurrent
 * product, or of the product alone for the gates that keep the two apart; x to that of the projected input. */
typedef struct {
    ptrdiff_t index, place, unit, n;
    const real *sums, *x;
} Spot;

typedef void (*cell_function)(const Step *, const Spot *);

#define AT(array, gate, gates) ((real *)(array) + (spot->place * (gates) + (gate)) * step->units + spot->unit)
#define GET(array, gate, gates) load_first(AT(array, gate, gates), spot->n)
#define PUT(array, gate, gates, value) store_first(AT(array, gate, gates), value, spot->n)
#define UNITWISE(array) load_first((const real *)(array) + spot->unit, spot->n) /* of a vector (H,) */
/* Ask for the line that the next step will want at the same place. */
#define FETCH(array, gate, gates, write) __builtin_prefetch(AT(array, gate, gates) + step->ahead * (gates), write)
#define COMPACT(array, gate, gates) ((real *)(array) + (spot->index * (gates) + (gate)) * step->units + spot->unit)

/* The cell on a tile of sums, rows i.. of the active ones and panel p, while it lies in the first-level
 * cache. */
INLINE void apply_cell(const Step *step, const int gates, cell_function cell, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t p,
                       const real *sums)
{
    const int vectors = PANEL_VECTORS(gates);
    const ptrdiff_t width = vectors * LANES, panels = PANEL_COUNT(step->units, gates);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < vectors; j += gates) {
            Spot spot = {.index = i + r, .place = step->rows[i + r]};
            spot.unit = (p * vectors + j) / gates * LANES;
            spot.n = step->units - spot.unit;
            spot.sums = sums + r * width + j * LANES;
            spot.x = (const real *)step->projected + ((i + r) * panels + p) * width + j * LANES;
            if (spot.n > 0)
                cell(step, &spot);
        }
}

/* Weights that are not packed, out of the way of those that are. */
#define APART static __attribute__((noinline, cold))

INLINE Matrix step_matrix(const Step *step, int gates)
{
    const ptrdiff_t units = step->units;
    return (Matrix){step->weight, units, units, gates, units * units, units, 1};
}

/* Panel p, packed if there are more rows than a tile's; NULL: they take it as it is. */
APART const real *unpacked_panel(const Step *step, int gates, ptrdiff_t p)
{
    const Matrix m = step_matrix(step, gates);
    if (step->n <= TILE_ROWS(PANEL_VECTORS(gates)))
        return NULL;
    pack_panel(&m, p, 0, step->units, step->room);
    return step->room;
}

/* out[r] = row[r] times panel p, + start[r] for the first `joined` vectors. */
APART void multiply_step_unpacked(const Step *step, int gates, ptrdiff_t joined, ptrdiff_t rows, ptrdiff_t p,
                                  const real *const *row, const real *const *start, real *const *out)
{
    const Matrix m = step_matrix(step, gates);
    sum_panel(&m, p, rows, row, out);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < joined * LANES; j += LANES)
            store(out[r] + j, load(out[r] + j) + load(start[r] + j));
}
/* Rows i... of the step's product with panel p, at b or not packed; the projected input enters the sums of the first
 * `joined` gates. */
INLINE void multiply_step(const Step *step, const int gates, const int joined, const int is_packed, ptrdiff_t i,
                          ptrdiff_t rows, ptrdiff_t p, const real *b, real *const *out)
{
    const int vectors = PANEL_VECTORS(gates);
    const ptrdiff_t width = vectors * LANES, units = step->units, panels = PANEL_COUNT(units, gates);
    const ptrdiff_t used = gates == 1 ? vectors_used(vectors, units - p * width) : vectors;
    const real *h = step->entering ? step->entering : step->h_prev, *row[MAX_TILE_ROWS], *start[MAX_TILE_ROWS];
    for (ptrdiff_t r = 0; r < rows; r++) {
        row[r] = h + step->rows[i + r] * units;
        start[r] = (const real *)step->projected + ((i + r) * panels + p) * width;
    }
    if (!is_packed && !b)
        multiply_step_unpacked(step, gates, gates == 3 ? joined : used, rows, p, row, start, out);
    else if (gates == 3 && joined == 2)
        tiles_of_3_from_2[rows](units, row, b, start, out);
    else
        multiply_tile(vectors, used, rows, units, row, b, start, out);
}

/* The panel that comes next once so many are done. */
INLINE ptrdiff_t panel_at(const Step *step, ptrdiff_t done)
{
    return step->turned ? step->last_panel - 1 - done : step->first_panel + done;
}

/* The step's product, panel by panel, and the cell on each tile. */
INLINE void walk_forward(const Step *step, const int gates, const int joined, cell_function cell)
{
    const int vectors = PANEL_VECTORS(gates);
    const ptrdiff_t width = vectors * LANES, units = step->units;
    const ptrdiff_t height = TILE_ROWS(vectors), first = step->first_panel;
    const real *packed = step->packed, *projected = step->projected;
    const real *h = step->entering ? step->entering : step->h_prev;
    Tile sums;
    real *out[MAX_TILE_ROWS];
    /* Beyond 64 units a pair of panels leaves the first-level cache, and two streams come slower than one. */
    const int in_pairs = step->n == 1 && gates > 1 && units <= 64 && !step->weight;
    ptrdiff_t done = 0;
    if (in_pairs)
        for (; first + done + 2 <= step->last_panel; done += 2) {
            const ptrdiff_t p = first + done;
            tile_pair(vectors, joined, units, h + step->rows[0] * units, packed + p * width * units, projected + p * width,
                      sums);
            apply_cell(step, gates, cell, 0, 1, p, sums);
            apply_cell(step, gates, cell, 0, 1, p + 1, sums + width);
        }
    for (ptrdiff_t r = 0; r < height; r++)
        out[r] = sums + r * width;
    for (; first + done < step->last_panel; done++) {
        const ptrdiff_t p = in_pairs ? first + done : panel_at(step, done);
        const real *b = step->weight ? unpacked_panel(step, gates, p) : packed + p * width * units;
        for (ptrdiff_t i = 0, rows; i < step->n; i += rows) {
            rows = tile_height(height, step->n - i);
            multiply_step(step, gates, joined, !step->weight, i, rows, p, b, out);
            apply_cell(step, gates, cell, i, rows, p, sums);
        }
    }
}

INLINE void walk_backward(const Step *step, cell_function cell)
{
    for (ptrdiff_t i = 0; i < step->n; i++)
        for (ptrdiff_t unit = 0; unit < step->units; unit += LANES) {
            const Spot spot = {.index = i, .place = step->rows[i], .unit = unit, .n = step->units - unit};
            cell(step, &spot);
        }
}

/* Elman: h = g(a). Sums a are of the projected input and the recurrent product. */
INLINE vec activate(int activation, vec a)
{
    switch (activation) {
    case ACTIVATION_TANH: return vtanh(a);
    case ACTIVATION_SIGMOID: return vsigmoid(a);
    case ACTIVATION_RELU: return vrelu(a);
    default: return a;
    }
}

/* g'(a) in terms of h = g(a). */
INLINE vec slope(int activation, vec h)
{
    switch (activation) {
    case ACTIVATION_TANH: return (real)1 - h * h;
    case ACTIVATION_SIGMOID: return h * ((real)1 - h);
    case ACTIVATION_RELU: return choose(h > 0, splat(1), (vec){0});
    default: return splat(1);
    }
}

/* The sums are made where h belongs, and become h there. */
INLINE void elman_walk_forward(const Step *step, const int is_packed)
{
    const ptrdiff_t units = step->units, width = PANEL_WIDTH(1), height = TILE_ROWS(4);
    Tile sums;
    real *out[MAX_TILE_ROWS];
    for (ptrdiff_t done = 0; step->first_panel + done < step->last_panel; done++) {
        const ptrdiff_t p = panel_at(step, done), unit = p * width, left = units - unit, used = vectors_used(4, left);
        const int whole = left >= used * LANES;
        const real *b = is_packed ? (const real *)step->packed + unit * units : unpacked_panel(step, 1, p);
        for (ptrdiff_t i = 0, rows; i < step->n; i += rows) {
            rows = tile_height(height, step->n - i);
            for (ptrdiff_t r = 0; r < rows; r++)
                out[r] = whole ? (real *)step->h + step->rows[i + r] * units + unit : sums + r * width;
            multiply_step(step, 1, 1, is_packed, i, rows, p, b, out);
            for (ptrdiff_t r = 0; r < rows; r++) {
                for (ptrdiff_t j = 0; j < used * LANES; j += LANES) {
                    store(out[r] + j, activate(step->activation, load(out[r] + j)));
                    __builtin_prefetch(out[r] + j + step->ahead, 1);
                }
                if (!whole)
                    memcpy((real *)step->h + step->rows[i + r] * units + unit, out[r], left * sizeof(real));
            }
        }
    }
}

APART void elman_step_unpacked(const Step *step) { elman_walk_forward(step, 0); }

static void elman_step_forward(const Step *step)
{
    if (step->weight)
        elman_step_unpacked(step);
    else
        elman_walk_forward(step, 1);
}

INLINE void elman_spot_backward(const Step *step, const Spot *spot)
{
    const vec dh = GET(step->dy, 0, 1) + GET(step->dh, 0, 1);
    store_first(COMPACT(step->dgates, 0, 1), dh * slope(step->activation, GET(step->h, 0, 1)), spot->n);
    FETCH(step->dy, 0, 1, 0);
    FETCH(step->h, 0, 1, 0);
}

/* Leaky Elman: h = h_prev + leak (g(a) - h_prev) + noise; the tape keeps g(a). */
INLINE void leaky_spot_forward(const Step *step, const Spot *spot)
{
    const vec g = activate(step->activation, load(spot->sums)), h_prev = GET(step->h_prev, 0, 1);
    vec h = h_prev + UNITWISE(step->leak) * (g - h_prev);
    if (step->noise)
        h += GET(step->noise, 0, 1);
    PUT(step->h, 0, 1, h);
    if (step->gates)
        PUT(step->gates, 0, 1, g);
}

INLINE void leaky_spot_backward(const Step *step, const Spot *spot)
{
    const vec g = GET(step->gates, 0, 1), leak = UNITWISE(step->leak);
    const vec dh = GET(step->dy, 0, 1) + GET(step->dh, 0, 1);
    store_first(COMPACT(step->dgates, 0, 1), dh * leak * slope(step->activation, g), spot->n);
    if (step->dleak)
        store_first(COMPACT(step->dleak, 0, 1), dh * (g - GET(step->h_prev, 0, 1)), spot->n);
    PUT(step->dh, 0, 1, dh - leak * dh);
}

/* The functions of gates and candidates: in a plain cell known to the compiler, sigmoid and tanh. */
#define GATE(plain) ((plain) ? ACTIVATION_SIGMOID : step->gate_activation)
#define CANDIDATE(plain) ((plain) ? ACTIVATION_TANH : step->activation)

/* LSTM: c = sigmoid(f) c_prev + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c). With three gates, i g o, f is 1 - i. With
 * peepholes i and f also see w c_prev, and o sees w c. */
typedef struct {
    vec i, f, g, o, c, h;
} LSTMState;

/* What becomes of the sums of a vector of units, of which `n` are there from `unit` on. */
INLINE LSTMState lstm_of(const Step *step, ptrdiff_t unit, ptrdiff_t n, const vec *sums, vec c_prev, const int gates,
                         const int plain)
{
    const int coupled = gates == 3, peepholes = !plain && step->weight_ci;
    LSTMState s = {.i = sums[0], .f = sums[1], .g = sums[gates - 2], .o = sums[gates - 1]};
    if (peepholes) {
        s.i += load_first((const real *)step->weight_ci + unit, n) * c_prev;
        if (!coupled)
            s.f += load_first((const real *)step->weight_cf + unit, n) * c_prev;
    }
    s.i = activate(GATE(plain), s.i);
    s.f = coupled ? (real)1 - s.i : activate(GATE(plain), s.f);
    s.g = activate(CANDIDATE(plain), s.g);
    s.c = s.i * s.g + s.f * c_prev;
    if (peepholes)
        s.o += load_first((const real *)step->weight_co + unit, n) * s.c;
    s.o = activate(GATE(plain), s.o);
    s.h = s.o * activate(CANDIDATE(plain), s.c);
    return s;
}

INLINE void lstm_forward_at(const Step *step, const Spot *spot, const int gates, const int plain)
{
    const int coupled = gates == 3;
    vec sums[MAX_PANEL_VECTORS];
    UNROLLED
    for (int gate = 0; gate < gates; gate++)
        sums[gate] = load(spot->sums + gate * LANES);
    const LSTMState s = lstm_of(step, spot->unit, spot->n, sums, GET(step->c_prev, 0, 1), gates, plain);
    PUT(step->c, 0, 1, s.c);
    PUT(step->h, 0, 1, s.h);
    FETCH(step->c, 0, 1, 1);
    FETCH(step->h, 0, 1, 1);
    if (step->gates) {
        for (int gate = 0; gate < gates; gate++)
            FETCH(step->gates, gate, gates, 1);
        PUT(step->gates, 0, gates, s.i);
        if (!coupled)
            PUT(step->gates, 1, gates, s.f);
        PUT(step->gates, gates - 2, gates, s.g);
        PUT(step->gates, gates - 1, gates, s.o);
    }
}

INLINE void lstm_backward_at(const Step *step, const Spot *spot, const int gates, const int plain)
{
    const int coupled = gates == 3, peepholes = !plain && step->weight_ci;
    const vec i = GET(step->gates, 0, gates), g = GET(step->gates, gates - 2, gates),
              o = GET(step->gates, gates - 1, gates);
    const vec f = coupled ? (real)1 - i : GET(step->gates, 1, gates), c_prev = GET(step->c_prev, 0, 1);
    const vec squashed = activate(CANDIDATE(plain), GET(step->c, 0, 1));
    const vec dh = GET(step->dy, 0, 1) + GET(step->dh, 0, 1);
    const vec d_o = dh * squashed * slope(GATE(plain), o);
    vec dc = GET(step->dc, 0, 1) + dh * o * slope(CANDIDATE(plain), squashed);
    if (peepholes)
        dc += d_o * UNITWISE(step->weight_co);
    const vec di = dc * (coupled ? g - c_prev : g) * slope(GATE(plain), i);
    const vec df = coupled ? (vec){0} : dc * c_prev * slope(GATE(plain), f);
    store_first(COMPACT(step->dgates, 0, gates), di, spot->n);
    if (!coupled)
        store_first(COMPACT(step->dgates, 1, gates), df, spot->n);
    store_first(COMPACT(step->dgates, gates - 2, gates), dc * i * slope(CANDIDATE(plain), g), spot->n);
    store_first(COMPACT(step->dgates, gates - 1, gates), d_o, spot->n);
    for (int gate = 0; gate < gates; gate++)
        FETCH(step->gates, gate, gates, 0);
    FETCH(step->dy, 0, 1, 0);
    FETCH(step->c_prev, 0, 1, 0);
    if (step->dcells)
        PUT(step->dcells, 0, 1, dc);
    vec carried = dc * f;
    if (peepholes) {
        carried += di * UNITWISE(step->weight_ci);
        if (!coupled)
            carried += df * UNITWISE(step->weight_cf);
    }
    PUT(step->dc, 0, 1, carried);
}

INLINE void lstm_spot_forward(const Step *step, const Spot *spot) { lstm_forward_at(step, spot, 4, 1); }
INLINE void lstm_spot_backward(const Step *step, const Spot *spot) { lstm_backward_at(step, spot, 4, 1); }
INLINE void lstm_variant_spot_forward(const Step *step, const Spot *spot) { lstm_forward_at(step, spot, 4, 0); }
INLINE void lstm_variant_spot_backward(const Step *step, const Spot *spot) { lstm_backward_at(step, spot, 4, 0); }
INLINE void lstm_coupled_spot_forward(const Step *step, const Spot *spot) { lstm_forward_at(step, spot, 3, 0); }
INLINE void lstm_coupled_spot_backward(const Step *step, const Spot *spot) { lstm_backward_at(step, spot, 3, 0); }

/* GRU: r, z = sigmoid(a); n = tanh(x_n + r (m_n + b_hn)), m_n the product alone; h = n + z (h_prev - n). */
typedef struct {
    vec r, z, candidate, n, h;
} GRUState;

/* What becomes of the sums of r and z, the product of n and its projected input x_n. */
INLINE GRUState gru_of(const Step *step, vec r, vec z, vec m_n, vec bias_hn, vec x_n, vec h_prev, const int plain)
{
    GRUState s = {.r = activate(GATE(plain), r), .z = activate(GATE(plain), z), .candidate = m_n + bias_hn};
    s.n = activate(CANDIDATE(plain), x_n + s.r * s.candidate);
    s.h = ((real)1 - s.z) * s.n + s.z * h_prev;
    return s;
}

INLINE void gru_forward_at(const Step *step, const Spot *spot, const int plain)
{
    const real *a = spot->sums;
    const GRUState s = gru_of(step, load(a), load(a + LANES), load(a + 2 * LANES), UNITWISE(step->bias_hn),
                              load(spot->x + 2 * LANES), GET(step->h_prev, 0, 1), plain);
    PUT(step->h, 0, 1, s.h);
    FETCH(step->h, 0, 1, 1);
    if (step->gates) {
        for (int gate = 0; gate < 3; gate++)
            FETCH(step->gates, gate, 3, 1);
        FETCH(step->candidates, 0, 1, 1);
        PUT(step->gates, 0, 3, s.r);
        PUT(step->gates, 1, 3, s.z);
        PUT(step->gates, 2, 3, s.n);
        PUT(step->candidates, 0, 1, s.candidate);
    }
}

INLINE void gru_backward_at(const Step *step, const Spot *spot, const int plain)
{
    const vec r = GET(step->gates, 0, 3), z = GET(step->gates, 1, 3), n = GET(step->gates, 2, 3);
    const vec dh = GET(step->dy, 0, 1) + GET(step->dh, 0, 1);
    const vec dn = dh * ((real)1 - z) * slope(CANDIDATE(plain), n);
    const vec dr = dn * GET(step->candidates, 0, 1) * slope(GATE(plain), r);
    const vec dz = dh * (GET(step->h_prev, 0, 1) - n) * slope(GATE(plain), z);
    store_first(COMPACT(step->dgates, 0, 3), dr, spot->n);
    store_first(COMPACT(step->dgates, 1, 3), dz, spot->n);
    store_first(COMPACT(step->dgates, 2, 3), dn, spot->n);
    store_first(COMPACT(step->drecurrent, 0, 3), dr, spot->n);
    store_first(COMPACT(step->drecurrent, 1, 3), dz, spot->n);
    store_first(COMPACT(step->drecurrent, 2, 3), dn * r, spot->n);
    for (int gate = 0; gate < 3; gate++)
        FETCH(step->gates, gate, 3, 0);
    FETCH(step->candidates, 0, 1, 0);
    FETCH(step->dy, 0, 1, 0);
    FETCH(step->h_prev, 0, 1, 0);
    PUT(step->dh, 0, 1, dh * z);
}

INLINE void gru_spot_forward(const Step *step, const Spot *spot) { gru_forward_at(step, spot, 1); }
INLINE void gru_spot_backward(const Step *step, const Spot *spot) { gru_backward_at(step, spot, 1); }
INLINE void gru_variant_spot_forward(const Step *step, const Spot *spot) { gru_forward_at(step, spot, 0); }
INLINE void gru_variant_spot_backward(const Step *step, const Spot *spot) { gru_backward_at(step, spot, 0); }

#define BACKWARD(name) \
    static void name##_step_backward(const Step *step) { walk_backward(step, name##_spot_backward); }
#define CELL(name, gates, joined)                                                                    \
    _Static_assert((gates) >= 1 && (gates) <= MAX_GATES, "a panel interleaves up to MAX_GATES gates"); \
    static void name##_step_forward(const Step *step)                                                \
    {                                                                                                \
        walk_forward(step, gates, joined, name##_spot_forward);                                      \
    }                                                                                                \
    BACKWARD(name)
BACKWARD(elman)
CELL(leaky, 1, 4)
CELL(lstm, 4, 4)
CELL(lstm_variant, 4, 4)
CELL(lstm_coupled, 3, 3)
CELL(gru, 3, 2)
CELL(gru_variant, 3, 2)
#undef CELL
#undef BACKWARD

/* A product with rows of weight_hh from `first` on, packed or not. */
INLINE void multiply_states(const Step *step, const void *packed, ptrdiff_t first, Product q)
{
    if (step->weight) {
        q.weight = (const real *)step->weight + first * step->units;
        q.room = step->room;
        multiply_unpacked(&q);
    } else
        multiply(q.n, q.a, q.places_a, q.lda, q.K, packed, q.units, 1, NULL, q.add, q.out, NULL, q.ldo, q.columns);
}

/* Rescale the carried gradient of each active row, (dh, dc) taken together, to the threshold where its norm
 * exceeds it, and count that. Squares are summed in double, where those of floats cannot overflow. */
static void clip_rows(const Step *step, double threshold, Clipped *clipped)
{
    for (ptrdiff_t i = 0; i < step->n; i++) {
        real *parts[] = {(real *)step->dh + step->rows[i] * step->units,
                         step->dc ? (real *)step->dc + step->rows[i] * step->units : NULL};
        double square = 0;
        for (int part = 0; part < 2 && parts[part]; part++)
            square += sum_squares(parts[part], 1.0, step->units);
        if (!(square > threshold * threshold))
            continue;
        const double factor = threshold / __builtin_sqrt(square);
        for (int part = 0; part < 2 && parts[part]; part++)
            scale_array(parts[part], factor, step->units);
        clipped->times++;
        clipped->factors += factor;
    }
}

#endif
