"""Every cell of the gallery: its equation, its gradients, and that no split of the work changes its bits."""

import numpy as np
import pytest
from gallery import ABOVE_ZERO, GALLERY_CASES, KINKED, case_id, draw_states
from laws import assert_close, assert_gradient, derivative, leaves

import rnncore
from rnncore import Network, cells

T, B, I, H = 4, 3, 3, 5
LENGTHS = (4, 2, 1)
TAILS = 18  # units: a whole vector and a tail at every level

cases = pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)


class Problem:
    """A cell with parameters away from their start, x, initial states and lengths."""

    def __init__(self, case, shape=(T, B, I), units=H, lengths=LENGTHS, dtype="float64"):
        self.name, self.options, self.oracle, _ = case
        self.rng = np.random.default_rng(3)
        self.layer = getattr(cells, self.name)(shape[2], units, **self.options)
        self.net = Network(self.layer, seed=4, dtype=dtype)
        moved = self.net.params.flat
        moved += self.rng.uniform(-0.1, 0.1, moved.size) * (0.3 if self.name in ABOVE_ZERO else 1)
        self.x = self.rng.standard_normal(shape).astype(dtype)
        states = draw_states(self.name, self.layer.state_sizes(), shape[1], self.rng)
        states = tuple(state.astype(dtype) for state in states)
        self.state = states if len(states) > 1 else states[0]
        self.lengths = lengths

    def forward(self):
        y, final, _ = self.layer.forward(self.x, self.state, self.lengths)
        return y, final

    def upstream(self):
        """Gradients in y, NaN in the padding, and in the final states."""
        y, final = self.forward()
        dy = self.rng.standard_normal(y.shape)
        dfinal = [self.rng.standard_normal(part.shape) for part in leaves(final)]
        return dy, tuple(dfinal) if len(dfinal) > 1 else dfinal[0]


@cases
def test_the_table_knows_the_cell(case):
    """The number of its states, and that the options come back from its configuration."""
    name, options, _, states = case
    layer = getattr(cells, name)(I, H, **options)
    assert cells.GALLERY[name] is type(layer)
    assert len(layer.state_sizes()) == states
    again = type(layer)(**layer.config())
    assert again.config() == layer.config()
    assert {key: layer.config()[key] for key in options} == options


def test_the_table_has_every_cell():
    assert {name for name, *_ in GALLERY_CASES} == set(cells.GALLERY)


def check_forward(problem):
    y, final = problem.forward()
    for row, length in enumerate(problem.lengths):
        states = tuple(part[row : row + 1] for part in leaves(problem.state))
        x = problem.x[:length, row : row + 1]
        wanted, finals = problem.oracle(dict(problem.layer.params), x, states, problem.options)
        assert_close(y[:length, row : row + 1], wanted, 1e-12, f"y of row {row}")
        for place, (got, want) in enumerate(zip(leaves(final), finals, strict=True)):
            assert_close(got[row : row + 1], want, 1e-12, f"final state {place} of row {row}")


@cases
def test_forward_is_the_papers_equation(case):
    check_forward(Problem(case))


def gradients(problem):
    """A loss of y and the final states; name, array and gradient of all that it depends on."""
    dy, dfinal = problem.upstream()
    valid = np.arange(len(problem.x))[:, None] < np.array(problem.lengths)

    def loss():
        y, final = problem.forward()
        pairs = zip(leaves(final), leaves(dfinal), strict=True)
        return np.sum(y[valid] * dy[valid]) + sum(np.sum(a * b) for a, b in pairs)

    _, _, tape = problem.layer.forward(problem.x, problem.state, problem.lengths)
    problem.net.zero_grad()
    dx, dstate = problem.layer.backward(np.where(valid[:, :, None], dy, np.nan), tape, dfinal)
    assert not dx[~valid].any()
    sources = [("parameters", problem.net.params.flat, problem.net.grads.flat), ("x", problem.x, dx)]
    for place, pair in enumerate(zip(leaves(problem.state), leaves(dstate), strict=True)):
        sources.append((f"state {place}", *pair))
    return loss, sources


