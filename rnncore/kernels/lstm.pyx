"""Long short-term memory (Hochreiter & Schmidhuber, 1997) with a forget gate (Gers et al., 2000).

    i, f, g, o = split(W_ih x[t] + W_hh h[t-1] + b)
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g)
    h[t] = sigmoid(o) tanh(c[t])

Cost: 8 T B H (I + H) flops forward, twice that backward, 5 T B H gate functions; the tape is 6 T B H
numbers, written once forward and read once backward.
"""

from cython cimport floating

from .recurrence cimport Sequence, at_start, run_backward, run_forward, start


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
):
    """x (T, B, I) -> hidden, cells (1+T, B, H), rows 0 holding the initial state, and gates (T, B, 4H): the
    activations i, f, g, o, or None where no tape is wanted. Padding becomes 0."""
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch)
    s.gates = 4
    s.forward = s.kernels.lstm_forward
    s.bias, s.cells = <const char *>&bias[0], <char *>&cells[0, 0, 0]
    s.gate_tape = NULL if gates is None else <char *>&gates[0, 0, 0]
    with nogil:
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
):
    """dy (T, B, H) -> dx, and sums into dweight_ih, dweight_hh, dbias.

    dh, dc (B, H): gradients of the final state on entry, of the initial state on exit. Returns how often
    clip_step acted.

    Recorded where arrays are given, with zeros in the padding: dhidden, dcells (1+T, B, H), in rows 1 to T
    the gradients of the states; dgates, drecurrent (T, B, 4H), those of the gates' sums and of their
    products with h[t-1].
    """
    cdef Sequence s = start(x, lengths, weight_ih, weight_hh, hidden, scratch)
    cdef Py_ssize_t clipped
    s.gates, s.clip_step = 4, clip_step
    s.backward = s.kernels.lstm_backward
    s.cells, s.gate_tape = <char *>&cells[0, 0, 0], <char *>&gates[0, 0, 0]
    s.dy, s.dx = <const char *>&dy[0, 0, 0], <char *>&dx[0, 0, 0]
    s.dh, s.dc = <char *>&dh[0, 0], <char *>&dc[0, 0]
    s.dweight_ih, s.dweight_hh = <char *>&dweight_ih[0, 0], <char *>&dweight_hh[0, 0]
    s.dbias = <char *>&dbias[0]
    s.dhidden, s.dgates, s.drecurrent = at_start(dhidden), at_start(dgates), at_start(drecurrent)
    s.dcells = at_start(dcells)
    with nogil:
        clipped = run_backward(&s)
    return clipped
