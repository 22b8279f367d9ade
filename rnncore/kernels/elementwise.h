/* Functions of single numbers over whole arrays; the tail goes through the same vector code, so that a number's
 * result does not depend on its place. */
#include "simd.h"

#define ELEMENTWISE(name, function)                                                      \
    static void name(const void *x_, void *y_, ptrdiff_t n)                              \
    {                                                                                    \
        const real *x = x_;                                                              \
        real *y = y_;                                                                    \
        for (ptrdiff_t i = 0; i < n; i += LANES)                                         \
            store_first(y + i, function(load_first(x + i, n - i)), n - i);               \
    }

ELEMENTWISE(exp_array, vexp)
ELEMENTWISE(tanh_array, vtanh)
ELEMENTWISE(sigmoid_array, vsigmoid)
#undef ELEMENTWISE

/* out = a * b, or += with `add`. */
static void times_array(const void *a_, const void *b_, void *out_, ptrdiff_t n, int add)
{
    const real *a = a_, *b = b_;
    real *out = out_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec before = add ? load_first(out + i, n - i) : (vec){0};
        store_first(out + i, before + load_first(a + i, n - i) * load_first(b + i, n - i), n - i);
    }
}

/* out = keep * new + (1 - keep) * old. */
static void blend_array(const void *keep_, const void *new_, const void *old_, void *out_, ptrdiff_t n)
{
    const real *keep = keep_, *new = new_, *old = old_;
    real *out = out_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec share = load_first(keep + i, n - i);
        const vec kept = share * load_first(new + i, n - i), passed = ((real)1 - share) * load_first(old + i, n - i);
        store_first(out + i, kept + passed, n - i);
    }
}

/* The gradients of blend's two sides, from that of out; new may be total. */
static void split_array(const void *keep_, const void *total_, void *new_, void *old_, ptrdiff_t n)
{
    const real *keep = keep_, *total = total_;
    real *new = new_, *old = old_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vec share = load_first(keep + i, n - i), whole = load_first(total + i, n - i);
        store_first(new + i, share * whole, n - i);
        store_first(old + i, ((real)1 - share) * whole, n - i);
    }
}
