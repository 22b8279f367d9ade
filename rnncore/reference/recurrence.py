"""What every cell's time loop shares: which rows are active, how gradients travel back, what weights get.

Shapes: T steps, B rows, I inputs, H units, G gates.
"""

from typing import Any

import numpy as np


def sigmoid(x):
    """1 / (1 + e^-x), computed from the side where the exponential is at most 1."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


ACTIVATIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda a: np.maximum(a, 0),
    "identity": lambda a: a,
}

# g'(a) written in terms of h = g(a), so that the tape need not keep a.
SLOPES: dict[str, Any] = {
    "tanh": lambda h: 1 - h * h,
    "sigmoid": lambda h: h * (1 - h),
    "relu": lambda h: (h > 0).astype(h.dtype),
    "identity": np.ones_like,
}


def active_rows(lengths, t, rows):
    """Rows that have a step t: a slice of all of them, or the indices of those long enough."""
    return slice(0, rows) if lengths is None else np.flatnonzero(lengths > t)


def clear_padding(lengths, *arrays):
    """Zero ``array[t, b]`` for every t at or beyond the length of row b."""
    if lengths is not None:
        for array in arrays:
            array[np.arange(len(array))[:, None] >= lengths] = 0


def room(array, like):
    """The array with zeros in it, or a fresh one of this shape where there is none."""
    if array is None:
        return np.zeros_like(like)
    array[...] = 0
    return array


def clip_rows(threshold, *carried):
    """Rescale rows whose joint norm over all ``carried`` (n, H) exceeds the threshold; returns factors."""
    if np.isinf(threshold):
        return []
    norm = np.sqrt(sum(np.square(array, dtype=np.float64).sum(axis=1) for array in carried))
    over = norm > threshold
    for array in carried:
        array[over] *= (threshold / norm[over])[:, None]
    return list(threshold / norm[over])


def enter(masks, hidden, t, rows):
    """What the product takes, (n, H): h[t-1], or drop * h[t-1] (Gal & Ghahramani, 2016)."""
    if masks is None or masks.drop is None:
        return hidden[t, rows]
    masks.entering[t, rows] = masks.drop[rows] * hidden[t, rows]
    return masks.entering[t, rows]


def settle(masks, t, rows, *states):
    """What the cell put into row t + 1 of each state (1+T, B, H) is a proposal; with zoneout (Krueger et al.,
    2017) keep * proposed + (1 - keep) * state before takes its place."""
    if masks is not None:
        for state, keep, proposed in zip(states, masks.keep, masks.proposed, strict=False):
            proposed[t, rows] = state[t + 1, rows]
            share = keep[t % len(keep), rows]
            state[t + 1, rows] = share * proposed[t, rows] + (1 - share) * state[t, rows]


def proposals(masks, *states):
    """What the cell made of each state at every step, (T, B, H)."""
    if masks is None or not masks.keep:
        return tuple(state[1:] for state in states)
    return masks.proposed


def unsettle(masks, t, rows, *dstates):
    """The gradients of the proposals, and those that pass by them to the states before."""
    if masks is None or not masks.keep:
        return (*dstates, *(0 for _ in dstates))
    shares = [keep[t % len(keep), rows] for keep in masks.keep]
    pairs = list(zip(shares, dstates, strict=True))
    return (*(share * d for share, d in pairs), *((1 - share) * d for share, d in pairs))


def leave(masks, carried, rows):
    """The gradient of h[t-1] from that of what the product took."""
    return carried if masks is None or masks.drop is None else carried * masks.drop[rows]


def add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias):
    """dx = dgates @ W_ih, unless it is None; dW_ih += dgates' x; db += sum of dgates: all rows at once."""
    if lengths is not None:
        x = np.where((np.arange(len(x))[:, None] < lengths)[:, :, None], x, 0)  # padding may hold NaN
    flat = dgates.reshape(-1, dgates.shape[2])
    if dx is not None:
        dx[...] = dgates @ weight_ih
    dweight_ih += flat.T @ x.reshape(len(flat), -1)
    dbias += flat.sum(axis=0)


def add_recurrent_gradient(dgates, hidden, dweight_hh, lengths=None, masks=None):
    """dW_hh += sum over t of dgates[t]' h[t-1]; hidden (1+T, B, H) has h[t-1] in row t."""
    flat = dgates.reshape(-1, dgates.shape[2])
    entered = hidden[:-1]
    if masks is not None and masks.drop is not None:
        entered = masks.entering.copy()  # in whose padding nothing was written
        clear_padding(lengths, entered)
    dweight_hh += flat.T @ entered.reshape(len(flat), -1)


def scratch_size(
    steps, rows, inputs, units, gates, dtype, leaky=False, skips=0, two_products=False, reset_before=False
):
    """Entries of working memory that a cell's kernels want: none here."""
    return 0


def panels_size(inputs, units, gates, dtype, reset_before=False):
    """Entries of the panels that pack_recurrent fills: none here."""
    return 0


def pack_recurrent(weight_ih, weight_hh, bias, reset_before, panels):
    """Weights packed for many passes: NumPy takes them as they are."""
