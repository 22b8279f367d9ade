"""Connections over several steps, and units that step at their own periods: what the layers promise."""

import numpy as np
import pytest

from rnncore import (
    SGD,
    Bidirectional,
    Clockwork,
    Dense,
    Elman,
    Network,
    SkipElman,
    SquaredError,
    Trainer,
    load,
    save,
)
from rnncore.data import Batch
from rnncore.diagnostics import (
    GradientMonitor,
    cell_health,
    diagnose,
    fixed_points,
    gradient_flow,
    jacobian,
    lyapunov_exponents,
    weight_contributions,
)
from rnncore.diagnostics.page import write_page
from rnncore.interop import onnx as to_onnx
from rnncore.trainer.checkpoint import Position
from rnncore.trainer.gradient import Gradient, mean_loss
from rnncore.trainer.segments import Walk


def network(*layers, seed=1, dtype="float64"):
    return Network(*layers, seed=seed, dtype=dtype)


def draw(*shape, seed=2):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("layer", [lambda: SkipElman(3, 5, (1,)), lambda: Clockwork(3, 5, (1,))])
def test_with_the_last_step_alone_it_is_an_elman_layer(layer):
    plain, other = network(Elman(3, 5)), network(layer())
    np.testing.assert_array_equal(other.params.flat, plain.params.flat)
    x = draw(6, 2, 3)
    (y, _, tape), (wanted, _, plain_tape) = other.forward(x), plain.forward(x)
    np.testing.assert_allclose(y, wanted, rtol=1e-14)
    dy = draw(6, 2, 5, seed=3)
    np.testing.assert_allclose(other.backward(dy, tape)[0], plain.backward(dy, plain_tape)[0], rtol=1e-12)


def test_a_dilated_network_is_several_in_turn():
    net, plain = network(SkipElman(3, 4, (3,))), network(Elman(3, 4))
    plain.params.flat[:] = net.params.flat
    x = draw(9, 2, 3)
    y = net.forward(x)[0]
    for first in range(3):
        alone = plain.forward(np.ascontiguousarray(x[first::3]))[0]
        np.testing.assert_allclose(y[first::3], alone, rtol=1e-13)


