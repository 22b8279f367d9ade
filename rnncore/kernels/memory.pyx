"""Arrays whose memory is kept and handed out again, so that a steady training step touches no fresh page.

A fresh large array costs a page fault per 4 KiB, which is as dear as the arithmetic of a small network.
Here a block goes back to a list when the last array that views it is gone, and the next request of about
its size takes it from there: nothing is ever reused while anything can still see it. The list never holds
more bytes than were in use at once at the peak.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.pythread cimport PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, WAIT_LOCK
from libc.string cimport memmove

import math

import numpy as np

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #if defined(__unix__) || defined(__APPLE__)
    #include <pthread.h>
    #endif
    #define HUGE_PAGE ((size_t)2 << 20)

    /* Large blocks lie on huge pages: a tape of a hundred megabytes is walked with a five-hundredth of the
     * address translations. */
    static void *allocate_pages(size_t size)
    {
        void *data = NULL;
        if (posix_memalign(&data, size >= HUGE_PAGE ? HUGE_PAGE : 4096, size))
            return NULL;
    #if defined(__linux__)
        if (size >= HUGE_PAGE)
            madvise(data, size, MADV_HUGEPAGE);
    #endif
        return data;
    }

    /* The forking thread takes the lock, so that nobody is within the list at that moment; parent and child
     * release it. */
    static void hold_while_forking(void (*hold)(void), void (*release)(void))
    {
    #if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(hold, release, release);
    #else
        (void)hold, (void)release;
    #endif
    }
    """
    void *allocate_pages(size_t size) nogil
    void hold_while_forking(void (*hold)() noexcept nogil, void (*release)() noexcept nogil)
    void free(void *data) nogil

cdef struct Span:
    void *data
    size_t size

cdef enum:
    SPANS = 256
    SMALL = 8192   # below this NumPy's own cache and malloc do as well
    PAGE = 4096

cdef Span kept[SPANS]      # oldest first
cdef int n_kept = 0
cdef size_t bytes_kept = 0
cdef size_t bytes_live = 0
cdef size_t bytes_peak = 0
cdef void *lock = PyThread_allocate_lock()


cdef void hold() noexcept nogil:
    PyThread_acquire_lock(lock, WAIT_LOCK)


cdef void release() noexcept nogil:
    PyThread_release_lock(lock)


hold_while_forking(hold, release)


cdef Span drop(int index) noexcept nogil:
    """Take a span out of the list, closing the gap."""
    global n_kept, bytes_kept
    cdef Span span = kept[index]
    n_kept -= 1
    bytes_kept -= span.size
    memmove(&kept[index], &kept[index + 1], (n_kept - index) * sizeof(Span))
    return span


cdef Span take(size_t size) noexcept nogil:
    """The smallest kept span that fits without wasting a quarter of itself, or a fresh one; data is NULL if
    there is none."""
    global bytes_live, bytes_peak
    cdef Span span
    cdef int i, best = -1
    PyThread_acquire_lock(lock, WAIT_LOCK)
    for i in range(n_kept):
        if kept[i].size >= size and kept[i].size - size <= kept[i].size // 4:
            if best < 0 or kept[i].size < kept[best].size:
                best = i
    if best >= 0:
        span = drop(best)
    else:
        span.size = size
        span.data = allocate_pages(size)
    if span.data != NULL:
        bytes_live += span.size
        bytes_peak = max(bytes_peak, bytes_live)
    PyThread_release_lock(lock)
    return span


cdef void give_back(Span span) noexcept nogil:
    global n_kept, bytes_kept, bytes_live
    PyThread_acquire_lock(lock, WAIT_LOCK)
    bytes_live -= span.size
    while n_kept and (n_kept == SPANS or bytes_kept + span.size > bytes_peak):
        free(drop(0).data)
    kept[n_kept] = span
    n_kept += 1
    bytes_kept += span.size
    PyThread_release_lock(lock)


@cython.final
cdef class Block:
    """Owns one span of memory and exports it through the buffer protocol."""

    cdef Span span
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t size):
        self.span.data = NULL
        self.size = size
        self.span = take((<size_t>size + PAGE - 1) // PAGE * PAGE)
        if self.span.data == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.span.data, self.size, 0, flags)

    def __dealloc__(self):
        if self.span.data != NULL:
            give_back(self.span)


def empty(shape, dtype):
    """Like ``numpy.empty``, on memory that is kept and reused; its contents are undefined."""
    dtype = np.dtype(dtype)
    cdef Py_ssize_t size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.frombuffer(Block(size), dtype).reshape(shape)


def memory_in_use():
    """Bytes in live blocks and bytes kept for reuse: ``(live, kept)``."""
    return bytes_live, bytes_kept


def release_memory():
    """Give all kept blocks back to the system."""
    PyThread_acquire_lock(lock, WAIT_LOCK)
    while n_kept:
        free(drop(0).data)
    PyThread_release_lock(lock)