def slope(problem, loss, array, direction):
    """The derivative of the loss when the array moves in a direction."""
    start = array.copy()

    def moved(s):
        array[...] = start + s * direction
        return loss()

    found = derivative(moved, 2e-5 if problem.name in KINKED else 3e-4)
    array[...] = start
    return found


def check_gradients(problem):
    loss, sources = gradients(problem)
    wanted = []
    for _, array, _ in sources:
        one_by_one = np.eye(array.size).reshape(-1, *array.shape)
        wanted.append(np.array([slope(problem, loss, array, direction) for direction in one_by_one]))
    scale = max(np.abs(array).max() for array in wanted)
    for (name, _, got), want in zip(sources, wanted, strict=True):
        assert_gradient(got.reshape(-1), want, scale, f"gradient of {name}")


@cases
def test_gradients_are_those_of_finite_differences(case):
    check_gradients(Problem(case))


def test_an_sru_of_as_many_units_as_inputs_lets_x_itself_pass():
    problem = Problem(next(case for case in GALLERY_CASES if case[0] == "SRU"), (T, B, H))
    assert problem.layer.parameter_shapes()["weight_ih"] == (3 * H, H)
    check_forward(problem)
    check_gradients(problem)


@cases
def test_tails_of_vectors_have_their_gradients(case, level):
    """In a random direction, in which each entry has its share."""
    problem = Problem(case, (3, 2, 2), TAILS, (3, 2))
    loss, sources = gradients(problem)
    for name, array, got in sources:
        direction = problem.rng.standard_normal(array.shape)
        want = slope(problem, loss, array, direction)
        assert abs(np.sum(got * direction) - want) <= 1e-7 * np.linalg.norm(got), name


@pytest.fixture
def restored_threads():
    before = rnncore.get_num_threads()
    yield
    rnncore.set_num_threads(before)


@cases
@pytest.mark.usefixtures("restored_threads")
def test_threads_and_company_leave_the_bits_as_they_are(case):
    problem = Problem(case, (40, 16, 129), 136, None, "float32")  # worth two threads, every cell
    problem.net.eval()
    results = []
    for threads in (1, 2):
        rnncore.set_num_threads(threads)
        y, final, tape = problem.layer.forward(problem.x, problem.state)
        dx, dstate = problem.layer.backward(np.cos(y), tape)
        results.append([y, dx, *leaves(final), *leaves(dstate)])
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)
    for row in (0, 15):
        state = tuple(np.ascontiguousarray(part[row : row + 1]) for part in leaves(problem.state))
        x = np.ascontiguousarray(problem.x[:, row : row + 1])
        alone = problem.layer.forward(x, state if len(state) > 1 else state[0])
        assert np.array_equal(alone[0][:, 0], results[0][0][:, row])
        for got, together in zip(leaves(alone[1]), results[0][2:], strict=False):
            assert np.array_equal(got[0], together[row])


@cases
def test_two_pieces_equal_the_whole(case):
    problem = Problem(case, (9, 3, 4), 20, None, "float32")
    problem.net.eval()
    whole, final = problem.forward()
    first, state, _ = problem.layer.forward(problem.x[:4], problem.state)
    second, state, _ = problem.layer.forward(problem.x[4:], state)
    assert np.array_equal(np.concatenate([first, second]), whole)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(state), leaves(final), strict=True))


def test_gates_that_are_shut_divide_nothing_by_nothing():
    problem = Problem(("MinLSTM", {"forget_bias": -300.0}, None, 1), dtype="float32")
    problem.layer.params["bias"][:] = -300
    y, _, tape = problem.layer.forward(problem.x, problem.state)
    problem.layer.backward(np.ones_like(y), tape)
    assert np.isfinite(y).all()
    assert np.isfinite(problem.net.grads.flat).all()


