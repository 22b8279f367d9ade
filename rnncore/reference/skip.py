"""Elman network with skip connections through time: h[t] = g(W_ih x[t] + sum over d of W_d h[t-d] + b).

(El Hihi & Bengio, 1996; Lin, Horne, Tino & Giles, 1996; without the delay 1: Chang et al., 2017.)
"""

from .recurrence import (
    ACTIVATIONS,
    SLOPES,
    active_rows,
    add_input_gradients,
    clear_padding,
    clip_rows,
    room,
)


def by_delay(delays, weight_hh, weight_skip):
    """Each delay with its weights (H, H)."""
    return list(zip(delays, [weight_hh, *([] if weight_skip is None else weight_skip)], strict=True))


def skip_forward(
    x, lengths, weight_ih, weight_hh, weight_skip, bias, delays, activation, hidden, scratch=None
):  # fmt: skip
    """x (T, B, I), delays (K,) ascending, weight_skip (K-1, H, H) or None -> hidden (D+T, B, H), whose rows 0
    to D-1 hold the states before, the latest last; D is the longest delay. Padding becomes 0."""
    depth = delays[-1]
    projected = x @ weight_ih.T + bias
    for t in range(len(x)):
        rows = active_rows(lengths, t, x.shape[1])
        sums = projected[t, rows]
        for d, weight in by_delay(delays, weight_hh, weight_skip):
            sums = sums + hidden[depth + t - d, rows] @ weight.T
        hidden[depth + t, rows] = ACTIVATIONS[activation](sums)
    clear_padding(lengths, hidden[depth:])


def skip_backward(
    dy, x, lengths, weight_ih, weight_hh, weight_skip, delays, activation, clip_step, hidden,
    dh, dx, dweight_ih, dweight_hh, dweight_skip, dbias, scratch=None,
    dhidden=None, dgates=None, drecurrent=None,
):  # fmt: skip
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dweight_skip, dbias.

    dh (D, B, H): the gradients of a row's last D states on entry, that of step t in slot t modulo D; on exit
    those of the states before the first step, the latest last. Returns how often clip_step acted, on what
    reaches h[t-1] once step t has been gone through, and the sum of its factors.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of the gates' sums.
    """
    depth, states = delays[-1], hidden[delays[-1] :]
    dgates, dhidden = room(dgates, states), room(dhidden, hidden[depth - 1 :])
    factors = []
    for t in reversed(range(len(x))):
        rows = active_rows(lengths, t, x.shape[1])
        dhidden[t + 1, rows] = dy[t, rows] + dh[t % depth, rows]
        dgates[t, rows] = dhidden[t + 1, rows] * SLOPES[activation](states[t, rows])
        dh[t % depth, rows] = 0
        for d, weight in by_delay(delays, weight_hh, weight_skip):
            dh[(t - d) % depth, rows] += dgates[t, rows] @ weight
        carried = dh[(t - 1) % depth, rows]
        factors += clip_rows(clip_step, carried)
        dh[(t - 1) % depth, rows] = carried
    add_input_gradients(dgates, x, lengths, weight_ih, dx, dweight_ih, dbias)
    flat = dgates.reshape(-1, dgates.shape[2])
    for d, dweight in by_delay(delays, dweight_hh, dweight_skip):
        dweight += flat.T @ hidden[depth - d : depth - d + len(x)].reshape(len(flat), -1)
    room(drecurrent, dgates)[...] = dgates
    return len(factors), sum(factors)
