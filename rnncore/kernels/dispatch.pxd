cdef extern from "step.h":
    enum: ACTIVATION_TANH
    enum: ACTIVATION_SIGMOID
    enum: ACTIVATION_RELU
    enum: ACTIVATION_IDENTITY

    ctypedef struct Step:
        Py_ssize_t n
        const Py_ssize_t *rows
        Py_ssize_t units
        Py_ssize_t first_panel
        Py_ssize_t last_panel
        int turned
        Py_ssize_t ahead
        int gate_activation
        int activation
        const void *packed
        const void *weight
        void *room
        const void *packed_hn
        void *projected
        const void *bias_hn
        const void *weight_ci
        const void *weight_cf
        const void *weight_co
        const void *leak
        const void *noise
        const void *h_prev
        const void *entering
        const void *drop
        const void *c_prev
        void *h
        void *c
        void *gates
        void *candidates
        const void *dy
        void *dh
        void *dc
        void *dcells
        void *dgates
        void *drecurrent
        void *dleak

    ctypedef struct Run:
        Step step
        Py_ssize_t steps
        Py_ssize_t wide

    ctypedef struct Clipped:
        Py_ssize_t times
        double factors

cdef extern from "program.h":
    enum: BY_NONE
    enum: BY_PLACE
    enum: BY_COMPACT
    enum: MAX_REGISTERS
    enum: MAX_MEANS

    ctypedef struct Operation:
        int op
        int to
        int a
        int b
        int c
        int array
        Py_ssize_t column
        double constant

    ctypedef struct Block:
        Py_ssize_t width
        int first
        int last
        int first_mean
        int last_mean

    ctypedef struct Program:
        const Operation *operations
        const Block *blocks
        int n_blocks

    ctypedef struct Rows:
        void *at
        Py_ssize_t row
        int by

ctypedef void (*StepFunction)(const Step *step) noexcept nogil
ctypedef void (*RunFunction)(const Run *run) noexcept nogil

