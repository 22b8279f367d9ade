"""Dense layer: y = x W' + b."""


def dense_forward(x, weight, bias, y, scratch=None, panels=None):
    """x (N, I), weight (O, I), bias (O,) -> y (N, O)."""
    y[...] = x @ weight.T + bias


def pack_dense(weight, bias, panels):
    """Weights packed for many passes: NumPy takes them as they are."""


def dense_backward(dy, x, weight, dx, dweight, dbias, scratch=None):
    """dy (N, O) -> dx (N, I) unless it is None, and sums into dweight and dbias."""
    if dx is not None:
        dx[...] = dy @ weight
    dweight += dy.T @ x
    dbias += dy.sum(axis=0)


def dense_scratch_size(inputs, outputs, dtype):
    """Entries of working memory that the kernels want: none here."""
    return 0
