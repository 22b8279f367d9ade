"""Clockwork network (Koutník, Greff, Gomez & Schmidhuber, 2014): groups of units with periods of their own.

    h_g[t] = tanh(W_ih x[t] + sum over groups j >= g of W_gj h_j[t-1] + b)   if period g divides t
             h_g[t-1]                                                         otherwise
"""

import numpy as np

from .recurrence import active_rows, add_input_gradients, clear_padding, clip_rows, room


def group_of(units, periods):
    """The group of each unit, (H,)."""
    borders = [group * units // len(periods) for group in range(len(periods) + 1)]
    return np.repeat(np.arange(len(periods)), np.diff(borders))


def heard(units, periods):
    """True at [u, v] where unit u hears unit v: not where v is in a faster group."""
    groups = group_of(units, periods)
    return groups[:, None] <= groups


def stepping(t, units, periods):
    """True for the units that step at t, (H,)."""
    return t % np.asarray(periods)[group_of(units, periods)] == 0


def clockwork_forward(
    x, lengths, weight_ih, weight_hh, bias, periods, hidden, scratch=None
):  # fmt: skip
    """x (T, B, I), periods (G,) -> hidden (1+T, B, H), whose row 0 holds the initial state; padding becomes
    0."""
    units = len(weight_hh)
    masked = np.where(heard(units, periods), weight_hh, 0)
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        stepped = np.tanh(projected[t, rows] + hidden[t, rows] @ masked.T)
        hidden[t + 1, rows] = np.where(stepping(t, units, periods), stepped, hidden[t, rows])
    clear_padding(lengths, hidden[1:])


def clockwork_backward(
    dy, x, lengths, weight_ih, weight_hh, periods, clip_step, hidden,
    dh, dx, dweight_ih, dweight_hh, dbias, scratch=None,
    dhidden=None, dgates=None, drecurrent=None,
):  # fmt: skip
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dbias.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of the sums, 0 where a group does not step.
    """
    units = len(weight_hh)
    hears = heard(units, periods)
    masked = np.where(hears, weight_hh, 0)
    dgates, dhidden = room(dgates, hidden[1:]), room(dhidden, hidden)
    factors = []
    for t in reversed(range(len(x))):
        rows, steps = active_rows(lengths, t, x.shape[1]), stepping(t, units, periods)
        dhidden[t + 1, rows] = dh_t = dy[t, rows] + dh[rows]
        dgates[t, rows] = np.where(steps, dh_t * (1 - hidden[t + 1, rows] ** 2), 0)
        carried = np.where(steps, 0, dh_t) + dgates[t, rows] @ masked
        factors += clip_rows(clip_step, carried)
        dh[rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    flat = dgates.reshape(-1, units)
    dweight_hh += np.where(hears, flat.T @ hidden[:-1].reshape(len(flat), -1), 0)
    room(drecurrent, dgates)[...] = dgates
    return len(factors), sum(factors)


def clockwork_scratch_size(steps, rows, inputs, units, periods, dtype):
    """Entries of working memory that the kernels want: none here."""
    return 0