cdef extern from "table.h":
    ctypedef struct Product:
        Py_ssize_t n
        const void *a
        const Py_ssize_t *places_a
        Py_ssize_t lda
        Py_ssize_t K
        const void *weight
        Py_ssize_t units
        int gates
        Py_ssize_t gate_stride
        Py_ssize_t unit_stride
        Py_ssize_t k_stride
        const void *start
        int add
        void *out
        const Py_ssize_t *places_out
        Py_ssize_t ldo
        Py_ssize_t columns
        void *room

    ctypedef struct Kernels:
        const char *name
        Py_ssize_t lanes
        void (*exp)(const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*tanh)(const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*sigmoid)(const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*softmax)(const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*times)(const void *a, const void *b, void *out, Py_ssize_t n, int add) noexcept nogil
        void (*blend)(
            const void *keep, const void *new_side, const void *old_side, void *out, Py_ssize_t n
        ) noexcept nogil
        void (*split)(
            const void *keep, const void *total, void *new_side, void *old_side, Py_ssize_t n
        ) noexcept nogil
        void (*activate)(
            int kind, double alpha, const void *slopes, Py_ssize_t rows, Py_ssize_t features,
            const void *x, void *y
        ) noexcept nogil
        void (*activate_back)(
            int kind, double alpha, const void *slopes, Py_ssize_t rows, Py_ssize_t features,
            const void *v, const void *dy, void *dx, void *dslopes
        ) noexcept nogil
        int (*all_finite)(const void *x, Py_ssize_t n) noexcept nogil
        double (*norm)(const void *x, Py_ssize_t n) noexcept nogil
        void (*scale)(void *x, double factor, Py_ssize_t n) noexcept nogil
        double (*clip_value)(void *x, double threshold, Py_ssize_t n) noexcept nogil
        double (*l1)(const void *params, void *dparams, double strength, Py_ssize_t n) noexcept nogil
        double (*l2)(const void *params, void *dparams, double strength, Py_ssize_t n) noexcept nogil
        void (*sgd)(
            void *params, const void *grads, void *velocity,
            double lr, double momentum, int nesterov, Py_ssize_t n
        ) noexcept nogil
        void (*rmsprop)(
            void *params, const void *grads, void *square, void *velocity,
            double lr, double alpha, double eps,
            double momentum, Py_ssize_t n
        ) noexcept nogil
        void (*adam)(
            void *params, const void *grads, void *mean, void *square,
            double step_size, double beta1, double beta2,
            double eps, double root_correction, double keep, Py_ssize_t n
        ) noexcept nogil
        double (*softmax_row)(
            const void *y, Py_ssize_t classes, Py_ssize_t target, double scale, void *dy
        ) noexcept nogil
        double (*sigmoid_span)(
            const void *y, const void *target, Py_ssize_t n, double scale, void *dy
        ) noexcept nogil
        double (*squared_span)(
            const void *y, const void *target, Py_ssize_t n, double scale, void *dy
        ) noexcept nogil
        int blas
        Py_ssize_t block_rows
        Py_ssize_t (*packed_size)(Py_ssize_t K, Py_ssize_t units, int gates) noexcept nogil
        void (*pack)(
            const void *w, Py_ssize_t K, Py_ssize_t units, int gates,
            Py_ssize_t gate_stride, Py_ssize_t unit_stride, Py_ssize_t k_stride,
            int share, int shares, void *packed
        ) noexcept nogil
        void (*pack_rows)(
            const void *w, Py_ssize_t ld, const Py_ssize_t *places, Py_ssize_t K, Py_ssize_t units,
            int share, int shares, void *packed
        ) noexcept nogil
        void (*multiply)(
            Py_ssize_t n, const void *a, const Py_ssize_t *places_a, Py_ssize_t lda, Py_ssize_t K,
            const void *packed, Py_ssize_t units, int gates, const void *start, int add,
            void *out, const Py_ssize_t *places_out, Py_ssize_t ldo, Py_ssize_t columns
        ) noexcept nogil
        void (*multiply_unpacked)(const Product *product) noexcept nogil
        int (*is_narrow)(Py_ssize_t units, int gates) noexcept nogil
        void (*multiply_narrow)(
            Py_ssize_t n, const void *a, const Py_ssize_t *places_a, Py_ssize_t lda, Py_ssize_t K,
            const void *packed, Py_ssize_t units, int gates, const void *start, void *out
        ) noexcept nogil
        void (*accumulate_outer)(
            Py_ssize_t K, const void *a, Py_ssize_t lda, Py_ssize_t first, Py_ssize_t last,
            const void *packed, Py_ssize_t units, void *out, Py_ssize_t ldo,
            const void *packed2, Py_ssize_t units2, void *out2, Py_ssize_t ldo2
        ) noexcept nogil
        void (*add_rows)(
            Py_ssize_t K, const void *a, Py_ssize_t lda, Py_ssize_t columns, void *sums
        ) noexcept nogil
        void (*add_products)(
            Py_ssize_t K, const void *a, Py_ssize_t lda, const void *b, const Py_ssize_t *places,
            Py_ssize_t ldb, Py_ssize_t columns, void *sums
        ) noexcept nogil
        StepFunction elman_forward
        StepFunction elman_backward
        StepFunction leaky_forward
        StepFunction leaky_backward
        StepFunction lstm_forward
        StepFunction lstm_backward
        StepFunction lstm_variant_forward
        StepFunction lstm_variant_backward
        StepFunction lstm_coupled_forward
        StepFunction lstm_coupled_backward
        StepFunction gru_forward
        StepFunction gru_backward
        StepFunction gru_variant_forward
        StepFunction gru_variant_backward
        StepFunction gru_before_forward
        StepFunction gru_before_backward
        Py_ssize_t small_units
        RunFunction elman_steps
        RunFunction lstm_steps
        RunFunction gru_steps
        void (*clip_rows)(const Step *step, double threshold, Clipped *clipped) noexcept nogil
        void (*run_program)(
            const Program *program, Py_ssize_t n, const Py_ssize_t *rows, const Rows *arrays
        ) noexcept nogil
        void (*clip_states)(
            Py_ssize_t n, const Py_ssize_t *rows, const Rows *states, int n_states, double threshold,
            Clipped *clipped,
        ) noexcept nogil

    const Kernels *rnncore_level(int index, int is_double) noexcept nogil

# The functions of the level in force, for float (0) or double (1).
cdef const Kernels *kernels(bint is_double) noexcept nogil
