"""Gated recurrent unit (Cho et al., 2014), the reset gate after the product as in cuDNN, or before it.

    r    = sigmoid(W_ir x[t] + W_hr h[t-1] + b_r)
    z    = sigmoid(W_iz x[t] + W_hz h[t-1] + b_z)
    n    = tanh(W_in x[t] + b_n + r (W_hn h[t-1] + b_hn))
    h[t] = (1 - z) n + z h[t-1]

Before it (Cho et al.'s own form) n = tanh(W_in x[t] + b_n + W_hn (r h[t-1])), and there is no b_hn. Under
recurrent dropout h[t-1] is drop * h[t-1] wherever W_h is, but not beside z. Sigmoid and tanh may be other
activations.
"""

import numpy as np

from .recurrence import (
    ACTIVATIONS,
    SLOPES,
    active_rows,
    add_input_gradients,
    add_recurrent_gradient,
    clear_padding,
    clip_rows,
    enter,
    leave,
    room,
    settle,
    unsettle,
)


def gru_forward(
    x, lengths, weight_ih, weight_hh, bias, bias_hn, hidden, gates, candidates, scratch=None,
    gate_activation="sigmoid", activation="tanh", masks=None, panels=None,
):  # fmt: skip
    """x (T, B, I) -> hidden (1+T, B, H), row 0 holding the initial state, gates (T, B, 3H): the activations
    r, z, n, and candidates (T, B, H): W_hn h[t-1] + b_hn; both None where no tape is wanted. Padding
    becomes 0 but in gates.

    Without bias_hn the reset gate comes before the product, and candidates are r h[t-1]."""
    gate, squash = ACTIVATIONS[gate_activation], ACTIVATIONS[activation]
    projected = x @ weight_ih.T + bias
    units = weight_hh.shape[1]
    joint, last = weight_hh[: 2 * units], weight_hh[2 * units :]
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        h_prev, entered = hidden[t, rows], enter(masks, hidden, t, rows)
        r, z = np.split(gate(projected[t, rows, : 2 * units] + entered @ joint.T), 2, axis=1)
        if bias_hn is None:
            candidate = r * entered
            n = squash(projected[t, rows, 2 * units :] + candidate @ last.T)
        else:
            candidate = entered @ last.T + bias_hn
            n = squash(projected[t, rows, 2 * units :] + r * candidate)
        hidden[t + 1, rows] = n + z * (h_prev - n)
        settle(masks, t, rows, hidden)
        if gates is not None:
            gates[t, rows] = np.concatenate([r, z, n], axis=1)
            candidates[t, rows] = candidate
    clear_padding(lengths, hidden[1:])
    if gates is not None:
        clear_padding(lengths, candidates)


def gru_backward(
    dy, x, lengths, weight_ih, weight_hh, clip_step, hidden, gates, candidates,
    dh, dx, dweight_ih, dweight_hh, dbias, dbias_hn, scratch=None,
    dhidden=None, dgates=None, drecurrent=None, gate_activation="sigmoid", activation="tanh", masks=None,
):  # fmt: skip
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dbias, dbias_hn.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, 3H), those of the gates' sums and of their products
    with h[t-1]. Without dbias_hn the reset gate comes before the product, which for n is with r h[t-1].
    """
    before, units = dbias_hn is None, weight_hh.shape[1]
    joint, last = weight_hh[: 2 * units], weight_hh[2 * units :]
    gate_slope, slope = SLOPES[gate_activation], SLOPES[activation]
    dgates = room(dgates, gates)  # of the sums that the input enters
    drecurrent = room(drecurrent, gates)  # of the products: the same but for n, which r may scale
    dhidden = room(dhidden, hidden)
    factors = []
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        r, z, n = np.split(gates[t, rows], 3, axis=1)
        h_prev, entered = hidden[t, rows], enter(masks, hidden, t, rows)
        candidate = candidates[t, rows]
        dhidden[t + 1, rows] = dy[t, rows] + dh[rows]
        dh_t, past = unsettle(masks, t, rows, dhidden[t + 1, rows])
        dn = dh_t * (1 - z) * slope(n)
        dz = dh_t * (h_prev - n) * gate_slope(z)
        dreset = dn @ last if before else None  # of r h[t-1]
        dr = (dn * candidate if dreset is None else dreset * entered) * gate_slope(r)
        dgates[t, rows] = np.concatenate([dr, dz, dn], axis=1)
        drecurrent[t, rows] = np.concatenate([dr, dz, dn if before else dn * r], axis=1)
        carried = drecurrent[t, rows, : 2 * units] @ joint
        carried += drecurrent[t, rows, 2 * units :] @ last if dreset is None else dreset * r
        carried = leave(masks, carried, rows) + dh_t * z + past
        factors += clip_rows(clip_step, carried)
        dh[rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    if before:
        djoint = drecurrent[:, :, : 2 * units]
        add_recurrent_gradient(djoint, hidden, dweight_hh[: 2 * units], lengths, masks)
        dlast = drecurrent[:, :, 2 * units :].reshape(-1, units)
        dweight_hh[2 * units :] += dlast.T @ candidates.reshape(-1, units)
    else:
        add_recurrent_gradient(drecurrent, hidden, dweight_hh, lengths, masks)
        dbias_hn += drecurrent[:, :, 2 * units :].sum(axis=(0, 1))
    return len(factors), sum(factors)
