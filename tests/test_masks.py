"""Laws of recurrent dropout and zoneout: what is dropped, what is kept, in training and in evaluation."""

import math

import numpy as np
import pytest
from laws import assert_close, leaves

import rnncore
from rnncore import GRU, LSTM, Bidirectional, Elman, LeakyElman, Network, kernels, reference
from rnncore.layers.flow import Flow

T, B, I, H = 7, 4, 3, 9
LENGTHS = np.array([3, 7, 1, 5])
CELLS = {
    "elman": Elman,
    "relu": lambda *a, **k: Elman(*a, activation="relu", **k),
    "lstm": LSTM,
    "peepholes": lambda *a, **k: LSTM(*a, peepholes=True, **k),
    "coupled": lambda *a, **k: LSTM(*a, coupled=True, peepholes=True, **k),
    "gru": GRU,
    "reset before": lambda *a, **k: GRU(*a, reset_after=False, **k),
    "leaky": lambda *a, **k: LeakyElman(*a, time_constants=(1, 9), learn_leak=True, excitatory=0.6, **k),
}
OPTIONS = {
    "dropout": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "both": {"recurrent_dropout": 0.4, "zoneout": 0.3},
}


def network(cell, seed=3, dtype="float64", **options):
    net = Network(CELLS[cell](I, H, **options), seed=seed, dtype=dtype)
    net.params.flat[:] += np.random.default_rng(seed).uniform(-0.3, 0.3, net.params.flat.size)
    return net


