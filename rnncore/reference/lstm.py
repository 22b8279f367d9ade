"""Long short-term memory (Hochreiter & Schmidhuber, 1997) with a forget gate (Gers et al., 2000).

    i, f, g, o = split(W_ih x[t] + W_hh h[t-1] + b)
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g)
    h[t] = sigmoid(o) tanh(c[t])
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


def lstm_forward(x, lengths, weight_ih, weight_hh, bias, hidden, cells, gates, scratch=None):
    """x (T, B, I) -> hidden, cells (1+T, B, H), rows 0 holding the initial state, and gates (T, B, 4H): the
    activations i, f, g, o, or None where no tape is wanted. Padding becomes 0."""
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        i, f, g, o = np.split(projected[t, rows] + hidden[t, rows] @ weight_hh.T, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        cells[t + 1, rows] = f * cells[t, rows] + i * g
        hidden[t + 1, rows] = o * np.tanh(cells[t + 1, rows])
        if gates is not None:
            gates[t, rows] = np.concatenate([i, f, g, o], axis=1)
    clear_padding(lengths, hidden[1:], cells[1:])
    if gates is not None:
        clear_padding(lengths, gates)


def lstm_backward(
    dy, x, lengths, weight_ih, weight_hh, clip_step, hidden, cells, gates,
    dh, dc, dx, dweight_ih, dweight_hh, dbias, scratch=None,
    dhidden=None, dcells=None, dgates=None, drecurrent=None,
):  # fmt: skip
    """dy (T, B, H) -> dx, and sums into dweight_ih, dweight_hh, dbias.

    dh, dc (B, H): gradients of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted.

    Recorded where arrays are given, with zeros in the padding: dhidden, dcells (1+T, B, H), in rows 1 to T
    the gradients of the states; dgates, drecurrent (T, B, 4H), those of the gates' sums and of their
    products with h[t-1].
    """
    dgates = room(dgates, gates)
    dhidden, dcells = room(dhidden, hidden), room(dcells, cells)
    clipped = 0
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        i, f, g, o = np.split(gates[t, rows], 4, axis=1)
        tanh_c = np.tanh(cells[t + 1, rows])
        dh_t = dy[t, rows] + dh[rows]
        dc_t = dc[rows] + dh_t * o * (1 - tanh_c * tanh_c)
        dhidden[t + 1, rows], dcells[t + 1, rows] = dh_t, dc_t
        dgates[t, rows] = np.concatenate(
            [
                dc_t * g * i * (1 - i),
                dc_t * cells[t, rows] * f * (1 - f),
                dc_t * i * (1 - g * g),
                dh_t * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        carried_h, carried_c = dgates[t, rows] @ weight_hh, dc_t * f
        clipped += clip_rows(clip_step, carried_h, carried_c)
        dh[rows], dc[rows] = carried_h, carried_c
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    add_recurrent_gradient(dgates, hidden, dweight_hh)
    room(drecurrent, dgates)[...] = dgates
    return clipped
