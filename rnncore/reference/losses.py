"""Losses and their gradients: y (T, B, C), lengths (B,) or None, dy (T, B, C) written; padding is not read.

    softmax   -log softmax(y)[target]            gradient softmax(y) - onehot(target)
    sigmoid   log(1 + e^y) - target y            gradient sigmoid(y) - target
    squared   (y - target)^2 / 2                 gradient y - target

Value and gradient are multiplied by ``scale``: 1 / (number of steps) makes a mean.
"""

import numpy as np

from .recurrence import sigmoid


def valid_steps(y, lengths):
    """True at [t, b] where row b has a step t: (T, B)."""
    if lengths is None:
        return np.ones(y.shape[:2], bool)
    return np.arange(len(y))[:, None] < lengths


def softmax_cross_entropy(y, target, lengths, scale, dy):
    """target (T, B): class ids. Returns the scaled sum over all steps (Bridle, 1990)."""
    valid = valid_steps(y, lengths)
    shifted = y[valid] - y[valid].max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1, keepdims=True)
    onehot = np.arange(y.shape[2]) == target[valid][:, None]
    dy[...] = 0
    dy[valid] = scale * (powers / total - onehot)
    return float(scale * (np.log(total[:, 0]) - shifted[onehot]).sum(dtype=np.float64))


def first_class_outside(target, lengths, classes):
    """Place t * B + b of the first class id outside 0..classes-1, not in the padding; -1 if there is none."""
    outside = valid_steps(target, lengths) & ((target < 0) | (target >= classes))
    return int(outside.argmax()) if outside.any() else -1


def sigmoid_cross_entropy(y, target, lengths, scale, dy):
    """target (T, B, C): probabilities; one outside 0..1 makes the value NaN. Returns the scaled sum."""
    valid = valid_steps(y, lengths)
    logit, wanted = y[valid], target[valid]
    loss = np.where(logit < 0, -logit * wanted, logit * (1 - wanted)) + np.log1p(np.exp(-np.abs(logit)))
    loss[(wanted < 0) | (wanted > 1)] = np.nan
    dy[...] = 0
    dy[valid] = scale * (sigmoid(logit) - wanted)
    return float(scale * loss.sum(dtype=np.float64))


def squared_error(y, target, lengths, scale, dy):
    """target (T, B, C). Returns the scaled sum."""
    valid = valid_steps(y, lengths)
    error = y[valid] - target[valid]
    dy[...] = 0
    dy[valid] = scale * error
    return float(scale * 0.5 * np.square(error).sum(dtype=np.float64))
