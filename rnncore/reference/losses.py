"""Losses and their gradients: y (T, B, C), lengths (B,) or None, dy (T, B, C) written; padding is not read.

    softmax   -log softmax(y)[target]            gradient softmax(y) - onehot(target)
    sigmoid   log(1 + e^y) - target y            gradient sigmoid(y) - target
    squared   (y - target)^2 / 2                 gradient y - target

Value and gradient are multiplied by ``scale``: 1 / (number of steps) makes a mean. They are also multiplied
by ``weights (T, B)``, or (1, B) for the same at every step; what has weight 0 is not read.
``class_weights (C,)`` multiply each class's part.
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
    return scale if weights is None else scale * np.broadcast_to(weights, valid.shape)[valid]


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


def smoothed_cross_entropy(
    y, target, lengths, scale, dy, smoothing, weights=None, class_weights=None
):
    """Cross-entropy against 1 - s of the target and s / C of every class (Szegedy et al., 2016)."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    classes = y.shape[2]
    of_class = np.ones(classes) if class_weights is None else class_weights
    shifted = np.float64(y[valid]) - y[valid].max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted
    onehot = np.arange(classes) == target[valid][:, None]
    parts = ((1 - smoothing) * onehot + smoothing / classes) * of_class
    dy[...] = 0
    gradient = parts.sum(axis=1, keepdims=True) * np.exp(-losses) - parts
    dy[valid] = each_row(share, gradient.astype(dy.dtype))
    return float((share * np.where(parts > 0, parts * losses, 0).sum(axis=1)).sum())


def first_class_outside(target, lengths, classes):
    """Place t * B + b of the first class id outside 0..classes-1, not in the padding; -1 if there is none."""
    outside = valid_steps(target, lengths) & ((target < 0) | (target >= classes))
    return int(outside.argmax()) if outside.any() else -1


def sigmoid_cross_entropy(y, target, lengths, scale, dy, weights=None, class_weights=None):
    """target (T, B, C): probabilities; one outside 0..1 makes the value NaN. Returns the scaled sum."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    logit, wanted = y[valid], target[valid]
    loss = np.where(logit < 0, -logit * wanted, logit * (1 - wanted)) + np.log1p(np.exp(-np.abs(logit)))
    loss[(wanted < 0) | (wanted > 1)] = np.nan
    dy[...] = 0
    dy[valid] = each_row(share, weighed(sigmoid(logit) - wanted, class_weights))
    return float((share * weighed(loss, class_weights).sum(axis=1, dtype=np.float64)).sum())


def weighed(array, class_weights):
    """array (N, C), each class multiplied by its weight; a weight of 0 lets nothing through."""
    if class_weights is None:
        return array
    return np.where(class_weights > 0, array * class_weights, 0).astype(array.dtype)


def squared_error(y, target, lengths, scale, dy, weights=None, class_weights=None):
    """target (T, B, C). Returns the scaled sum."""
    valid = valid_steps(y, lengths, weights)
    share = shares(scale, valid, weights)
    error = y[valid] - target[valid]
    dy[...] = 0
    dy[valid] = each_row(share, weighed(error, class_weights))
    squares = weighed(np.square(error), class_weights)
    return float((0.5 * share * squares.sum(axis=1, dtype=np.float64)).sum())
