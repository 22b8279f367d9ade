"""Long short-term memory (Hochreiter & Schmidhuber, 1997) with a forget gate (Gers et al., 2000).

    i, f, g, o = split(W_ih x[t] + W_hh h[t-1] + b)
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g)
    h[t] = sigmoid(o) tanh(c[t])

With peepholes (Gers, Schraudolph & Schmidhuber, 2002) i and f also see w_ci c[t-1] and w_cf c[t-1], o sees
w_co c[t]. With three gates, i g o, the forget gate is coupled: sigmoid(f) is 1 - sigmoid(i) (Greff et al.,
2017). Sigmoid and tanh may be other activations.

Cost: 8 T B H (I + H) flops forward, twice that backward, 5 T B H gate functions; the tape is 6 T B H
numbers, written once forward and read once backward.
"""

from cython cimport floating

from .plan cimport Sequence
from .dispatch cimport Clipped
from .recurrence cimport activation_code, at_first, at_start, run_backward, run_forward, start


cdef int gates_of(const floating[:, ::1] weight_hh) except -1:
    """Four, or three where the forget gate is coupled."""
    cdef Py_ssize_t gates = weight_hh.shape[0] // weight_hh.shape[1]
    if gates != 3 and gates != 4:
        raise ValueError(f"weight_hh has rows for {gates} gates, but an LSTM has 4, or 3 if two are coupled")
    return <int>gates


cdef bint is_plain(str gate_activation, str activation, const floating[::1] weight_ci):
    """Whether the kernel that knows its activations will do."""
    return weight_ci is None and gate_activation == "sigmoid" and activation == "tanh"


def lstm_forward(
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    const floating[::1] bias,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] cells,
    floating[:, :, ::1] gates,
    floating[::1] scratch,
    const floating[::1] weight_ci=None,
    const floating[::1] weight_cf=None,
    const floating[::1] weight_co=None,
    str gate_activation="sigmoid",
    str activation="tanh",
    masks=None,
    floating[::1] panels=None,
):
    """x (T, B, I) -> hidden, cells (1+T, B, H), rows 0 holding the initial state, and gates (T, B, G*H): the
    activations i, f, g, o, without f if the weights have but three gates; None where no tape is wanted.
    Padding becomes 0 but in gates. Peepholes (H,) come together, or none."""
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    s.gates = gates_of(weight_hh)
    s.gate_activation, s.activation = activation_code(gate_activation), activation_code(activation)
    s.weight_ci, s.weight_cf = at_first(weight_ci), at_first(weight_cf)
    s.weight_co = at_first(weight_co)
    if s.gates == 3:
        s.forward = s.kernels.lstm_coupled_forward
    elif is_plain(gate_activation, activation, weight_ci):
        s.forward = s.kernels.lstm_forward
    else:
        s.forward = s.kernels.lstm_variant_forward
    s.bias, s.cells = <const char *>&bias[0], <char *>&cells[0, 0, 0]
    s.gate_tape = at_start(gates)
    s.panels = at_first(panels)
    run_forward(&s)


def lstm_backward(
    const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x,
    const Py_ssize_t[::1] lengths,
    const floating[:, ::1] weight_ih,
    const floating[:, ::1] weight_hh,
    double clip_step,
    floating[:, :, ::1] hidden,
    floating[:, :, ::1] cells,
    floating[:, :, ::1] gates,
    floating[:, ::1] dh,
    floating[:, ::1] dc,
    floating[:, :, ::1] dx,
    floating[:, ::1] dweight_ih,
    floating[:, ::1] dweight_hh,
    floating[::1] dbias,
    floating[::1] scratch,
    floating[:, :, ::1] dhidden=None,
    floating[:, :, ::1] dcells=None,
    floating[:, :, ::1] dgates=None,
    floating[:, :, ::1] drecurrent=None,
    const floating[::1] weight_ci=None,
    const floating[::1] weight_cf=None,
    const floating[::1] weight_co=None,
    floating[::1] dweight_ci=None,
    floating[::1] dweight_cf=None,
    floating[::1] dweight_co=None,
    str gate_activation="sigmoid",
    str activation="tanh",
    masks=None,
):
    """dy (T, B, H) -> dx or None; sums into dweight_ih, dweight_hh, dbias and the peepholes' dweight_c...

    dh, dc (B, H): gradients of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted and the sum of its factors.

    masks: those of the forward pass, of recurrent dropout and zoneout (layers/masks.py), or None.

    Recorded where arrays are given, with zeros in the padding: dhidden, dcells (1+T, B, H), in rows 1 to T
    the gradients of the states; dgates, drecurrent (T, B, G*H), those of the gates' sums and of their
    products with h[t-1].
    """
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch, masks)
    cdef Clipped clipped
    s.gates, s.clip_step = gates_of(weight_hh), clip_step
    s.gate_activation, s.activation = activation_code(gate_activation), activation_code(activation)
    s.weight_ci, s.weight_cf = at_first(weight_ci), at_first(weight_cf)
    s.weight_co = at_first(weight_co)
    s.dweight_ci, s.dweight_cf = at_first(dweight_ci), at_first(dweight_cf)
    s.dweight_co = at_first(dweight_co)
    if s.gates == 3:
        s.backward = s.kernels.lstm_coupled_backward
    elif is_plain(gate_activation, activation, weight_ci):
        s.backward = s.kernels.lstm_backward
    else:
        s.backward = s.kernels.lstm_variant_backward
    s.cells, s.gate_tape = <char *>&cells[0, 0, 0], <char *>&gates[0, 0, 0]
    s.dy, s.dx = <const char *>&dy[0, 0, 0], at_start(dx)
    s.dh, s.dc = <char *>&dh[0, 0], <char *>&dc[0, 0]
    s.dweight_ih, s.dweight_hh = <char *>&dweight_ih[0, 0], <char *>&dweight_hh[0, 0]
    s.dbias = <char *>&dbias[0]
    s.dhidden, s.dgates, s.drecurrent = at_start(dhidden), at_start(dgates), at_start(drecurrent)
    s.dcells = at_start(dcells)
    clipped = run_backward(&s)
    return clipped.times, clipped.factors
