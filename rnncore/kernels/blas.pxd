# Row-major products on SciPy's BLAS, for float (item 4) and double (item 8), once.

from scipy.linalg.cython_blas cimport dgemm, sgemm

cdef enum:
    MOST_OF_BLAS = 0x40000000


cdef inline void gemm(
    int item, bint transpose_a, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const char *a, Py_ssize_t lda, const char *b, Py_ssize_t ldb, char *c, Py_ssize_t ldc,
) noexcept nogil:
    """c (m, n) += a b, with a (m, k) or, transposed, a (k, m), and b (k, n); ld: numbers from row to row.

    BLAS sees columns where we see rows, so it is asked for c' = b' a'. It counts in 32 bits, which features
    fit in (checks.LARGEST_SIZE); steps times rows may not, and are taken in parts.
    """
    cdef int rows, columns = <int>n, depth, stride_a = <int>lda, stride_b = <int>ldb, stride_c = <int>ldc
    cdef Py_ssize_t row, step
    cdef const char *part_a
    cdef const char *part_b
    cdef char *part_c
    cdef char *as_is = b"N"
    cdef char *turned = b"T" if transpose_a else b"N"
    cdef float one_float = 1
    cdef double one = 1
    for row from 0 <= row < m by MOST_OF_BLAS:
        for step from 0 <= step < k by MOST_OF_BLAS:
            rows, depth = <int>min(m - row, MOST_OF_BLAS), <int>min(k - step, MOST_OF_BLAS)
            part_a = a + (step * lda + row if transpose_a else row * lda + step) * item
            part_b, part_c = b + step * ldb * item, c + row * ldc * item
            if item == sizeof(float):
                sgemm(
                    as_is, turned, &columns, &rows, &depth, &one_float, <float *>part_b, &stride_b,
                    <float *>part_a, &stride_a, &one_float, <float *>part_c, &stride_c,
                )
            else:
                dgemm(
                    as_is, turned, &columns, &rows, &depth, &one, <double *>part_b, &stride_b,
                    <double *>part_a, &stride_a, &one, <double *>part_c, &stride_c,
                )
