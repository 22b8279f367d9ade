"""Penalties on activity: values as the papers write them, gradients by differences, what they leave alone."""

import copy

import numpy as np
import pytest
from laws import assert_close, derivative

from rnncore import (
    GRU,
    LSTM,
    SGD,
    Bidirectional,
    Clockwork,
    Dense,
    Elman,
    LastStep,
    LeakyElman,
    Network,
    SkipElman,
    SquaredError,
    Trainer,
)
from rnncore.layers.flow import Flow
from rnncore.regularizers import NormStabilizer, Omega, Orthogonality
from rnncore.trainer.checkpoint import Position
from rnncore.trainer.gradient import Gradient
from rnncore.trainer.segments import Walk

pytestmark = pytest.mark.usefixtures("backend")

T, B, I, H = 6, 3, 2, 4
CELLS = {"elman": Elman, "lstm": LSTM, "gru": GRU}
MORE = {
    "skip": lambda inputs, units: SkipElman(inputs, units, (1, 3)),
    "clockwork": lambda inputs, units: Clockwork(inputs, units, (1, 2)),
    "leaky": lambda inputs, units: LeakyElman(inputs, units, leak=0.4, learn_leak=True),
}
LENGTHS = {"full": None, "ragged": np.array([4, 6, 1])}


def draw(cell="elman", lengths=None, seed=3, activation=None, pools=False):
    """A network of two recurrent layers away from its initial weights, and a batch for it."""
    rng = np.random.default_rng(seed)
    make = (CELLS | MORE)[cell]
    first = Elman(I, H, activation) if activation else make(I, H)
    net = Network(first, make(H, H), *([LastStep()] if pools else []), Dense(H, 2), dtype="float64")
    net.params.flat[:] += rng.uniform(-0.4, 0.4, net.params.flat.size)
    target = rng.standard_normal((B, 2) if pools else (T, B, 2))
    batch = type("Batch", (), {"x": rng.standard_normal((T, B, I)), "target": target, "lengths": lengths})
    return net, batch


def measured(net, batch, penalty, state=None):
    """The loss plus the penalty, and the gradient that training takes."""
    gradient, position = Gradient(net, SquaredError(), [penalty], None), Position()
    walk = Walk(batch, None)
    walk.state = state
    gradient.add(walk, 0, T, position)
    return (position.loss + position.penalty) / position.weight, net.grads.flat.copy()


@pytest.mark.parametrize("cell", CELLS | MORE)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("carried", [False, True])
def test_norm_stabilizer_has_its_exact_gradient(cell, lengths, carried):
    net, batch = draw(cell, LENGTHS[lengths])
    state = None
    if carried:
        rng = np.random.default_rng(0)
        shape = net.layers[0].state_shapes(B)[0]
        parts = [rng.standard_normal(shape) for _ in range(2)]
        state = (*(tuple(parts) if cell == "lstm" else part for part in parts), None)
    penalty = NormStabilizer(0.7)
    _, gradient = measured(net, batch, penalty, state)
    direction = np.random.default_rng(1).standard_normal(net.params.flat.size)
    before = net.params.flat.copy()

    def moved(s):
        net.params.flat[:] = before + s * direction
        return measured(net, batch, penalty, state)[0]

    assert gradient @ direction == pytest.approx(derivative(moved), rel=1e-9)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_norm_stabilizer_is_the_mean_square_of_the_norms_jumps(lengths):
    net, batch = draw(lengths=LENGTHS[lengths])
    _, _, tape = net.forward(batch.x, None, batch.lengths)
    wanted, steps = 0.0, [T] * B if batch.lengths is None else batch.lengths
    for layer in tape[:2]:
        for row in range(B):
            norms = [np.linalg.norm(layer.hidden[t, row]) for t in range(steps[row] + 1)]
            wanted += 0.7 * np.square(np.diff(norms)).sum() / sum(steps)
    assert NormStabilizer(0.7).before(net.layers, tape, 1.0)[0] == pytest.approx(wanted, rel=1e-12)


