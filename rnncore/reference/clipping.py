"""Clipping the flat gradient (P,) in place, by value or by its L2 norm; whether an array is finite."""

import numpy as np


def all_finite(array):
    """Whether no entry is NaN or infinite."""
    return bool(np.isfinite(array).all())


def global_norm(grads):
    """sqrt(sum grads^2), free of overflow and underflow; NaN if an entry is NaN."""
    largest = np.max(np.abs(grads), initial=0)
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    exponent = np.frexp(largest)[1]  # scaling by a power of two changes no digit
    return float(np.ldexp(np.sqrt(np.sum(np.ldexp(grads.astype(np.float64), -exponent) ** 2)), exponent))


def clip_norm(grads, threshold):
    """grads *= threshold / norm where norm > threshold; returns the norm before.

    A norm that is NaN or infinite scales nothing: no factor would mend it, and the caller must see it.
    """
    norm = global_norm(grads)
    if threshold < norm < np.inf:
        grads[...] = grads.astype(np.float64) * (threshold / norm)
    return norm


def clip_value(grads, threshold):
    """grads = min(max(grads, -threshold), threshold); returns the largest |entry| before, or NaN."""
    largest = float(np.max(np.abs(grads), initial=0))
    np.clip(grads, -threshold, threshold, out=grads)
    return largest
