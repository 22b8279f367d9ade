"""Embedding: y = weight[ids]; an id of -1 marks padding, whose row is 0 and whose gradient is dropped."""

import numpy as np


def embedding_forward(ids, weight, y):
    """ids (T, B), weight (V, E) -> y (T, B, E)."""
    y[...] = weight[ids]
    y[ids < 0] = 0


def embedding_backward(dy, ids, dweight):
    """dweight[ids[t, b]] += dy[t, b]."""
    valid = ids >= 0
    np.add.at(dweight, ids[valid], dy[valid])