def omega(net, tape, flows, power=1):
    """Of the first layer alone, from its definition; h and the gradients are those recorded."""
    weight, hidden, dstates = net.params["0.weight_hh"], tape[0].hidden, flows
    slope = {"tanh": lambda h: 1 - h * h, "sigmoid": lambda h: h * (1 - h), "relu": lambda h: h > 0}
    terms = []
    for t in range(T):
        for row in range(B):
            d = dstates[t + 1, row]
            if np.linalg.norm(d) < 1e-10:
                continue
            jacobian = np.diag(slope[net.layers[0].activation](hidden[t + 1, row]) * 1.0) @ weight
            terms.append((np.linalg.norm(d @ jacobian) / np.linalg.norm(d)) ** power - 1)
    return np.mean(np.square(terms))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_omega_and_its_immediate_gradient(activation, lengths, pools, squared):
    """Exact for the recurrent weights in the formula, with states and their gradients held fixed."""
    net, batch = draw("gru", LENGTHS[lengths], activation=activation, pools=pools)
    penalty, plain = Omega(2.0, squared), Omega(0.0)
    _, without = measured(net, batch, plain)
    _, with_it = measured(net, batch, penalty)
    got = with_it - without
    net.layers[0].flow = Flow()
    _, _, tape = net.forward(batch.x, None, batch.lengths)
    y = net.forward(batch.x, None, batch.lengths)[0]
    net.backward(SquaredError()(y, batch.target, batch.lengths)[1], tape)
    flows = net.layers[0].flow.states[0].copy()
    weight = net.params["0.weight_hh"]
    wanted = np.zeros_like(weight)
    for place in np.ndindex(weight.shape):
        before = weight[place]

        def moved(s, place=place, before=before):
            weight[place] = before + s
            return 2.0 * omega(net, tape, flows, 1 + squared)

        wanted[place] = derivative(moved, 1e-5 if activation == "relu" else 3e-4)
        weight[place] = before
    assert_close(got[H * I : H * I + H * H].reshape(H, H), wanted, 1e-8)
    rest = np.delete(got, np.arange(H * I, H * I + H * H))
    assert np.abs(rest).max() < 1e-14


@pytest.mark.parametrize("squared", [False, True])
def test_omega_is_its_definition(squared):
    net, batch = draw("gru", activation="tanh")
    penalty = Omega(1.0, squared=squared)
    assert Omega(**penalty.config()).config() == penalty.config() == {"strength": 1.0, "squared": squared}
    y, _, tape = net.forward(batch.x)
    penalty.before(net.layers, tape, 1.0)
    net.backward(SquaredError()(y, batch.target)[1], tape)
    flows = net.layers[0].flow.states[0].copy()
    wanted = omega(net, tape, flows, 1 + squared)
    assert penalty.after(net.layers, tape, 1.0) == pytest.approx(wanted, rel=1e-12)
    assert net.layers[0].flow is None


def test_omega_goes_along_a_segmented_tape():
    seen = []
    for every in (None, 1, 4):
        net, batch = draw("elman", LENGTHS["ragged"])
        for layer in net.layers[:2]:
            layer.checkpoint_every = every
        seen.append(measured(net, batch, Omega(2.0)))
    for value, gradient in seen[1:]:
        assert value == pytest.approx(seen[0][0], rel=1e-12)
        np.testing.assert_allclose(gradient, seen[0][1], atol=1e-12)


def test_omega_leaves_the_recording_of_others_in_place():
    net, batch = draw("gru", activation="tanh")
    net.layers[0].flow = mine = Flow()
    measured(net, batch, Omega(1.0))
    assert net.layers[0].flow is mine