@pytest.mark.parametrize("delays", [(1, 4), (3,), (2, 3, 5)])
def test_a_sequence_in_parts_is_the_sequence_forward_and_backward(delays):
    net = network(SkipElman(3, 4, delays), Dense(4, 2))
    x, dy = draw(12, 2, 3), draw(12, 2, 2, seed=3)
    y, _, tape = net.forward(x)
    dx, _ = net.backward(dy, tape)
    wanted, state, tapes, parts = net.grads.flat.copy(), None, [], [(0, 6), (6, 7), (7, 12)]
    for first, last in parts:
        part, state, kept = net.forward(x[first:last], state)
        np.testing.assert_allclose(part, y[first:last], rtol=1e-13)
        tapes.append(kept)
    net.zero_grad()
    dstate = None
    for (first, last), kept in reversed(list(zip(parts, tapes, strict=True))):
        part, dstate = net.backward(dy[first:last], kept, dstate)
        np.testing.assert_allclose(part, dx[first:last], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.grads.flat, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layer", [lambda: SkipElman(3, 4, (1, 3)), lambda: Clockwork(3, 4, (1, 2))])
def test_where_the_gradient_goes_is_seen(layer):
    net = network(layer(), Dense(4, 2))
    x, target = draw(9, 2, 3), draw(9, 2, 2, seed=3)
    flow = gradient_flow(net, x, target, SquaredError())
    y, _, tape = net.forward(x)
    _, dy = SquaredError()(y, target)
    _, dstate = net.backward(dy, tape)
    first = dstate[0] if dstate[0].ndim == 2 else dstate[0][-1]
    np.testing.assert_allclose(flow["0"].norms["h"][0], np.linalg.norm(first, axis=1), rtol=1e-10)
    assert np.isfinite(cell_health(net, x)["0"].state_norm).all()


@pytest.mark.parametrize("layer", [lambda: SkipElman(3, 4, (1, 3)), lambda: Clockwork(3, 4, (1, 2))])
def test_a_verdict_and_its_page_are_given(layer, tmp_path):
    pytest.importorskip("matplotlib")
    net = network(layer(), Dense(4, 2))
    x, target = draw(60, 3, 3), draw(60, 3, 2, seed=3)
    report = diagnose(net, (x, target), SquaredError())
    write_page(tmp_path / "page.html", report, net, x, target, SquaredError())
    assert type(net.layers[0]).__name__ in (tmp_path / "page.html").read_text()


def test_rows_of_any_length_are_as_if_alone():
    net = network(SkipElman(3, 4, (1, 3)), Clockwork(4, 5, (1, 2, 3)))
    lengths, x = np.array([7, 4, 5]), draw(7, 3, 3)
    y, state, _ = net.forward(x, lengths=lengths)
    for row, length in enumerate(lengths):
        alone, final, _ = net.forward(np.ascontiguousarray(x[:length, row : row + 1]))
        np.testing.assert_array_equal(y[:length, row : row + 1], alone)
        np.testing.assert_array_equal(state[0][:, row : row + 1], final[0])
        np.testing.assert_array_equal(state[1][row : row + 1], final[1])
    assert not y[4:, 1].any()


def test_what_does_not_step_keeps_its_state_and_what_is_not_heard_does_not_count():
    net = network(Clockwork(3, 6, (1, 2, 4)))
    y, _, tape = net.forward(draw(8, 2, 3))
    assert all(np.array_equal(y[t, :, 2:4], y[t - 1, :, 2:4]) for t in (1, 3, 5, 7))
    assert all(np.array_equal(y[t, :, 4:], y[t - 1, :, 4:]) for t in (1, 2, 3, 5, 6, 7))
    assert not np.array_equal(y[4, :, 4:], y[3, :, 4:])
    net.backward(draw(8, 2, 6, seed=3), tape)
    unheard = np.tril(np.ones((3, 3)), -1).repeat(2, 0).repeat(2, 1) > 0
    assert not net.grads["0.weight_hh"][unheard].any()
    assert net.grads["0.weight_hh"][~unheard].all()
    net.params["0.weight_hh"][unheard] = 100
    np.testing.assert_array_equal(net.forward(draw(8, 2, 3))[0], y)


@pytest.mark.parametrize("layer", [lambda: SkipElman(3, 4, (1, 3)), lambda: Clockwork(3, 4, (1, 3))])
def test_saved_trained_in_segments_and_used_in_inference_mode(layer, tmp_path):
    net = network(layer(), Dense(4, 2), dtype="float32")
    batch = Batch(draw(12, 5, 3).astype("f"), draw(12, 5, 2, seed=3).astype("f"))
    monitor = GradientMonitor(every=5)
    trainer = Trainer(net, SquaredError(), SGD(0.1), bptt=6, monitor=monitor, progress="off")
    losses = trainer.fit([batch], epochs=30).steps.column("loss")
    assert losses[-4:].mean() < losses[:4].mean()
    save(net, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    y = net.forward(batch.x)[0]
    np.testing.assert_array_equal(again.forward(batch.x)[0], y)
    with again.inference_mode():
        np.testing.assert_array_equal(again.forward(batch.x)[0], y)


def minibatches(net, batch, bptt):
    """The gradient of each segment and the sum of its losses."""
    gradient, walk = Gradient(net, SquaredError(), [], bptt), Walk(batch, np.min(bptt) if bptt else None)
    for first, last in walk.segments():
        gradient.add(walk, first, last, position := Position())
        yield net.grads.flat * position.unit, position.loss


@pytest.mark.parametrize("bptt", [(1, 12), (2, 12), (3, 20)])
def test_windows_over_the_whole_past_may_begin_with_less_than_a_delay(bptt):
    net = network(SkipElman(3, 4, (1, 5)), SkipElman(4, 4, (4,)), Dense(4, 2))
    batch = Batch(draw(12, 2, 3), draw(12, 2, 2, seed=3))
    whole = next(minibatches(net, batch, None))
    parts = list(minibatches(net, batch, bptt))
    np.testing.assert_allclose(sum(part for part, _ in parts), whole[0], rtol=1e-9, atol=1e-12)
    assert sum(loss for _, loss in parts) == pytest.approx(whole[1])
    assert mean_loss(net, SquaredError(), [batch], bptt[0], int) == pytest.approx(whole[1] / 24)


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: Bidirectional(layer, "sum")])
def test_documents_may_be_shorter_than_a_delay(wrap):
    """They are then what they are in front of nothing, as in a batch with longer ones."""
    net = network(wrap(SkipElman(3, 4, (1, 5))), Dense(4, 2))
    starts = np.zeros((12, 2), bool)
    starts[[2, 3, 8], 0] = starts[[6], 1] = True
    batch = Batch(draw(12, 2, 3), draw(12, 2, 2, seed=3), starts=starts)
    ((got, loss),) = minibatches(net, batch, None)
    spans = [(0, 2, 0), (2, 3, 0), (3, 8, 0), (8, 12, 0), (0, 6, 1), (6, 12, 1)]
    alone = [np.zeros((12, 6, width)) for width in (3, 2)]
    for number, (first, last, row) in enumerate(spans):
        for whole, part in zip(alone, (batch.x, batch.target), strict=True):
            whole[: last - first, number] = part[first:last, row]
    lengths = np.array([last - first for first, last, _ in spans])
    wanted = next(minibatches(net, Batch(*alone, lengths), None))
    np.testing.assert_allclose(got, wanted[0], rtol=1e-9, atol=1e-12)
    assert loss == pytest.approx(wanted[1])


