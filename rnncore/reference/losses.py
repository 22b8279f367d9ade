"""Losses and their gradients: y (T, B, C), lengths (B,) or None, dy (T, B, C) written; padding is not read.

    softmax   -log softmax(y)[target]            gradient softmax(y) - onehot(target)
    sigmoid   log(1 + e^y) - target y            gradient sigmoid(y) - target
    squared   (y - target)^2 / 2                 gradient y - target

Value and gradient are multiplied by ``scale``: 1 / (number of steps) makes a mean. Those of row b are also
multiplied by weights[b]; what has weight 0 is not read.
"""

import numpy as np

from .recurrence import sigmoid


def valid_steps(y, lengths, weights=None):
    """True at [t, b] where row b has a step t, and a weight other than 0: (T, B)."""
    valid = np.ones(y.shape[:2], bool)
    if lengths is not None:
        valid &= np.arange(len(y))[:, None] < lengths
    return valid if weights is None else valid & (weights != 0)


def shares(scale, valid, weights):
    """What each valid step's loss and gradient are multiplied by: one scale, or with weights (N,)."""
    return scale if weights is None else scale * weights[np.nonzero(valid)[1]]


def each_row(share, array):
    """share * array (N, C), a share for each row or one for all."""
    return np.multiply(share if np.ndim(share) == 0 else share[:, None], array, dtype=array.dtype)


def softmax_cross_entropy(y, target, lengths, scale, dy, weights=None):
    """target (T, B): class ids. Returns the scaled sum over all steps (Bridle, 1990)."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    shifted = y[valid] - y[valid].max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    onehot = np.arange(y.shape[2]) == target[valid][:, None]
    dy[...] = 0
    dy[valid] = each_row(share, powers / total - onehot)
    return float((share * (np.log(total[:, 0]) - shifted[onehot])).sum(dtype=np.float64))


def first_class_outside(target, lengths, classes):
    """Place t * B + b of the first class id outside 0..classes-1, not in the padding; -1 if there is none."""
    outside = valid_steps(target, lengths) & ((target < 0) | (target >= classes))
    return int(outside.argmax()) if outside.any() else -1


def sigmoid_cross_entropy(y, target, lengths, scale, dy, weights=None):
    """target (T, B, C): probabilities; one outside 0..1 makes the value NaN. Returns the scaled sum."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    logit, wanted = y[valid], target[valid]
    loss = np.where(logit < 0, -logit * wanted, logit * (1 - wanted)) + np.log1p(np.exp(-np.abs(logit)))
    loss[(wanted < 0) | (wanted > 1)] = np.nan
    dy[...] = 0
    dy[valid] = each_row(share, sigmoid(logit) - wanted)
    return float((share * loss.sum(axis=1, dtype=np.float64)).sum())


def squared_error(y, target, lengths, scale, dy, weights=None):
    """target (T, B, C). Returns the scaled sum."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    error = y[valid] - target[valid]
    dy[...] = 0
    dy[valid] = each_row(share, error)
    return float((0.5 * share * np.square(error).sum(axis=1, dtype=np.float64)).sum())
