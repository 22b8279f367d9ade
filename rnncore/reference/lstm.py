"""Long short-term memory (Hochreiter & Schmidhuber, 1997) with a forget gate (Gers et al., 2000).

    i, f, g, o = split(W_ih x[t] + W_hh h[t-1] + b)
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g)
    h[t] = sigmoid(o) tanh(c[t])

With peepholes (Gers, Schraudolph & Schmidhuber, 2002) i and f also see w_ci c[t-1] and w_cf c[t-1], o sees
w_co c[t]. With three gates, i g o, the forget gate is coupled: sigmoid(f) is 1 - sigmoid(i) (Greff et al.,
2017). Sigmoid and tanh may be other activations.
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
    proposals,
    room,
    settle,
    unsettle,
)


def split_gates(array, units):
    """The gates i, f, g, o (n, H) of an array (n, G*H); f is None where there are but three."""
    i, *f, g, o = np.split(array, array.shape[1] // units, axis=1)
    return i, f[0] if f else None, g, o


def join_gates(i, f, g, o):
    """The array (n, G*H) of the gates; f may be None."""
    return np.concatenate([i, g, o] if f is None else [i, f, g, o], axis=1)


def lstm_forward(
    x, lengths, weight_ih, weight_hh, bias, hidden, cells, gates, scratch=None,
    weight_ci=None, weight_cf=None, weight_co=None, gate_activation="sigmoid", activation="tanh", masks=None,
    panels=None,
):  # fmt: skip
    """x (T, B, I) -> hidden, cells (1+T, B, H), rows 0 holding the initial state, and gates (T, B, G*H): the
    activations i, f, g, o, without f if the weights have but three gates; None where no tape is wanted.
    Padding becomes 0 but in gates. Peepholes (H,) come together, or none."""
    gate, squash, units = ACTIVATIONS[gate_activation], ACTIVATIONS[activation], weight_hh.shape[1]
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        c_prev = cells[t, rows]
        i, f, g, o = split_gates(projected[t, rows] + enter(masks, hidden, t, rows) @ weight_hh.T, units)
        i = gate(i if weight_ci is None else i + weight_ci * c_prev)
        if f is not None:
            f = gate(f if weight_cf is None else f + weight_cf * c_prev)
        g = squash(g)
        c = cells[t + 1, rows] = (1 - i if f is None else f) * c_prev + i * g
        o = gate(o if weight_co is None else o + weight_co * c)
        hidden[t + 1, rows] = o * squash(c)
        settle(masks, t, rows, hidden, cells)
        if gates is not None:
            gates[t, rows] = join_gates(i, f, g, o)
    clear_padding(lengths, hidden[1:], cells[1:])


def lstm_backward(
    dy, x, lengths, weight_ih, weight_hh, clip_step, hidden, cells, gates,
    dh, dc, dx, dweight_ih, dweight_hh, dbias, scratch=None,
    dhidden=None, dcells=None, dgates=None, drecurrent=None,
    weight_ci=None, weight_cf=None, weight_co=None, dweight_ci=None, dweight_cf=None, dweight_co=None,
    gate_activation="sigmoid", activation="tanh", masks=None,
):  # fmt: skip
    """dy (T, B, H) -> dx or None; sums into dweight_ih, dweight_hh, dbias and the peepholes' dweight_c...

    dh, dc (B, H): gradients of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden, dcells (1+T, B, H), in rows 1 to T
    the gradients of the states; dgates, drecurrent (T, B, G*H), those of the gates' sums and of their
    products with h[t-1].
    """
    dgates = room(dgates, gates)
    dhidden, dcells = room(dhidden, hidden), room(dcells, cells)
    gate_slope, slope, units = SLOPES[gate_activation], SLOPES[activation], weight_hh.shape[1]
    _, proposed = proposals(masks, hidden, cells)
    factors = []
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        i, f, g, o = split_gates(gates[t, rows], units)
        c_prev, c = cells[t, rows], proposed[t, rows]
        squashed = ACTIVATIONS[activation](c)
        dhidden[t + 1, rows] = dy[t, rows] + dh[rows]
        dh_t, dc_t, past_h, past_c = unsettle(masks, t, rows, dhidden[t + 1, rows], dc[rows])
        do = dh_t * squashed * gate_slope(o)
        dc_t = dc_t + dh_t * o * slope(squashed)
        if weight_co is not None:
            dc_t = dc_t + do * weight_co
            dweight_co += (do * c).sum(axis=0)
        dcells[t + 1, rows] = dc[rows] if masks is not None and masks.keep else dc_t
        di = dc_t * (g - c_prev if f is None else g) * gate_slope(i)
        df = None if f is None else dc_t * c_prev * gate_slope(f)
        dgates[t, rows] = join_gates(di, df, dc_t * i * slope(g), do)
        carried_h = leave(masks, dgates[t, rows] @ weight_hh, rows) + past_h
        carried_c = dc_t * (1 - i if f is None else f) + past_c
        if weight_ci is not None:
            carried_c = carried_c + di * weight_ci
            dweight_ci += (di * c_prev).sum(axis=0)
        if weight_cf is not None:
            carried_c = carried_c + df * weight_cf
            dweight_cf += (df * c_prev).sum(axis=0)
        factors += clip_rows(clip_step, carried_h, carried_c)
        dh[rows], dc[rows] = carried_h, carried_c
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    add_recurrent_gradient(dgates, hidden, dweight_hh, lengths, masks)
    room(drecurrent, dgates)[...] = dgates
    return len(factors), sum(factors)
