"""Gradients of every layer agree with finite differences: all outputs, parameters, inputs and states.

The problem is never the easy one: five steps, three rows of differing lengths, three layers, non-zero initial
states, gradients that start non-zero, an upstream gradient that enters everywhere, at one step alone, or
by the final state alone.
"""

import numpy as np
import pytest
from cells import ACTIVATIONS, seeds, shapes
from hypothesis import given, settings
from laws import assert_close, assert_gradient, derivative, jacobian, leaves, like

from rnncore.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MeanPool,
    SkipElman,
)
from rnncore.network import Network

pytestmark = pytest.mark.usefixtures("backend")

T, B, I, H = 5, 3, 2, 3
LENGTHS = {"full": None, "ragged": (3, 5, 1)}

MASKED = {"recurrent_dropout": 0.25, "zoneout": 0.2}

STACKS = {
    **{f"elman-{g}": lambda g=g: (Elman(I, H, g), Elman(H, H, g), Elman(H, H, g)) for g in ACTIVATIONS},
    "lstm": lambda: (LSTM(I, H), LSTM(H, H), LSTM(H, H)),
    "gru": lambda: (GRU(I, H), GRU(H, H), GRU(H, H)),
    "leaky": lambda: (
        LeakyElman(I, H, leak=(0.3, 0.05, 1.0)),
        LeakyElman(H, H, "sigmoid", time_constants=(1, 20), learn_leak=True),
        LeakyElman(H, H, leak=0.7, learn_leak=True, excitatory=0.6),
    ),
    "clockwork": lambda: (Clockwork(I, H, (1, 2)), Clockwork(H, 4, (1, 2, 3, 4)), Clockwork(4, H, (2, 3))),
    "clockwork both ways": lambda: (Bidirectional(Clockwork(I, H, (1, 3))), Clockwork(2 * H, H, (1,))),
    "skips": lambda: (
        SkipElman(I, H, (1, 3)), SkipElman(H, H, (2,), "sigmoid"), SkipElman(H, H, (1, 2, 5), "identity")
    ),
    "skips both ways": lambda: (Bidirectional(SkipElman(I, H, (1, 2))), SkipElman(2 * H, H, (1, 2))),
    "peepholes": lambda: (LSTM(I, H, peepholes=True), LSTM(H, H, peepholes=True, coupled=True), LSTM(H, H)),
    "coupled": lambda: (LSTM(I, H, coupled=True), LSTM(H, H, coupled=True), LSTM(H, H, coupled=True)),
    "reset before": lambda: (GRU(I, H, reset_after=False), GRU(H, H), GRU(H, H, reset_after=False)),
    "other activations": lambda: (
        LSTM(I, H, gate_activation="tanh", activation="sigmoid"),
        GRU(H, H, gate_activation="tanh"),
        GRU(H, H, reset_after=False, activation="sigmoid"),
    ),
    "mixed": lambda: (GRU(I, 4), Dropout(0.3), LSTM(4, 2), Dropout(0.2), Elman(2, H), Dense(H, 2)),
    "embedding": lambda: (Embedding(4, I), LSTM(I, H), Dropout(0.5), GRU(H, 2), Dense(2, 4)),
    "last step": lambda: (Dense(I, H), LSTM(H, H), GRU(H, 4), LastStep(), Dense(4, 2)),
    "both ends": lambda: (Bidirectional(LSTM(I, H)), LastStep(bidirectional=True), Dense(2 * H, 2)),
    "mean": lambda: (Dense(I, H), GRU(H, H), Elman(H, 4), MeanPool(), Dense(4, 2)),
    "masked elman": lambda: (Elman(I, H, **MASKED), Elman(H, H, **MASKED), Elman(H, H, zoneout=0.3)),
    "masked leaky": lambda: (
        LeakyElman(I, H, leak=0.3, noise=0.1, **MASKED),
        LeakyElman(H, H, "sigmoid", time_constants=(1, 20), learn_leak=True, recurrent_dropout=0.25),
        LeakyElman(H, H, leak=0.7, learn_leak=True, excitatory=0.6, checkpoint_every=2, **MASKED),
    ),
    "noisy learned leaks": lambda: (
        LeakyElman(I, H, leak=0.3, noise=0.4, learn_leak=True, **MASKED),
        LeakyElman(H, H, time_constants=(1, 20), noise=0.2, learn_leak=True, recurrent_dropout=0.25),
        LeakyElman(H, H, leak=0.5, noise=0.3, learn_leak=True, excitatory=0.6),
    ),
    "masked lstm": lambda: (LSTM(I, H, **MASKED), LSTM(H, H, zoneout=(0, 0.5)), LSTM(H, H, **MASKED)),
    "masked peepholes": lambda: (LSTM(I, H, peepholes=True, zoneout=(0.05, 0.2)), GRU(H, H, zoneout=0.1)),
    "masked gru": lambda: (GRU(I, H, **MASKED), GRU(H, H, **MASKED, checkpoint_every=2), GRU(H, H, **MASKED)),
    "masked reset before": lambda: (
        GRU(I, H, reset_after=False, **MASKED),
        GRU(H, H, reset_after=False, recurrent_dropout=0.25, checkpoint_every=2),
        GRU(H, H, reset_after=False, **MASKED),
    ),
    "dense": lambda: (Dense(I, 3), Dense(3, 2)),
    "both ways lstm": lambda: (Bidirectional(LSTM(I, 2)), Bidirectional(LSTM(4, 2), "sum"), LSTM(2, 2)),
    "both ways": lambda: (Bidirectional(GRU(I, 2)), Dropout(0.1, True), Bidirectional(Elman(4, H), "sum")),
}


