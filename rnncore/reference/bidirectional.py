"""Reading rows backwards, each within its own length, and joining what two directions have read.

With n the length of row b (T without lengths), step t of the reversed row is step n - 1 - t of the row
(Schuster & Paliwal, 1997).
"""

import numpy as np


def _turned(x, lengths):
    """x (T, B, F) with every row reversed within its length, and 0 in the padding."""
    if lengths is None:
        return x[::-1]
    t = np.arange(len(x))[:, None]
    turned = x[np.maximum(lengths - 1 - t, 0), np.arange(x.shape[1])]
    turned[t >= lengths] = 0
    return turned


def _cleared(x, lengths):
    """x (T, B, F) with 0 in the padding."""
    return x if lengths is None else np.where((np.arange(len(x))[:, None] < lengths)[:, :, None], x, 0)


def reverse_rows(x, lengths, add, reverse):
    """reverse[t, b] = x[n-1-t, b], or += with ``add``; x and reverse (T, B, F). Padding becomes 0, or stays
    with ``add``; that of x is not read."""
    turned = _turned(x, lengths)
    reverse[...] = reverse + turned if add else turned


def join_directions(forward, reverse, lengths, y):
    """y[t, b] = forward[t, b] and reverse[n-1-t, b] one behind the other where y is (T, B, 2H), their sum
    where it is (T, B, H); forward and reverse (T, B, H). Padding becomes 0 and is not read."""
    parts = [_cleared(forward, lengths), _turned(reverse, lengths)]
    y[...] = sum(parts) if y.shape[2] == forward.shape[2] else np.concatenate(parts, axis=2)


def split_directions(dy, lengths, dforward, dreverse):
    """dforward[t, b] = dy[t, b, :H]; dreverse[n-1-t, b] = dy[t, b, H:]; dy (T, B, 2H). Padding becomes 0 and
    is not read."""
    halves = np.split(dy, 2, axis=2)
    dforward[...] = _cleared(halves[0], lengths)
    dreverse[...] = _turned(halves[1], lengths)
