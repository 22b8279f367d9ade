cdef extern from "float_state.h":
    ctypedef struct float_state:
        pass

# Set the kernels' arithmetic in this thread, and the workers' in what it shares out before `leave`; returns
# the caller's. Every kernel that computes begins and ends with these two, on every way out.
cdef float_state enter() noexcept nogil

# Put the caller's state back.
cdef void leave(float_state before) noexcept nogil