class Problem:
    """A network, its input, initial state and lengths: a function of arrays that can be moved in place."""

    def __init__(self, layers, lengths, shape=(T, B, I), seed=7):
        rng = np.random.default_rng(seed)
        self.net = Network(*layers, seed=seed, dtype="float64")
        # Away from the initial values, which are too regular: zero biases, orthogonal and identity matrices.
        self.net.params.flat[:] += rng.uniform(-0.5, 0.5, self.net.params.flat.size)
        steps, rows, features = shape
        self.lengths = lengths
        self.valid = np.arange(steps)[:, None] < np.array(lengths or [steps] * rows)
        self.ids = layers[0].takes_ids
        self.x = rng.integers(0, 4, (steps, rows)) if self.ids else rng.standard_normal(shape)
        self.dropout = self.net.rng.bit_generator.state
        self.state = like(self.net.forward(self.x)[1], lambda array: rng.standard_normal(array.shape))
        self.rng = rng

    def sources(self):
        """Everything a gradient exists for, by name."""
        sources = {"parameters": self.net.params.flat}
        if not self.ids:
            sources["x"] = self.x
        return sources | {f"state {i}": array for i, array in enumerate(leaves(self.state))}

    def forward(self):
        self.net.rng.bit_generator.state = self.dropout  # the same entries are dropped every time
        return self.net.forward(self.x, self.state, self.lengths)

    def outputs(self):
        """y within the lengths and the final states, flat."""
        y, final, _ = self.forward()
        y = y[self.valid] if y.ndim == 3 else y
        return np.concatenate([array.ravel() for array in (y, *leaves(final))])

    def backward(self, dy, dfinal):
        """Gradients of all sources, by name. The padding of dy holds what must not matter."""
        _, _, tape = self.forward()
        if dy.ndim == 3:
            dy = np.where(self.valid[:, :, None], dy, np.nan)
        start = self.rng.standard_normal(self.net.grads.flat.size)
        self.net.grads.flat[:] = start
        dx, dinitial = self.net.backward(dy, tape, dfinal)
        gradients = {"parameters": self.net.grads.flat - start}
        if not self.ids:
            gradients["x"] = dx
        return gradients | {f"state {i}": array for i, array in enumerate(leaves(dinitial))}

    def flat_upstream(self, dy, dfinal):
        """The upstream gradient in the order of ``outputs``."""
        dy = dy[self.valid] if dy.ndim == 3 else dy
        return np.concatenate([array.ravel() for array in (dy, *leaves(dfinal))])

    def upstreams(self):
        """Pairs (dy, dfinal): everywhere; each step alone; each layer's final state alone."""
        y, final, _ = self.forward()

        def draw_like(state, scale=1.0):
            return like(state, lambda array: scale * self.rng.standard_normal(array.shape))

        yield "everywhere", self.rng.standard_normal(y.shape), draw_like(final)
        nothing = draw_like(final, 0.0)
        steps = range(len(y)) if y.ndim == 3 else ()
        for t in steps:
            dy = np.zeros_like(y)
            dy[t] = self.rng.standard_normal(y[t].shape)
            yield f"step {t}", dy, nothing
        for i, part in enumerate(final):
            if part is not None:
                alone = draw_like(final)[i]
                yield f"state {i}", np.zeros_like(y), (*nothing[:i], alone, *nothing[i + 1 :])


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("stack", STACKS)
def test_gradients_are_those_of_finite_differences(stack, lengths):
    problem = Problem(STACKS[stack](), LENGTHS[lengths])
    # Where a slope jumps, at ReLU's kink, the differences must stay on one side of it.
    step = 1e-5 if "relu" in stack else 3e-4
    slopes = {name: jacobian(problem.outputs, array, step) for name, array in problem.sources().items()}
    for place, dy, dfinal in problem.upstreams():
        upstream = problem.flat_upstream(dy, dfinal)
        got = problem.backward(dy, dfinal)
        want = {name: upstream @ slopes[name] for name in slopes}
        scale = max(np.abs(array).max() for array in want.values())
        for name, array in got.items():
            assert_gradient(array.ravel(), want[name], scale, f"d{name} from {place}")


