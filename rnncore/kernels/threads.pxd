# How many threads a call with so many flops uses.
cdef int threads_for(double flops) noexcept nogil