def test_a_batch_shorter_than_a_delay_is_refused_in_segments_too():
    net = network(SkipElman(3, 4, (1, 9)), Dense(4, 2))
    trainer = Trainer(net, SquaredError(), SGD(0.1), bptt=4, progress="off")
    with pytest.raises(ValueError, match="would never act"):
        trainer.fit([Batch(draw(8, 2, 3), draw(8, 2, 2))], steps=1)


def test_delays_and_periods_may_be_an_array():
    assert SkipElman(3, 4, np.array([1, 3])).config()["delays"] == [1, 3]
    assert Clockwork(3, 4, np.array([1, 3], np.uint8)).config()["periods"] == [1, 3]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: SkipElman(3, 4, np.array(4)), TypeError, r"delays are array\(4\)"),
    (lambda: SkipElman(3, 4, np.array([[1, 4]])), TypeError, r"a delay is \[1, 4\]"),
    (lambda: SkipElman(3, 4, (0, 1)), ValueError, "a delay is 0"),
    (lambda: SkipElman(3, 4, (4, 1)), ValueError, r"delays are \(4, 1\), but each is wanted once"),
    (lambda: SkipElman(3, 4, (1, 1)), ValueError, "each is wanted once"),
    (lambda: SkipElman(3, 4, ()), TypeError, "delays are"),
    (lambda: SkipElman(3, 4, 4), TypeError, "delays are 4"),
    (lambda: SkipElman(3, 4, (1.5,)), TypeError, "a delay is 1.5"),
    (lambda: network(SkipElman(3, 4, (1, 9))).forward(draw(8, 2, 3)), ValueError, "would never act"),
    (lambda: network(SkipElman(3, 4)).forward(draw(8, 2, 3), (np.zeros((2, 4)),)), ValueError, "state"),
    (lambda: Clockwork(3, 4, (2, 1)), ValueError, "ascending"),
    (lambda: Clockwork(3, 4, (0,)), ValueError, "a period is 0"),
    (lambda: Clockwork(3, 2, (1, 2, 4)), ValueError, "but hidden_size is 2"),
    (lambda: Clockwork(3, 4, "12"), TypeError, "periods are '12'"),
])  # fmt: skip
def test_wrong_settings_get_one_clear_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("layer", [lambda: SkipElman(3, 4), lambda: Clockwork(3, 4)])
@pytest.mark.parametrize("use", [
    lambda net, path: to_onnx.export(net, path / "model.onnx"),
    lambda net, path: jacobian(net.layers[0], net.forward(draw(6, 2, 3))[2][0], 5, 0),
    lambda net, path: lyapunov_exponents(net.layers[0], draw(20, 1, 3)),
    lambda net, path: weight_contributions(net, draw(6, 2, 3), draw(6, 2, 4, seed=3), SquaredError()),
    lambda net, path: fixed_points(net.layers[0], draw(20, 1, 3)),
])  # fmt: skip
def test_what_does_not_know_them_says_so_by_name(layer, use, tmp_path):
    net = network(layer())
    with pytest.raises((ValueError, TypeError), match=type(net.layers[0]).__name__):
        use(net, tmp_path)


@pytest.mark.parametrize(("bptt", "fits"), [(4, True), ((4, 8), True), (3, False), ((4, 6), False)])
def test_segments_begin_where_all_periods_do(bptt, fits):
    """A clockwork layer counts from 0 in each: others would be another network."""
    net = Network(Clockwork(2, 6, periods=(1, 2, 4)), Dense(6, 1))
    if fits:
        Trainer(net, SquaredError(), SGD(0.1), bptt=bptt, progress="off")
        return
    with pytest.raises(ValueError, match=r"begins its periods anew in each segment: multiples of 4"):
        Trainer(net, SquaredError(), SGD(0.1), bptt=bptt, progress="off")
