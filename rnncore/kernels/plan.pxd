from .dispatch cimport Clipped, Kernels, StepFunction
from .masks cimport Masks

cdef enum:
    MAX_SHARES = 64       # threads.pyx gives no more
    OWN_ARRAYS = 9        # gradients of weights that a call may have

# One layer over a whole sequence: sizes, the cell's two step functions, and every array as bytes. T steps,
# B rows, I inputs, H units, G gates; NULL where a cell or a call has no such array.
cdef struct Sequence:
    Py_ssize_t steps
    Py_ssize_t rows
    Py_ssize_t inputs
    Py_ssize_t units
    int gates
    int item                  # bytes of a number
    int gate_activation
    int activation
    bint two_products         # whether drecurrent differs from dgates
    bint reset_before         # whether the last gate's product is with r h[t-1], which candidates then hold
    bint leaves_dh            # whether h[t-1] also enters h[t] beside the product
    const Kernels *kernels
    StepFunction forward
    StepFunction backward
    const Py_ssize_t *lengths  # (B,) or NULL
    const char *x             # (T, B, I)
    const char *weight_ih     # (G*H, I)
    const char *weight_hh     # (G*H, H)
    const char *bias          # (G*H,)
    const char *bias_hn       # (H,)
    const char *weight_ci     # (H,) peepholes
    const char *weight_cf
    const char *weight_co
    const char *leak          # (H,)
    const char *noise         # (T, B, H)
    char *hidden              # (1+T, B, H)
    char *cells               # (1+T, B, H)
    char *gate_tape           # (T, B, G*H)
    char *candidates          # (T, B, H)
    double clip_step
    const char *dy            # (T, B, H)
    char *dh                  # (B, H)
    char *dc                  # (B, H)
    char *dx                  # (T, B, I), or NULL
    char *dhidden             # (1+T, B, H): this and the next three record a pass, each may be NULL
    char *dcells              # (1+T, B, H)
    char *dgates              # (T, B, G*H)
    char *drecurrent          # (T, B, G*H)
    char *dweight_ih
    char *dweight_hh
    char *dbias
    char *dbias_hn
    char *dweight_ci
    char *dweight_cf
    char *dweight_co
    char *dleak
    Masks masks
    Py_ssize_t lag            # the product is with h[t-lag], 1 but with delays (skip.pyx)
    Py_ssize_t depth          # the longest delay: hidden has depth - 1 rows in front, dh a slot for t % depth
    Py_ssize_t further        # delays beside lag
    const Py_ssize_t *lags    # (further,)
    const char *weight_skip   # (further, H, H)
    char *dweight_skip
    char *scratch
    char *scratch_end
    char *panels              # weights packed before the call, or NULL

# One call: its plan, its working memory, carved from scratch, and the chunk at hand.
cdef struct Work:
    const Sequence *sequence
    int shares                    # parts of the batch, a thread each
    int threads                   # for what is not split by rows of the batch
    int unit_shares               # parts of the units, where these are split in place of the batch
    Py_ssize_t panels             # of the recurrent weights, forward
    Py_ssize_t chunk              # steps at a time, where all rows have them
    Py_ssize_t first              # the steps first ... last - 1 of the chunk at hand
    Py_ssize_t last
    Clipped clipped[MAX_SHARES]        # what clip_step did on each share
    Py_ssize_t start[MAX_SHARES + 1]   # share k has the rows order[start[k]] ... order[start[k + 1] - 1]
    Py_ssize_t base[MAX_SHARES + 1]    # and the compact rows base[k] ... of a backward chunk
    Py_ssize_t *lengths           # (B,) a copy of the sequence's, where it has some
    Py_ssize_t *order             # (B,) rows, in each share by descending length
    Py_ssize_t *buckets           # (T + 2,) for sorting
    Py_ssize_t *places            # (chunk * B,) t * B + row of each compact row
    Py_ssize_t joint              # rows of weight_hh that take their product with h[t-1]
    int interleaved               # gates whose columns lie side by side in a panel, forward
    Py_ssize_t columns            # of each of them
    Py_ssize_t wide               # numbers in a projected row
    bint narrow                   # whether packed_ih is of all gates' columns side by side (narrow.h)
    bint unpacked_ih              # weight_ih, used once, is read where it is; packed_ih is working memory
    bint unpacked_hh              # the same of weight_hh and weight_skip
    char *packed_ih
    char *packed_hh
    char *packed_hn               # of the gate whose product is with r h[t-1]
    char *packed_bias
    char *projected               # (chunk * B, wide), forward
    char *dgates                  # (chunk * B, G*H), backward
    char *drecurrent
    char *dleak                   # (chunk * B, H), backward
    char *rows_x                  # (chunk * B, I) and (chunk * B, H) packed, backward
    char *rows_h
    char *rows_reset              # of r h[t-1]
    char *packed_skip             # weight_skip, one after the other
    char *rows_skip               # of h[t-d] for one delay
    Py_ssize_t at_lag             # the delay at hand in the weight gradients
    char *own                     # a set of gradients for each share but the first, or NULL
    Py_ssize_t own_size           # bytes of a set

# Raise ValueError for more gates than a panel holds side by side (product.h).
cdef int check_gates(Py_ssize_t gates) except -1

# Carve what the weights are packed into for a forward pass; returns where the rest begins.
cdef char *lay_out_panels(const Sequence *s, Work *w, char *space) noexcept nogil

# Decide on threads and chunks and carve the working memory of a forward or backward pass from the scratch;
# returns the bytes it takes. own: whether each share may have gradients of its own, where these pay and fit.
cdef Py_ssize_t lay_out(const Sequence *s, Work *w, bint back, bint own) noexcept nogil

# Have the call go by a copy of the lengths; ValueError unless each is from 0 to T.
cdef int own_lengths(Sequence *s, Work *w) except -1

# Deal the rows out to the shares, in each by descending length.
cdef void arrange(const Sequence *s, Work *w) noexcept nogil

# Which steps before w.last make up a chunk, and where each share's compact rows of them begin; returns how
# many there are.
cdef Py_ssize_t count_rows(const Sequence *s, Work *w) noexcept nogil

# Zero share k of array (T, B, width in bytes) beyond the rows' lengths.
cdef void clear_padding(
    const Py_ssize_t *lengths, Py_ssize_t steps, Py_ssize_t rows, char *array, Py_ssize_t width,
    int k, int shares,
) noexcept nogil


cdef inline Py_ssize_t length_of(const Sequence *s, Py_ssize_t row) noexcept nogil:
    return s.steps if s.lengths == NULL else s.lengths[row]


cdef inline Clipped all_clipped(const Clipped *clipped, int shares) noexcept nogil:
    """What clip_step did on all shares together."""
    cdef Clipped total = Clipped(0, 0)
    cdef int k
    for k in range(shares):
        total.times += clipped[k].times
        total.factors += clipped[k].factors
    return total
