/* The gate functions over whole arrays; the tail goes through the same vector code, so that a number's
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