def run(net, lengths=None, rows=B, clip_step=math.inf, seed=1):
    """Everything that a pass there and back computes: y, states, dx, gradients, what flows; and the tape."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((T, rows, I)).astype(net.dtype)
    state, dfinal = (like_state(net, rng, rows) for _ in range(2))
    dy = rng.standard_normal((T, rows, H)).astype(net.dtype)
    if lengths is not None:
        beyond = np.arange(T)[:, None] >= lengths
        x[beyond] = dy[beyond] = np.nan
    layer = net.layers[0]
    layer.clip_step = clip_step
    layer.flow = Flow(gates=True)
    y, final, (tape,) = net.forward(x, (state,), lengths)
    net.zero_grad()
    dx, dinitial = net.backward(dy, (tape,), (dfinal,))
    flow = layer.flow
    arrays = {"y": y, "dx": dx, "dgates": flow.dgates, "drecurrent": flow.drecurrent}
    arrays |= {f"final {i}": a for i, a in enumerate(leaves(final))}
    arrays |= {f"dinitial {i}": a for i, a in enumerate(leaves(dinitial))}
    arrays |= {f"dstates {i}": a for i, a in enumerate(flow.states)}
    arrays |= {f"d{name}": grad.copy() for name, grad in net.grads.items()}
    return arrays, tape


def like_state(net, rng, rows):
    names = net.layers[0].state_names
    parts = tuple(rng.standard_normal((rows, H)).astype(net.dtype) for _ in names)
    return parts if len(names) > 1 else parts[0]


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_kernels_compute_what_the_reference_computes(cell, options, lengths, training):
    for clip_step in (math.inf, 0.5):
        results = []
        for module in (kernels, reference):
            net = network(cell, **OPTIONS[options]).train(training)
            net.layers[0].backend = module
            results.append((run(net, lengths, clip_step=clip_step)[0], net.layers[0].clipped_steps))
        (got, clipped), (want, clipped_reference) = results
        assert clipped == clipped_reference
        for name in want:
            assert_close(got[name], want[name], 1e-11, name)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("zoneout", [(0.3, 0.0), (0.0, 0.3)])
@pytest.mark.parametrize("every", [None, 2])
def test_zoneout_of_one_state_alone_is_that_of_the_reference(zoneout, every):
    """Drawn at every step, where the other state keeps nothing at any."""
    results = []
    for module in (kernels, reference):
        net = network("lstm", zoneout=zoneout, checkpoint_every=every)
        net.layers[0].backend = module
        results.append(run(net, LENGTHS)[0])
    got, want = results
    for name in want:
        assert_close(got[name], want[name], 1e-11, name)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_is_a_layer_with_dropped_columns(cell):
    """W (d h) = (W d) h: for a single row it is the plain layer with these columns of weight_hh scaled."""
    net, plain = network(cell, recurrent_dropout=0.4), network(cell)
    got, tape = run(net, rows=1)
    drop = tape.masks.drop
    assert set(np.round(drop.ravel() * 0.6, 3)) == {0.0, 1.0}
    plain.params["0.weight_hh"] = net.params["0.weight_hh"] * drop
    want, _ = run(plain, rows=1)
    want["d0.weight_hh"] = want["d0.weight_hh"] * drop
    for name in want:
        assert_close(got[name], want[name], 1e-12, name)


@pytest.mark.parametrize("zoneout", [0.3, 0.8])
@pytest.mark.parametrize("cell", CELLS)
def test_zoneout_keeps_or_takes_each_unit(cell, zoneout):
    """To the bit one or the other, at every step anew, with this probability."""
    rows = 200
    net = network(cell, zoneout=zoneout, dtype="float32")
    _, tape = run(net, rows=rows)
    for states, keep, proposed in zip(tape.states(), tape.masks.keep, tape.masks.proposed, strict=True):
        np.testing.assert_array_equal(states[1:], np.where(keep, proposed, states[:-1]))
        deviation = math.sqrt(zoneout * (1 - zoneout) / keep.size)
        assert abs((keep == 0).mean() - zoneout) < 5 * deviation
        agreement = (keep[1:] == keep[:-1]).mean()
        assert abs(agreement - (zoneout**2 + (1 - zoneout) ** 2)) < 0.02
    if len(tape.masks.keep) > 1:
        assert not np.array_equal(*tape.masks.keep), "h and c draw for themselves"


@pytest.mark.parametrize("cell", CELLS)
def test_zoneout_in_evaluation_is_the_mean(cell):
    net = network(cell, zoneout=0.3).eval()
    generator = net.rng.bit_generator.state
    _, tape = run(net)
    for states, proposed in zip(tape.states(), tape.masks.proposed, strict=True):
        assert_close(states[1:], 0.3 * states[:-1] + 0.7 * proposed, 1e-14)
    assert net.rng.bit_generator.state == generator, "nothing is drawn"


def test_a_reset_that_comes_first_acts_on_what_enters():
    """The three products of a step take d h[t-1], that of n r (d h[t-1]); beside z stands h[t-1] itself."""
    net = network("reset before", recurrent_dropout=0.4)
    _, tape = run(net)
    weight, drop, p = net.params["0.weight_hh"], tape.masks.drop, net.params
    for t in range(T):
        h = tape.hidden[t]
        sums = tape.x[t] @ p["0.weight_ih"].T + p["0.bias"]
        r, z = (
            reference.recurrence.sigmoid(sums[:, part] + (drop * h) @ weight[part].T)
            for part in (slice(0, H), slice(H, 2 * H))
        )
        n = np.tanh(sums[:, 2 * H :] + (r * (drop * h)) @ weight[2 * H :].T)
        assert_close(tape.hidden[t + 1], (1 - z) * n + z * h, 1e-13)


def test_zoneout_may_differ_between_the_states():
    _, tape = run(network("lstm", zoneout=(0.0, 0.5)))
    assert (tape.masks.keep[0] == 1).all()
    assert 0 < tape.masks.keep[1].mean() < 1


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_is_off_in_evaluation(cell):
    got, tape = run(network(cell, recurrent_dropout=0.4).eval())
    want, _ = run(network(cell).eval())
    assert tape.masks is None
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_row_is_the_row_alone_in_evaluation(backend, cell, rng):
    net = network(cell, zoneout=0.3).eval()
    x = rng.standard_normal((T, B, I))
    x[np.arange(T)[:, None] >= LENGTHS] = np.nan
    y, final, _ = net.forward(x, None, LENGTHS)
    for b, n in enumerate(LENGTHS):
        alone, state, _ = net.forward(x[:n, b : b + 1].copy())
        assert_close(y[:n, b : b + 1], alone, 1e-14)
        assert not y[n:, b].any()
        for whole, part in zip(leaves(final), leaves(state), strict=True):
            assert_close(whole[b : b + 1], part, 1e-14)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_segmented_tape_gives_the_same(backend, cell, lengths):
    options = OPTIONS["both"]
    want, _ = run(network(cell, **options), lengths)
    for every in (1, 3):
        got, _ = run(network(cell, **options, checkpoint_every=every), lengths)
        for name in want:
            assert_close(got[name], want[name], 1e-12, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_seed_gives_one_result(cell, dtype):
    """Whatever the number of threads; another seed and another pass draw anew."""
    before, results = rnncore.get_num_threads(), []
    try:
        for threads, seed in ((1, 3), (3, 3), (1, 4)):
            rnncore.set_num_threads(threads)
            net = network(cell, seed, dtype, **OPTIONS["both"])
            results.append([run(net)[0]["y"], run(net)[0]["y"]])
    finally:
        rnncore.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert not np.array_equal(*results[0])


def test_both_directions_draw_for_themselves(rng):
    net = Network(Bidirectional(GRU(I, H, **OPTIONS["both"])), dtype="float64")
    x = rng.standard_normal((T, B, I))
    _, _, (tape,) = net.forward(x)
    assert not np.array_equal(tape.forward.masks.drop, tape.reverse.masks.drop)
    _, _, (tape,) = net.eval().forward(x)
    assert tape.forward.masks.drop is None
    assert (tape.reverse.masks.keep[0] == 0.7).all()


def test_diagnostics_of_single_steps_refuse_masks(rng):
    """What they would say of the cell alone is not what the layer does."""
    from rnncore.diagnostics import linearize

    net = Network(GRU(I, H, zoneout=0.3)).eval()
    _, _, (tape,) = net.forward(rng.standard_normal((T, B, I)).astype(np.float32))
    with pytest.raises(ValueError, match="tape was left by a layer with recurrent dropout or zoneout"):
        next(linearize.walk(net.layers[0], tape, 0, 2, [0]))


def test_options_are_kept_in_files(tmp_path):
    both_ways = Bidirectional(GRU(H, H, recurrent_dropout=0.2))
    leaky = LeakyElman(2 * H, H, leak=0.3, recurrent_dropout=0.3, zoneout=0.1)
    net = Network(LSTM(I, H, zoneout=(0.1, 0.5)), both_ways, leaky, seed=1)
    rnncore.save(net, tmp_path / "model.safetensors")
    assert repr(rnncore.load(tmp_path / "model.safetensors")) == repr(net)
    assert "zoneout" not in GRU(I, H).config()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recurrent_dropout": 1.0}, ValueError, r"recurrent_dropout is 1.0, but a probability in \[0, 1\)"),
        ({"recurrent_dropout": "some"}, TypeError, "recurrent_dropout is 'some'"),
        ({"zoneout": -0.1}, ValueError, "zoneout is -0.1"),
        ({"zoneout": math.nan}, ValueError, "zoneout is nan"),
        ({"zoneout": (0.1, 0.2, 0.3)}, ValueError, "but one number, or one for each of h, c, is wanted"),
        ({"zoneout": (0.1, 1.2)}, ValueError, "zoneout's c is 1.2"),
    ],
)
def test_impossible_probabilities_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        LSTM(I, H, **options)
