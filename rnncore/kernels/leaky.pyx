"""Leaky Elman network (Jaeger, Lukosevicius, Popovici & Siewert, 2007).

    h[t] = (1 - leak) h[t-1] + leak g(W_ih x[t] + W_hh h[t-1] + b) + noise[t]

Cost: that of the Elman network; the tape also keeps g, T B H numbers.
"""

from cython cimport floating

from .plan cimport Sequence
from .dispatch cimport Clipped
from .recurrence cimport activation_code, at_first, at_start, run_backward, run_forward, start


def leaky_forward(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] bias,
    const floating[::1] leak,
    const floating[:, :, ::1] noise,
    str activation,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] gates,
    floating[::1] scratch,
    masks=None,
    floating[::1] panels=None,
):
    """x (T, B, I), leak (H,), noise (T, B, H) or None -> hidden (1+T, B, H), whose row 0 holds the initial
    state, and gates (T, B, H): g's values, or None where no tape is wanted. Padding becomes 0 but in
    gates."""
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    s.gates, s.activation = 1, activation_code(activation)
    s.forward = s.kernels.leaky_forward
    s.bias, s.leak = <const char *>&bias[0], <const char *>&leak[0]
    if noise is not None:
        s.noise = <const char *>&noise[0, 0, 0]
    s.gate_tape = at_start(gates)
    s.panels = at_first(panels)
    run_forward(&s)


def leaky_backward(
    const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] leak,
    str activation,
    double clip_step,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] gates,
    floating[:, ::1] dh,
    floating[:, :, ::1] dx,
    floating[:, ::1] dweight_ih,
    floating[:, ::1] dweight_hh,
    floating[::1] dbias,
    floating[::1] dleak,
    floating[::1] scratch,
    floating[:, :, ::1] dhidden=None,
    floating[:, :, ::1] dgates=None,
    floating[:, :, ::1] drecurrent=None,
    masks=None,
):
    """dy (T, B, H) -> dx, and sums into dweight_ih, dweight_hh, dbias, dleak (H,); dx and dleak may be None.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, H), those of g's sums and of their products with
    h[t-1].
    """
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    cdef Clipped clipped
    s.gates, s.activation, s.leaves_dh, s.clip_step = 1, activation_code(activation), True, clip_step
    s.backward = s.kernels.leaky_backward
    s.leak, s.gate_tape = <const char *>&leak[0], <char *>&gates[0, 0, 0]
    s.dy, s.dh, s.dx = <const char *>&dy[0, 0, 0], <char *>&dh[0, 0], at_start(dx)
    s.dweight_ih, s.dweight_hh = <char *>&dweight_ih[0, 0], <char *>&dweight_hh[0, 0]
    s.dbias, s.dleak = <char *>&dbias[0], at_first(dleak)
    s.dhidden, s.dgates, s.drecurrent = at_start(dhidden), at_start(dgates), at_start(drecurrent)
    clipped = run_backward(&s)
    return clipped.times, clipped.factors