INITIAL = [
    ("UGRNN", {"gate_bias": 0.5}, "bias", np.repeat([0.5, 0.0], 500)),
    ("JANET", {}, "bias", np.repeat([1.0, 0.0], 500)),
    ("ChaosFree", {}, "bias", np.repeat([1.0, -1.0], 500)),
    ("FastGRNN", {}, "nu", [-4.0]),
    ("LayerNormLSTM", {"forget_bias": 2.0}, "bias_f_x", np.full(500, 2.0)),
    ("LayerNormLSTM", {}, "gain_c", np.ones(500)),
    ("ProjectedLSTM", {"proj_size": 3}, "bias", np.repeat([0.0, 1.0, 0.0, 0.0], 500)),
    ("PlasticRate", {"dt": 20.0}, "recovery", np.tile([0.1, 20 / 1500], 250)),
    ("PlasticRate", {}, "release", np.tile([0.15, 0.45], 250)),
    ("RHN", {"levels": 2}, "bias_g1", np.full(500, -2.0)),
    ("SLSTM", {}, "bias", np.r_[np.zeros(500), np.linspace(3, 6, 500), np.zeros(1000)]),
]


@pytest.mark.parametrize(("name", "options", "parameter", "wanted"), INITIAL)
def test_parameters_start_as_in_the_paper(name, options, parameter, wanted):
    layer = getattr(cells, name)(2, 500, **options)
    Network(layer, seed=1, dtype="float64")
    np.testing.assert_allclose(layer.params[parameter], wanted, rtol=1e-15)


RANGES = [  # low, high, mean, and of which function of the parameter
    ("JANET", {"chrono": 100}, "bias", lambda b: np.exp(b[:500]), (1, 99, 50)),
    ("IndRNN", {}, "weight_u", lambda u: u, (0, 1, 0.5)),
    ("IndRNN", {"longest": 10}, "weight_u", lambda u: u**10, (0, 2, 2 / 11)),
    ("SRU", {}, "weight_cf", lambda v: v, (-(1.5**0.5), 1.5**0.5, 0)),
    ("DiagonalLRU", {}, "nu", lambda nu: np.exp(-np.exp(nu)) ** 2, (0.25, 0.9801, 0.61505)),
    ("ComplexLRU", {"r_min": 0.0, "r_max": 1.0}, "nu", lambda nu: np.exp(-np.exp(nu)) ** 2, (0, 1, 0.5)),
    ("ComplexLRU", {"max_phase": 1.0}, "theta", np.exp, (0, 1, 0.5)),
]


@pytest.mark.parametrize(("name", "options", "parameter", "function", "wanted"), RANGES)
def test_drawn_parameters_start_in_their_range(name, options, parameter, function, wanted):
    layer = getattr(cells, name)(2, 500, **options)
    Network(layer, seed=1, dtype="float64")
    values, (low, high, mean) = function(layer.params[parameter]), wanted
    assert low <= values.min() < low + (high - low) / 5
    assert high - (high - low) / 5 < values.max() <= high
    assert abs(values.mean() - mean) < 0.05 * (high - low)