def test_omega_is_zero_and_at_rest_where_the_gradient_keeps_its_length():
    """An orthogonal linear network: every ratio is 1."""
    net = Network(Elman(I, H, "identity"), Dense(H, 2), dtype="float64")
    rng = np.random.default_rng(0)
    batch = type("Batch", (), {"x": rng.standard_normal((T, B, I)), "target": rng.standard_normal((T, B, 2))})
    plain, with_it = (measured(net, batch, Omega(strength)) for strength in (0.0, 5.0))
    assert with_it[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(with_it[1], plain[1], atol=1e-12)


@pytest.mark.parametrize("penalty", [NormStabilizer(0.5), Omega(0.5)])
def test_halves_of_a_batch_weigh_like_the_whole(penalty):
    """Values and gradients of accumulated minibatches are weighed by their steps, as the loss is.

    Of Omega only where no two rows differ: its mean is over the steps that a gradient reaches.
    """
    net, batch = draw()
    batch.x[:, 1:] = batch.x[:, :1]
    batch.target[:, 1:] = batch.target[:, :1]

    def part(rows):
        x, target = batch.x[:, rows].copy(), batch.target[:, rows].copy()
        return type("Batch", (), {"x": x, "target": target})

    seen = {}
    for name, parts, accumulate in (("whole", [batch], 1), ("parts", [part([0]), part([1, 2])], 2)):
        net, _ = draw()
        trainer = Trainer(
            net, SquaredError(), SGD(0.1), regularizer=penalty, accumulate=accumulate, progress="off"
        )
        trainer.fit(parts, steps=1)
        seen[name] = trainer.penalty, net.params.flat.copy()
    assert seen["parts"][0] == pytest.approx(seen["whole"][0], rel=1e-10)
    np.testing.assert_allclose(seen["parts"][1], seen["whole"][1], rtol=1e-9, atol=1e-12)


def test_networks_without_such_layers_are_refused():
    net = Network(GRU(2, 3), Dense(3, 2))
    with pytest.raises(ValueError, match=r"Omega\(1.0\) acts on Elman layers .* no such layer among GRU"):
        Trainer(net, SquaredError(), SGD(0.1), regularizer=Omega(1.0))
    with pytest.raises(ValueError, match=r"NormStabilizer.* acts on recurrent layers .* no such layer"):
        Trainer(Network(Dense(3, 2)), SquaredError(), SGD(0.1), regularizer=NormStabilizer(1.0))
    with pytest.raises(ValueError, match="strength is -1"):
        Omega(-1)


@pytest.mark.parametrize("cell", [*CELLS, "skip"])
def test_orthogonality_has_its_gradient_square_by_square(cell):
    net, _ = draw(cell)
    penalty = Orthogonality(0.3)
    net.zero_grad()
    value = penalty(net.params, net.grads)
    gradient, before = net.grads.flat.copy(), net.params.flat.copy()
    direction = np.random.default_rng(2).standard_normal(before.size)

    def moved(s):
        net.params.flat[:] = before + s * direction
        return penalty(net.params, net.grads)

    assert gradient @ direction == pytest.approx(derivative(moved), rel=1e-9)
    moved(0.0)
    wanted = 0.0
    names = [name for name in net.params if "weight_hh" in name or "weight_skip" in name]
    for name in names:
        for square in net.params[name].reshape(-1, H, H):
            wanted += 0.3 * np.sum((square.T @ square - np.eye(H)) ** 2)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert penalty.names(net.params) == names
    assert len(names) == (4 if cell == "skip" else 2)


@pytest.mark.parametrize(
    "layer", [LeakyElman(I, H, leak=0.5, excitatory=0.5), Bidirectional(Clockwork(I, H))], ids=repr
)
def test_orthogonality_is_refused_where_units_feel_other_weights(layer):
    net = Network(copy.deepcopy(layer), Elman(layer.features()[1], H), dtype="float64")
    with pytest.raises(ValueError, match=r"parameters hold '0\.weight_hh', but .* feels it signed, or in"):
        Trainer(net, SquaredError(), SGD(0.1), regularizer=Orthogonality(1.0))
    Trainer(net, SquaredError(), SGD(0.1), regularizer=Orthogonality(1.0, "1.weight_hh"))


def test_orthogonal_weights_cost_nothing():
    net = Network(LSTM(I, H), Dense(H, H), dtype="float64")
    net.zero_grad()
    assert Orthogonality(10.0)(net.params, net.grads) < 1e-25
    assert np.abs(net.grads.flat).max() < 1e-12


def test_what_is_no_stack_of_squares_is_refused():
    net = Network(LSTM(I, H), Dense(H, 2))
    with pytest.raises(ValueError, match=r"'1.weight', which of shape \(2, 4\) is no stack"):
        Orthogonality(1.0, "1.weight").names(net.params)
    with pytest.raises(ValueError, match="no recurrent weight"):
        Orthogonality(1.0).names(Network(Dense(2, 2)).params)
