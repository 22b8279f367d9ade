"""Gated recurrent unit (Cho et al., 2014) with the reset gate after the product (cuDNN's), or before it.

    r    = sigmoid(W_ir x[t] + W_hr h[t-1] + b_r)
    z    = sigmoid(W_iz x[t] + W_hz h[t-1] + b_z)
    n    = tanh(W_in x[t] + b_n + r (W_hn h[t-1] + b_hn))
    h[t] = (1 - z) n + z h[t-1]

Before it (Cho et al.'s own form) n = tanh(W_in x[t] + b_n + W_hn (r h[t-1])), and there is no b_hn: the
step takes two products, one after the other. Under recurrent dropout h[t-1] is drop * h[t-1] wherever W_h
is, but not beside z. Sigmoid and tanh may be other activations.

Cost: 6 T B H (I + H) flops forward, twice that backward, 3 T B H gate functions; the tape is 5 T B H numbers.
"""

from cython cimport floating

from .plan cimport Sequence
from .dispatch cimport Clipped
from .recurrence cimport activation_code, at_first, at_start, run_backward, run_forward, start


cdef void choose(Sequence *s, bint before, str gate_activation, str activation):
    """The cell's step functions; the plain one knows its activations."""
    s.gates, s.two_products, s.leaves_dh, s.reset_before = 3, not before, True, before
    s.gate_activation, s.activation = activation_code(gate_activation), activation_code(activation)
    if before:
        s.forward, s.backward = s.kernels.gru_before_forward, s.kernels.gru_before_backward
    elif gate_activation == "sigmoid" and activation == "tanh":
        s.forward, s.backward = s.kernels.gru_forward, s.kernels.gru_backward
    else:
        s.forward, s.backward = s.kernels.gru_variant_forward, s.kernels.gru_variant_backward


def gru_forward(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] bias,
    const floating[::1] bias_hn,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] gates,
    floating[:, :, ::1] candidates,
    floating[::1] scratch,
    str gate_activation="sigmoid",
    str activation="tanh",
    masks=None,
    floating[::1] panels=None,
):
    """x (T, B, I) -> hidden (1+T, B, H), row 0 holding the initial state, gates (T, B, 3H): the activations
    r, z, n, and candidates (T, B, H): W_hn h[t-1] + b_hn; both None where no tape is wanted. Padding
    becomes 0 but in gates.

    Without bias_hn the reset gate comes before the product, and candidates are r h[t-1]."""
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    choose(&s, bias_hn is None, gate_activation, activation)
    s.bias, s.bias_hn = <const char *>&bias[0], at_first(bias_hn)
    s.gate_tape, s.candidates = at_start(gates), at_start(candidates)
    s.panels = at_first(panels)
    run_forward(&s)


def gru_backward(
    const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    double clip_step,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] gates,
    floating[:, :, ::1] candidates,
    floating[:, ::1] dh,
    floating[:, :, ::1] dx,
    floating[:, ::1] dweight_ih,
    floating[:, ::1] dweight_hh,
    floating[::1] dbias,
    floating[::1] dbias_hn,
    floating[::1] scratch,
    floating[:, :, ::1] dhidden=None,
    floating[:, :, ::1] dgates=None,
    floating[:, :, ::1] drecurrent=None,
    str gate_activation="sigmoid",
    str activation="tanh",
    masks=None,
):
    """dy (T, B, H) -> dx unless it is None, and sums into dweight_ih, dweight_hh, dbias, dbias_hn.

    dh (B, H): the gradient of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden (1+T, B, H), in rows 1 to T the
    gradients of the states; dgates, drecurrent (T, B, 3H), those of the gates' sums and of their products
    with h[t-1]. Without dbias_hn the reset gate comes before the product, which for n is with r h[t-1].
    """
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    cdef Clipped clipped
    choose(&s, dbias_hn is None, gate_activation, activation)
    s.clip_step = clip_step
    s.gate_tape, s.candidates = <char *>&gates[0, 0, 0], <char *>&candidates[0, 0, 0]
    s.dy, s.dh, s.dx = <const char *>&dy[0, 0, 0], <char *>&dh[0, 0], at_start(dx)
    s.dweight_ih, s.dweight_hh = <char *>&dweight_ih[0, 0], <char *>&dweight_hh[0, 0]
    s.dbias, s.dbias_hn = <char *>&dbias[0], at_first(dbias_hn)
    s.dhidden, s.dgates, s.drecurrent = at_start(dhidden), at_start(dgates), at_start(drecurrent)
    clipped = run_backward(&s)
    return clipped.times, clipped.factors
