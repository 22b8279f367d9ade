"""The gallery's oracles: one step of each cell in NumPy, written from its paper, and the cases of the tests.

Nothing here uses rnncore. An oracle is called as ``oracle(params, x, states, options)`` with x ``(T, B, I)``
and a tuple of states ``(B, size)``, and returns y ``(T, B, ...)`` and the final states.
"""

import functools

import numpy as np


def over_time(step):
    """An oracle of a function ``step(p, o, x, *states)`` that returns the new states."""

    @functools.wraps(step)
    def oracle(params, x, states, options):
        y = []
        for row in x:
            states = step(params, options, row, *states)
            states = states if isinstance(states, tuple) else (states,)
            y.append(states[0])
        return np.stack(y), states

    return oracle


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def gates(p, x, h, count):
    """W x + U h + b of so many gates, whose blocks are one after the other in each parameter."""
    return np.split(x @ p["weight_ih"].T + h @ p["weight_hh"].T + p["bias"], count, axis=-1)


def norm(p, name, v):
    v = v - v.mean(axis=-1, keepdims=True)
    return p[f"gain_{name}"] * v / np.sqrt((v**2).mean(axis=-1, keepdims=True) + 1e-5) + p[f"bias_{name}"]


@over_time
def mgu(p, o, x, h):
    above_f, above_n = np.split(x @ p["weight_ih"].T + p["bias"], 2, axis=-1)
    f = sigmoid(above_f + h @ p["weight_hh"].T)
    n = np.tanh(above_n + (f * h) @ p["weight_n"].T)
    return (1 - f) * h + f * n


@over_time
def ugrnn(p, o, x, h):
    g, c = gates(p, x, h, 2)
    g = sigmoid(g)
    return g * h + (1 - g) * np.tanh(c)


@over_time
def janet(p, o, x, h):
    s, c = gates(p, x, h, 2)
    return sigmoid(s) * h + (1 - sigmoid(s - o.get("beta", 1.0))) * np.tanh(c)


@over_time
def chaos_free(p, o, x, h):
    above_theta, above_eta, n = np.split(x @ p["weight_ih"].T, 3, axis=-1)
    theta, eta = np.split(h @ p["weight_hh"].T + p["bias"], 2, axis=-1)
    return sigmoid(theta + above_theta) * np.tanh(h) + sigmoid(eta + above_eta) * np.tanh(n)


