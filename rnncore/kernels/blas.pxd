# Row-major products on SciPy's BLAS, for float (item 4) and double (item 8), once.

from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline void gemm(
    int item, bint transpose_a, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const char *a, Py_ssize_t lda, const char *b, Py_ssize_t ldb, char *c, Py_ssize_t ldc,
) noexcept nogil:
    """c (m, n) += a b, with a (m, k) or, transposed, a (k, m), and b (k, n); ld: numbers from row to row.

    BLAS sees columns where we see rows, so it is asked for c' = b' a'.
    """
    cdef int rows = <int>m, columns = <int>n, depth = <int>k, stride_a = <int>lda, stride_b = <int>ldb
    cdef int stride_c = <int>ldc
    cdef char *as_is = b"N"
    cdef char *turned = b"T" if transpose_a else b"N"
    cdef float one_float = 1
    cdef double one = 1
    if item == sizeof(float):
        sgemm(
            as_is, turned, &columns, &rows, &depth, &one_float, <float *>b, &stride_b, <float *>a, &stride_a,
            &one_float, <float *>c, &stride_c,
        )
    else:
        dgemm(
            as_is, turned, &columns, &rows, &depth, &one, <double *>b, &stride_b, <double *>a, &stride_a,
            &one, <double *>c, &stride_c,
        )
