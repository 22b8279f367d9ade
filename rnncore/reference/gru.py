"""Gated recurrent unit (Cho et al., 2014), the reset gate after the product as in cuDNN.

    r    = sigmoid(W_ir x[t] + W_hr h[t-1] + b_r)
    z    = sigmoid(W_iz x[t] + W_hz h[t-1] + b_z)
    n    = tanh(W_in x[t] + b_n + r (W_hn h[t-1] + b_hn))
    h[t] = (1 - z) n + z h[t-1]
"""

import numpy as np

from .recurrence import (
    active_rows,
    add_input_gradients,
    add_recurrent_gradient,
    clear_padding,
    clip_rows,
    room,
    sigmoid,
)


def gru_forward(x, lengths, weight_ih, weight_hh, bias, bias_hn, hidden, gates, candidates, scratch=None):
    """x (T, B, I) -> hidden (1+T, B, H), row 0 holding the initial state, gates (T, B, 3H): the activations
    r, z, n, and candidates (T, B, H): W_hn h[t-1] + b_hn; both None where no tape is wanted. Padding is 0."""
    projected = x @ weight_ih.T + bias
    units = weight_hh.shape[1]
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        recurrent = hidden[t, rows] @ weight_hh.T
        r, z = np.split(sigmoid(projected[t, rows, : 2 * units] + recurrent[:, : 2 * units]), 2, axis=1)
        candidate = recurrent[:, 2 * units :] + bias_hn
        n = np.tanh(projected[t, rows, 2 * units :] + r * candidate)
        hidden[t + 1, rows] = n + z * (hidden[t, rows] - n)
        if gates is not None:
            gates[t, rows] = np.concatenate([r, z, n], axis=1)
            candidates[t, rows] = candidate
    clear_padding(lengths, hidden[1:])
    if gates is not None:
        clear_padding(lengths, gates, candidates)


def gru_backward(
    dy, x, lengths, weight_ih, weight_hh, clip_step, hidden, gates, candidates,
    dh, dx, dweight_ih, dweight_hh, dbias, dbias_hn, scratch=None,
    dhidden=None, dgates=None, drecurrent=None,
):  # fmt: skip
    """dy (T, B, H) -> dx, and sums into dweight_ih, dweight_hh, dbias, dbias_hn.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, 3H), those of the gates' sums and of their products
    with h[t-1].
    """
    dgates = room(dgates, gates)  # of the sums that the input enters
    drecurrent = room(drecurrent, gates)  # of the products with h[t-1]: the same but for n, which r scales
    dhidden = room(dhidden, hidden)
    clipped = 0
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        r, z, n = np.split(gates[t, rows], 3, axis=1)
        dh_t = dhidden[t + 1, rows] = dy[t, rows] + dh[rows]
        dn = dh_t * (1 - z) * (1 - n * n)
        dr = dn * candidates[t, rows] * r * (1 - r)
        dz = dh_t * (hidden[t, rows] - n) * z * (1 - z)
        dgates[t, rows] = np.concatenate([dr, dz, dn], axis=1)
        drecurrent[t, rows] = np.concatenate([dr, dz, dn * r], axis=1)
        carried = drecurrent[t, rows] @ weight_hh + dh_t * z
        clipped += clip_rows(clip_step, carried)
        dh[rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    add_recurrent_gradient(drecurrent, hidden, dweight_hh)
    units = weight_hh.shape[1]
    dbias_hn += drecurrent[:, :, 2 * units :].sum(axis=(0, 1))
    return clipped