@over_time
def fast_grnn(p, o, x, h):
    W, U = p["weight_ih"], p["weight_hh"]
    if o.get("rank"):
        W, U = p["weight_a_0"] @ W, p["weight_a_1"] @ U
    a = x @ W.T + h @ U.T
    z, n = sigmoid(a + p["bias_z"]), np.tanh(a + p["bias_n"])
    return (sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * n + z * h


def normalized_sums(p, names, x, h, separate):
    """LN(W x) + LN(U h), or LN(W x + U h), of each name."""
    above = np.split(x @ p["weight_ih"].T, len(p["weight_ih"]) // h.shape[1], axis=-1)
    below = np.split(h @ p["weight_hh"].T, len(p["weight_hh"]) // h.shape[1], axis=-1)
    for name, a, b in zip(names, above, below, strict=False):
        yield norm(p, f"{name}_x", a) + norm(p, f"{name}_h", b) if separate else norm(p, name, a + b)


@over_time
def layer_norm_lstm(p, o, x, h, c):
    i, f, g, out = normalized_sums(p, "ifgo", x, h, o.get("separate", True))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(out) * np.tanh(norm(p, "c", c)), c


@over_time
def layer_norm_gru(p, o, x, h):
    H = h.shape[1]
    r, z = map(sigmoid, normalized_sums(p, "rz", x, h, o.get("separate", True)))
    n = norm(p, "n_x", x @ p["weight_ih"][2 * H :].T) + r * norm(p, "n_h", h @ p["weight_hh"][2 * H :].T)
    return (1 - z) * np.tanh(n) + z * h


@over_time
def projected_lstm(p, o, x, h, c):
    i, f, g, out = gates(p, x, h, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return (sigmoid(out) * np.tanh(c)) @ p["weight_hr"].T, c


@over_time
def ind_rnn(p, o, x, h):
    activation = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "softsign": lambda v: v / (1 + abs(v))}
    return activation[o.get("activation", "relu")](x @ p["weight_ih"].T + p["weight_u"] * h + p["bias"])


@over_time
def sru(p, o, x, h, c):
    f, r, candidate, *skip = np.split(x @ p["weight_ih"].T, len(p["weight_ih"]) // h.shape[1], axis=-1)
    bias_f, bias_r = np.split(p["bias"], 2)
    v_f, v_r = (p["weight_cf"], p["weight_cr"]) if o.get("peepholes", True) else (0, 0)
    f, r = sigmoid(f + v_f * c + bias_f), sigmoid(r + v_r * c + bias_r)
    c = f * c + (1 - f) * candidate
    alpha = np.sqrt(1 + np.exp(o.get("highway_bias", 0.0)) * 2)
    return r * c + (1 - r) * alpha * (skip[0] if skip else x), c


def positive(v):
    """Feng et al., appendix B."""
    return np.where(v >= 0, v + 0.5, sigmoid(v))


@over_time
def min_gru(p, o, x, h):
    z, n = np.split(x @ p["weight_ih"].T + p["bias"], 2, axis=-1)
    z, n = sigmoid(z), positive(n) if o.get("positive") else n
    return (1 - z) * h + z * n


@over_time
def min_lstm(p, o, x, h):
    f, i, n = np.split(x @ p["weight_ih"].T + p["bias"], 3, axis=-1)
    f, i, n = sigmoid(f), sigmoid(i), positive(n) if o.get("positive") else n
    return f / (f + i) * h + i / (f + i) * n


@over_time
def diagonal_lru(p, o, x, h):
    a = np.exp(-np.exp(p["nu"]))
    return a * h + np.sqrt(1 - a**2) * (x @ p["weight_ih"].T + p["bias"])


@over_time
def complex_lru(p, o, x, h, imaginary):
    a = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    real, turned = np.split(x @ p["weight_ih"].T + p["bias"], 2, axis=-1)
    s = a * (h + 1j * imaginary) + np.sqrt(1 - abs(a) ** 2) * (real + 1j * turned)
    return s.real, s.imag


@over_time
def antisymmetric(p, o, x, h):
    w, gamma = p["weight_hh"], o.get("gamma", 0.01)
    a = h @ (w - w.T - gamma * np.eye(len(w))).T
    above = np.split(x @ p["weight_ih"].T + p["bias"], 2 if o.get("gated", True) else 1, axis=-1)
    n = np.tanh(a + above[0]) * (sigmoid(a + above[1]) if o.get("gated", True) else 1)
    return h + o.get("epsilon", 0.1) * n


@over_time
def co_rnn(p, o, x, h, z):
    dt, gamma, epsilon = o.get("dt", 0.042), o.get("gamma", 2.7), o.get("epsilon", 4.7)
    inner = x @ p["weight_ih"].T + h @ p["weight_hh"].T + z @ p["weight_a"].T + p["bias"]
    z = z + dt * (np.tanh(inner) - gamma * h - epsilon * z)
    return h + dt * z, z


@over_time
def lem(p, o, x, h, z):
    above = np.split(x @ p["weight_ih"].T + p["bias"], 4, axis=-1)
    below = np.split(h @ p["weight_hh"].T, 3, axis=-1)
    dt = o.get("dt", 1.0)
    p_step, q_step = dt * sigmoid(above[0] + below[0]), dt * sigmoid(above[1] + below[1])
    z = (1 - p_step) * z + p_step * np.tanh(above[2] + below[2])
    return (1 - q_step) * h + q_step * np.tanh(above[3] + z @ p["weight_h"].T), z


@over_time
def cfc(p, o, x, h):
    if o.get("backbone"):
        u = 1.7159 * np.tanh(2 / 3 * (x @ p["weight_ih"].T + h @ p["weight_hh"].T + p["bias"]))
        g, k, f, s = (u @ p[f"weight_{name}"].T + p[f"bias_{name}"] for name in "gkfs")
    else:
        g, k, f, s = gates(p, x, h, 4)
    g, k, s = np.tanh(g), np.tanh(k), sigmoid(f * o.get("interval", 1.0) + s)
    return (1 - s if o.get("gated", True) else 1) * g + s * k


@over_time
def plastic_rate(p, o, x, h, d, v):
    """In the paper's x and u: what synapses have left, and the share of it that they release."""
    dt, time_constant = o.get("dt", 10.0), o.get("time_constant", 100.0)
    left, used, U = 1 - d, p["release"] + v, p["release"]
    new_left = left + p["recovery"] * (1 - left) - dt / 1000 * used * left * h
    new_used = used + p["decay"] * (U - used) + dt / 1000 * U * (1 - used) * h
    left, used = np.clip(new_left, 0, 1), np.clip(new_used, 0, 1)
    inner = x @ p["weight_ih"].T + (left * used * h) @ p["weight_a"].T + p["bias"]
    a = dt / time_constant
    return np.maximum(h * (1 - a) + a * inner, 0), 1 - left, used - U


@over_time
def rhn(p, o, x, h):
    for level in range(o.get("levels", 3)):
        if level == 0:
            n, g = gates(p, x, h, 2)
        else:
            n, g = (h @ p[f"weight_{name}{level}"].T + p[f"bias_{name}{level}"] for name in "ng")
        g = sigmoid(g)
        h = g * np.tanh(n) + (1 - g) * h
    return h


@over_time
def s_lstm(p, o, x, h, c, n, m):
    """Without the stabilizer: c and n in full, from which those of the cell follow."""
    i, f, g, out = gates(p, x, h, 4)
    c = sigmoid(f) * c * np.exp(m) + np.exp(i) * np.tanh(g)
    n = sigmoid(f) * n * np.exp(m) + np.exp(i)
    m = np.maximum(np.log(sigmoid(f)) + m, i)
    return sigmoid(out) * c / n, c / np.exp(m), n / np.exp(m), m


#: the cell's name in rnncore.cells, its options, its oracle, its number of states
GALLERY_CASES = [
    ("MGU", {}, mgu, 1),
    ("UGRNN", {"gate_bias": 0.5}, ugrnn, 1),
    ("JANET", {}, janet, 1),
    ("JANET", {"beta": 0.3, "chrono": 20}, janet, 1),
    ("ChaosFree", {}, chaos_free, 1),
    ("FastGRNN", {}, fast_grnn, 1),
    ("FastGRNN", {"rank": 2}, fast_grnn, 1),
    ("LayerNormLSTM", {}, layer_norm_lstm, 2),
    ("LayerNormLSTM", {"separate": False}, layer_norm_lstm, 2),
    ("LayerNormGRU", {}, layer_norm_gru, 1),
    ("LayerNormGRU", {"separate": False}, layer_norm_gru, 1),
    ("ProjectedLSTM", {"proj_size": 2}, projected_lstm, 2),
    ("ProjectedLSTM", {"proj_size": 7, "forget_bias": 0.5}, projected_lstm, 2),
    ("IndRNN", {}, ind_rnn, 1),
    ("IndRNN", {"activation": "tanh", "longest": 50}, ind_rnn, 1),
    ("IndRNN", {"activation": "softsign"}, ind_rnn, 1),
    ("SRU", {}, sru, 2),
    ("SRU", {"peepholes": False, "highway_bias": -1.0}, sru, 2),
    ("MinGRU", {}, min_gru, 1),
    ("MinGRU", {"positive": True}, min_gru, 1),
    ("MinLSTM", {}, min_lstm, 1),
    ("MinLSTM", {"positive": True}, min_lstm, 1),
    ("DiagonalLRU", {}, diagonal_lru, 1),
    ("ComplexLRU", {"r_min": 0.2, "max_phase": 1.0}, complex_lru, 2),
    ("AntisymmetricRNN", {}, antisymmetric, 1),
    ("AntisymmetricRNN", {"epsilon": 0.5, "gamma": 0.2, "gated": False}, antisymmetric, 1),
    ("CoRNN", {}, co_rnn, 2),
    ("CoRNN", {"dt": 0.3, "gamma": 1.0, "epsilon": 0.5}, co_rnn, 2),
    ("LEM", {}, lem, 2),
    ("LEM", {"dt": 0.4}, lem, 2),
    ("CfC", {}, cfc, 1),
    ("CfC", {"backbone": 7, "interval": 0.3}, cfc, 1),
    ("CfC", {"gated": False}, cfc, 1),
    ("PlasticRate", {}, plastic_rate, 3),
    ("PlasticRate", {"dt": 40.0, "time_constant": 50.0}, plastic_rate, 3),
    ("RHN", {}, rhn, 1),
    ("RHN", {"levels": 1, "gate_bias": -1.0}, rhn, 1),
    ("SLSTM", {}, s_lstm, 4),
]

#: cells with a kink in their equation, where a difference must not reach across it
KINKED = {"IndRNN", "MinGRU", "MinLSTM", "PlasticRate"}
#: cells whose states are above 0
ABOVE_ZERO = {"PlasticRate", "SLSTM"}


def draw_states(name, sizes, rows, rng):
    """Initial states (rows, size) of a cell."""
    if name in ABOVE_ZERO:
        return tuple(rng.uniform(0.2, 0.8, (rows, size)) for size in sizes)
    return tuple(rng.standard_normal((rows, size)) for size in sizes)


def case_id(case):
    """What pytest calls a case."""
    name, options, _, _ = case
    return "-".join([name, *(f"{key}={value}" for key, value in options.items())])