@pytest.mark.parametrize("stack", [name for name in STACKS if "relu" not in name and name != "dense"])
def test_the_last_step_is_felt_at_the_first(stack):
    """A gradient that enters at the last step alone reaches dx[0] and every initial state of every row."""
    problem = Problem(STACKS[stack](), None)
    y, _, tape = problem.forward()
    dy = np.zeros_like(y)
    dy[-1 if y.ndim == 3 else slice(None)] = 1
    dx, dinitial = problem.net.backward(dy, tape)
    recurrent = leaves(dinitial)
    assert all((array != 0).any(axis=1).all() for array in recurrent)
    assert dx is None or (dx[0] != 0).any(axis=1).all()


CELL_STACKS = {
    **{
        f"elman-{g}": lambda I, H, g=g: (Elman(I, H, g), Elman(H, H, g))
        for g in ("tanh", "sigmoid", "identity")
    },
    "lstm": lambda I, H: (LSTM(I, H), LSTM(H, H)),
    "gru": lambda I, H: (GRU(I, H), GRU(H, H)),
    "mixed": lambda I, H: (Dense(I, H), GRU(H, H), LSTM(H, I), Dropout(0.25), Elman(I, H), Dense(H, 2)),
}


@pytest.mark.parametrize("stack", CELL_STACKS)
@given(shape=shapes(steps=7), seed=seeds)
@settings(max_examples=12)
def test_backward_is_adjoint_of_jvp(stack, shape, seed):
    """<dy, J v> = <J' dy, v> for every direction v in the parameters, the input and the initial state."""
    lengths = shape.lengths
    problem = Problem(CELL_STACKS[stack](shape.I, shape.H), lengths, (shape.T, shape.B, shape.I), seed)
    sources = problem.sources()
    before = {name: array.copy() for name, array in sources.items()}
    direction = {
        name: problem.rng.standard_normal(array.shape) / array.size**0.5 for name, array in sources.items()
    }

    def moved(s):
        for name, array in sources.items():
            array[...] = before[name] + s * direction[name]
        return problem.outputs()

    jv = derivative(moved)
    moved(0.0)
    place, dy, dfinal = next(iter(problem.upstreams()))
    upstream = problem.flat_upstream(dy, dfinal)
    gradients = problem.backward(dy, dfinal)
    adjoint = sum(np.vdot(gradients[name], direction[name]) for name in sources)
    assert abs(upstream @ jv - adjoint) <= 1e-9 * np.linalg.norm(upstream) * np.linalg.norm(jv), place


@pytest.mark.parametrize("stack", [name for name in STACKS if name != "mixed"])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_backward_is_linear_in_its_upstream(stack, lengths):
    problem = Problem(STACKS[stack](), LENGTHS[lengths])
    everything, *alone = problem.upstreams()
    parts = [everything[1:], alone[0][1:] if alone else everything[1:]]
    gradients = [problem.backward(dy, dfinal) for dy, dfinal in parts]
    a, b = 1.5, -0.25

    def combined(first, second):
        if first is None:
            return None
        return tuple(map(combined, first, second)) if isinstance(first, tuple) else a * first + b * second

    sum_of_upstreams = problem.backward(
        *(combined(first, second) for first, second in zip(*parts, strict=True))
    )
    for name, array in sum_of_upstreams.items():
        assert_close(array, a * gradients[0][name] + b * gradients[1][name], 1e-12, name)
