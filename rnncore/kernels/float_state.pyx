"""Whether kernels flush denormals: RNNCORE_KEEP_DENORMALS tells a process, `keep_denormals` a thread."""

import os
from contextlib import ContextDecorator

cdef extern from *:
    """
    #include "float_state.h"

    static _Thread_local int keeping; /* how many keep_denormals this thread is in */
    static int always_keeping;
    static inline void keep_one_more(int more) { keeping += more; }
    static inline void keep_always(int always) { always_keeping = always; }
    static inline int denormals_are_kept(void) { return always_keeping || keeping > 0; }
    """
    void keep_one_more(int more) noexcept nogil
    void keep_always(bint always) noexcept nogil
    bint denormals_are_kept() noexcept nogil
    float_state read_float_state() noexcept nogil
    void write_float_state(float_state state) noexcept nogil
    float_state kernel_float_state(bint keep_denormals) noexcept nogil
    void compute_with(float_state wanted) noexcept nogil


cdef float_state enter() noexcept nogil:
    cdef float_state before = read_float_state()
    compute_with(kernel_float_state(denormals_are_kept()))
    return before


cdef void leave(float_state before) noexcept nogil:
    write_float_state(before)


cdef class flushing:
    """NumPy's arithmetic as the kernels': ``with flushing(): ...`` around passes over whole sequences."""

    cdef float_state before

    def __enter__(self):
        self.before = enter()

    def __exit__(self, *exception):
        leave(self.before)


class keep_denormals(ContextDecorator):
    """Compute with denormal numbers in this thread: ``with rnncore.keep_denormals():``, or as a decorator.

    Kernels otherwise count numbers below the smallest normal one, 1.2e-38 in float32 and 2.2e-308 in float64,
    as 0: a processor takes a hundred times as long for them, and vanishing gradients are full of them. Each
    call of a kernel looks once, when it begins. RNNCORE_KEEP_DENORMALS=1 in the environment keeps them
    everywhere.
    """

    def __enter__(self):
        keep_one_more(1)

    def __exit__(self, *exception):
        keep_one_more(-1)


cdef str wanted = os.environ.get("RNNCORE_KEEP_DENORMALS", "")
if wanted not in ("", "0", "1"):
    raise ValueError(f"RNNCORE_KEEP_DENORMALS is {wanted!r}; set it to 1 to keep denormal numbers, or to 0")
keep_always(wanted == "1")
