"""Leaky Elman network (Jaeger, Lukosevicius, Popovici & Siewert, 2007).

    h[t] = (1 - leak) h[t-1] + leak g(W_ih x[t] + W_hh h[t-1] + b) + noise[t]
"""

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


def leaky_forward(
    x, lengths, weight_ih, weight_hh, bias, leak, noise, activation, hidden, gates, scratch=None,
    masks=None, panels=None,
):  # fmt: skip
    """x (T, B, I), leak (H,), noise (T, B, H) or None -> hidden (1+T, B, H), whose row 0 holds the initial
    state, and gates (T, B, H): g's values, or None where no tape is wanted. Padding becomes 0 but in
    gates."""
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        entered = enter(masks, hidden, t, rows)
        g = ACTIVATIONS[activation](projected[t, rows] + entered @ weight_hh.T)
        hidden[t + 1, rows] = hidden[t, rows] + leak * (g - hidden[t, rows])
        if noise is not None:
            hidden[t + 1, rows] += noise[t, rows]
        settle(masks, t, rows, hidden)
        if gates is not None:
            gates[t, rows] = g
    clear_padding(lengths, hidden[1:])


def leaky_backward(
    dy, x, lengths, weight_ih, weight_hh, leak, activation, clip_step, hidden, gates,
    dh, dx, dweight_ih, dweight_hh, dbias, dleak, scratch=None,
    dhidden=None, dgates=None, drecurrent=None, masks=None,
):  # fmt: skip
    """dy (T, B, H) -> dx, and sums into dweight_ih, dweight_hh, dbias, dleak (H,); dx and dleak may be None.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of g's sums and of their products with
    h[t-1].
    """
    dgates, dhidden = room(dgates, gates), room(dhidden, hidden)
    factors = []
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        dhidden[t + 1, rows] = dy[t, rows] + dh[rows]
        dh_t, past = unsettle(masks, t, rows, dhidden[t + 1, rows])
        dgates[t, rows] = dh_t * leak * SLOPES[activation](gates[t, rows])
        if dleak is not None:
            dleak += (dh_t * (gates[t, rows] - hidden[t, rows])).sum(axis=0)
        carried = leave(masks, dgates[t, rows] @ weight_hh, rows) + (1 - leak) * dh_t + past
        factors += clip_rows(clip_step, carried)
        dh[rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    add_recurrent_gradient(dgates, hidden, dweight_hh, lengths, masks)
    room(drecurrent, dgates)[...] = dgates
    return len(factors), sum(factors)
