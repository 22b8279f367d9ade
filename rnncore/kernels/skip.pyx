"""Elman network with skip connections through time, or dilated.

    h[t] = g(W_ih x[t] + sum over delays d of W_d h[t-d] + b)

(El Hihi & Bengio, 1996; Lin, Horne, Tino & Giles, 1996). The first of the ascending delays has weight_hh, the
others weight_skip; without the delay 1 the network is dilated (Chang et al., 2017).

Cost: 2 T B H (I + D H) flops forward for D delays, twice that backward, and T B H gate functions.
"""

from cython cimport floating

from .plan cimport Sequence
from .dispatch cimport Clipped
from .recurrence cimport activation_code, at_start, run_backward, run_forward, start


cdef void set_delays(
    Sequence *s, const Py_ssize_t[::1] delays, const floating[:, :, ::1] weight_skip,
    floating[:, :, ::1] hidden,
):
    """hidden (D+T, B, H): in front of the states of the steps those of as many steps before as the longest
    delay has."""
    s.lag, s.depth, s.further = delays[0], delays[delays.shape[0] - 1], delays.shape[0] - 1
    if s.further:
        s.lags, s.weight_skip = &delays[1], <const char *>&weight_skip[0, 0, 0]
    s.hidden = <char *>&hidden[s.depth - 1, 0, 0]


def skip_forward(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[:, :, ::1] weight_skip,
    const floating[::1] bias,
    const Py_ssize_t[::1] delays,
    str activation,
    floating[:, :, ::1] hidden,
    floating[::1] scratch,
):
    """x (T, B, I), delays (K,) ascending, weight_skip (K-1, H, H) or None -> hidden (D+T, B, H), whose rows 0
    to D-1 hold the states before, the latest last; D is the longest delay. Padding becomes 0."""
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, None)
    set_delays(&s, delays, weight_skip, hidden)
    s.gates, s.activation = 1, activation_code(activation)
    s.forward = s.kernels.elman_forward
    s.bias = <const char *>&bias[0]
    run_forward(&s)


def skip_backward(
    const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[:, :, ::1] weight_skip,
    const Py_ssize_t[::1] delays,
    str activation,
    double clip_step,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] dh,
    floating[:, :, ::1] dx,
    floating[:, ::1] dweight_ih,
    floating[:, ::1] dweight_hh,
    floating[:, :, ::1] dweight_skip,
    floating[::1] dbias,
    floating[::1] scratch,
    floating[:, :, ::1] dhidden=None,
    floating[:, :, ::1] dgates=None,
    floating[:, :, ::1] drecurrent=None,
):
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dweight_skip, dbias.

    dh (D, B, H): the gradients of a row's last D states on entry, that of step t in slot t modulo D; on exit
    those of the states before the first step, the latest last. Returns how often clip_step acted, on what
    reaches h[t-1] once step t has been gone through, and the sum of its factors.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of the gates' sums.
    """
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, None)
    cdef Clipped clipped
    set_delays(&s, delays, weight_skip, hidden)
    s.gates, s.activation, s.clip_step = 1, activation_code(activation), clip_step
    s.backward = s.kernels.elman_backward
    s.dy, s.dh, s.dx = <const char *>&dy[0, 0, 0], <char *>&dh[0, 0, 0], at_start(dx)
    s.dweight_ih, s.dweight_hh = <char *>&dweight_ih[0, 0], <char *>&dweight_hh[0, 0]
    s.dweight_skip, s.dbias = at_start(dweight_skip), <char *>&dbias[0]
    s.dhidden, s.dgates, s.drecurrent = at_start(dhidden), at_start(dgates), at_start(drecurrent)
    clipped = run_backward(&s)
    return clipped.times, clipped.factors
