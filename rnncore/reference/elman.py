"""Elman network: h[t] = g(W_ih x[t] + W_hh h[t-1] + b) (Elman, 1990)."""

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


def elman_forward(
    x, lengths, weight_ih, weight_hh, bias, activation, hidden, scratch=None, masks=None, panels=None
):  # fmt: skip
    """x (T, B, I) -> hidden (1+T, B, H), whose row 0 holds the initial state; padding becomes 0."""
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        entered = enter(masks, hidden, t, rows)
        hidden[t + 1, rows] = ACTIVATIONS[activation](projected[t, rows] + entered @ weight_hh.T)
        settle(masks, t, rows, hidden)
    clear_padding(lengths, hidden[1:])


def elman_backward(
    dy, x, lengths, weight_ih, weight_hh, activation, clip_step, hidden,
    dh, dx, dweight_ih, dweight_hh, dbias, scratch=None,
    dhidden=None, dgates=None, drecurrent=None, masks=None,
):  # fmt: skip
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dbias.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of the gates' sums and of their products
    with h[t-1].
    """
    dgates, dhidden = room(dgates, hidden[1:]), room(dhidden, hidden)
    (proposed,) = proposals(masks, hidden)
    factors = []
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        dhidden[t + 1, rows] = dy[t, rows] + dh[rows]
        dh_t, past = unsettle(masks, t, rows, dhidden[t + 1, rows])
        dgates[t, rows] = dh_t * SLOPES[activation](proposed[t, rows])
        carried = leave(masks, dgates[t, rows] @ weight_hh, rows) + past
        factors += clip_rows(clip_step, carried)
        dh[rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    add_recurrent_gradient(dgates, hidden, dweight_hh, lengths, masks)
    room(drecurrent, dgates)[...] = dgates
    return len(factors), sum(factors)
