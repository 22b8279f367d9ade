cdef extern from "table.h":
    ctypedef struct Kernels:
        const char *name
        ptrdiff_t lanes
        void (*exp)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*tanh)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*sigmoid)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        double (*norm)(const void *x, ptrdiff_t n) noexcept nogil
        void (*scale)(void *x, double factor, ptrdiff_t n) noexcept nogil
        double (*clip_value)(void *x, double threshold, ptrdiff_t n) noexcept nogil
        double (*l1)(const void *params, void *dparams, double strength, ptrdiff_t n) noexcept nogil
        double (*l2)(const void *params, void *dparams, double strength, ptrdiff_t n) noexcept nogil
        void (*sgd)(
            void *params, const void *grads, void *velocity, double lr, double momentum, int nesterov, ptrdiff_t n
        ) noexcept nogil
        void (*rmsprop)(
            void *params, const void *grads, void *square, void *velocity, double lr, double alpha, double eps,
            double momentum, ptrdiff_t n
        ) noexcept nogil
        void (*adam)(
            void *params, const void *grads, void *mean, void *square, double step_size, double beta1, double beta2,
            double eps, double root_correction, double keep, ptrdiff_t n
        ) noexcept nogil
        double (*softmax_row)(
            const void *y, ptrdiff_t classes, ptrdiff_t target, double scale, void *dy
        ) noexcept nogil
        double (*sigmoid_span)(
            const void *y, const void *target, ptrdiff_t n, double scale, void *dy
        ) noexcept nogil
        double (*squared_span)(
            const void *y, const void *target, ptrdiff_t n, double scale, void *dy
        ) noexcept nogil

    const Kernels *rnncore_level(int index, int is_double) noexcept nogil

# The functions of the level in force, for float (0) or double (1).
cdef const Kernels *kernels(bint is_double) noexcept nogil