BAD = [
    ("JANET", {"chrono": 20, "forget_bias": 2.0}, "forget_bias is 2.0.*chrono 20.*give one"),
    ("FastGRNN", {"rank": 0}, "rank is 0"),
    ("IndRNN", {"activation": "swish"}, "activation is 'swish'.*relu.*softsign"),
    ("IndRNN", {"longest": 0.5}, "longest is 0.5.*at least 1"),
    ("ProjectedLSTM", {"proj_size": 0}, "proj_size is 0"),
    ("DiagonalLRU", {"r_min": 0.9, "r_max": 0.8}, "r_min and r_max are 0.9 and 0.8.*r_min < r_max"),
    ("ComplexLRU", {"max_phase": 0.0}, "max_phase is 0.0.*above 0"),
    ("CoRNN", {"dt": -1.0}, "dt is -1.0.*above 0"),
    ("CfC", {"interval": 0.0}, "interval is 0.0.*above 0"),
    ("PlasticRate", {"dt": 200.0}, "dt is 200.0.*at most time_constant.*100"),
    ("PlasticRate", {"noise_level": -0.1}, "noise_level is -0.1.*at least 0"),
    ("RHN", {"levels": 0}, "levels is 0"),
    ("SLSTM", {"forget_bias": 3.0}, "forget_bias is 3.0.*pair"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_options_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(cells, name)(I, H, **options)


def test_noise_is_drawn_in_training_alone():
    problem = Problem(("PlasticRate", {"noise_level": 0.5}, None, 3), lengths=None)
    first, second = problem.forward()[0], problem.forward()[0]
    assert not np.array_equal(first, second)
    problem.net.eval()
    assert np.array_equal(problem.forward()[0], problem.forward()[0])


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def check_against_torch(torch, problem, forward, weights):
    """y, dx and the gradients of weights, named as ours, against autograd through ``forward(x, states)``."""
    problem.lengths = None
    dy, _ = problem.upstream()
    x = torch.tensor(problem.x, requires_grad=True)
    y = forward(x, [torch.tensor(part) for part in problem.state])
    y.backward(torch.tensor(dy))
    got, _, tape = problem.layer.forward(problem.x, problem.state)
    problem.net.zero_grad()
    dx, _ = problem.layer.backward(dy, tape)
    assert_close(got, y.detach().numpy(), 1e-12, "y")
    assert_close(dx, x.grad.numpy(), 1e-11, "dx")
    assert weights.keys() == problem.layer.params.keys()
    for name, weight in weights.items():
        assert_close(problem.layer.grads[name], weight.grad.numpy(), 1e-11, name)


def test_projected_lstm_is_pytorchs(torch):
    problem = Problem(("ProjectedLSTM", {"proj_size": 4}, None, 2), (7, 3, 5), 9)
    peer = torch.nn.LSTM(5, 9, proj_size=4).double()
    params, names = problem.layer.params, ("weight_ih", "weight_hh", "weight_hr")
    with torch.no_grad():
        peer.bias_hh_l0.zero_()
        for name in names:
            getattr(peer, f"{name}_l0").copy_(torch.tensor(params[name]))
        peer.bias_ih_l0.copy_(torch.tensor(params["bias"]))
    weights = {name: getattr(peer, f"{name}_l0") for name in names} | {"bias": peer.bias_ih_l0}

    def forward(x, states):
        return peer(x, tuple(state[None] for state in states))[0]

    check_against_torch(torch, problem, forward, weights)


@pytest.mark.parametrize("separate", [True, False])
def test_layer_norm_lstm_is_that_of_autograd(torch, separate):
    problem = Problem(("LayerNormLSTM", {"separate": separate}, None, 2), (7, 3, 5), 9)
    w = {name: torch.tensor(value, requires_grad=True) for name, value in problem.layer.params.items()}

    def norm(name, v):
        return torch.nn.functional.layer_norm(v, v.shape[-1:], w[f"gain_{name}"], w[f"bias_{name}"])

    def gate(name, above, below):
        return norm(f"{name}_x", above) + norm(f"{name}_h", below) if separate else norm(name, above + below)

    def forward(x, states):
        (h, c), y = states, []
        for row in x:
            sums = ((row @ w["weight_ih"].T).chunk(4, -1), (h @ w["weight_hh"].T).chunk(4, -1))
            i, f, g, o = (gate(name, a, b) for name, a, b in zip("ifgo", *sums, strict=True))
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * norm("c", c).tanh()
            y.append(h)
        return torch.stack(y)

    check_against_torch(torch, problem, forward, w)
