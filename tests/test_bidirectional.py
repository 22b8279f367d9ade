"""Laws of reading in both directions: halves, reversal, sums; kernels and reference; files; refusals."""

import numpy as np
import pytest
from cells import SIZES, seeds, shapes
from hypothesis import given
from hypothesis import strategies as st
from laws import assert_close, leaves, like, snapshot

import rnncore
from rnncore import Bidirectional, Dense, LastStep, Network, SquaredError, Trainer, kernels, reference
from rnncore.data import Batch
from rnncore.layers import GRU, LSTM, Elman

T, B, I, H = 6, 4, 3, 5
LENGTHS = np.array([3, 6, 1, 4])
CELLS = {"elman": Elman, "lstm": LSTM, "gru": GRU}


def turned(array, lengths):
    """Every row reversed within its own length, one by one, NaN beyond."""
    out = np.full_like(array, np.nan)
    for row, n in enumerate([len(array)] * array.shape[1] if lengths is None else lengths):
        out[:n, row] = array[:n, row][::-1]
    return out


def network(cell, merge="concat", seed=3, dtype="float64", **options):
    net = Network(Bidirectional(CELLS[cell](I, H, **options), merge), seed=seed, dtype=dtype)
    net.params.flat[:] += np.random.default_rng(seed).uniform(-0.3, 0.3, net.params.flat.size)
    return net


def one_way(net, cell, suffix):
    """A plain layer with one direction's parameters."""
    alone = Network(CELLS[cell](I, H), dtype="float64")
    for name in alone.params:
        alone.params[name] = net.params[f"{name}{suffix}"]
    return alone


def run(net, x, state, dy, dfinal, lengths):
    """y, final state, dx, gradient of the initial state and of the parameters; 0 in the padding of y."""
    net.zero_grad()
    y, final, tape = net.forward(x, state, lengths)
    dx, dinitial = net.backward(dy, tape, dfinal)
    return y, final[0], dx, dinitial[0], {name: grad.copy() for name, grad in net.grads.items()}


def draw(net, rng, lengths):
    """x, state, dy and dfinal; NaN in all padding."""
    x = rng.standard_normal((T, B, I))
    y, final, _ = net.forward(x, None, lengths)
    dy = rng.standard_normal(y.shape)
    if lengths is not None:
        beyond = np.arange(T)[:, None] >= lengths
        x[beyond] = dy[beyond] = np.nan
    state, dfinal = (like(final, lambda a: rng.standard_normal(a.shape)) for _ in range(2))
    return x, state, dy, dfinal


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_both_ends_are_the_final_states_of_both_directions(backend, cell, lengths, rng):
    net = network(cell, "concat")
    x, state, *_ = draw(net, rng, lengths)
    y, (final,), _ = net.forward(x, state, lengths)
    ends = Network(LastStep(bidirectional=True), dtype=net.dtype).forward(y, lengths=lengths)[0]
    forward, reverse = (leaves(half)[0] for half in final)
    np.testing.assert_array_equal(ends, np.hstack([forward, reverse]))


def test_two_halves_are_wanted_for_both_ends():
    with pytest.raises(ValueError, match=r"x has 3 features, but LastStep\(bidirectional=True\) wants two"):
        Network(LastStep(bidirectional=True)).forward(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(TypeError, match="bidirectional is 1, but True or False is wanted"):
        LastStep(1)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("merge", ["concat", "sum"])
@pytest.mark.parametrize("cell", CELLS)
def test_each_half_is_a_plain_layer_on_its_own(backend, cell, merge, lengths, rng):
    """The forward half is the layer; the reverse half is the layer on rows that were reversed beforehand."""
    net = network(cell, merge)
    x, state, dy, dfinal = draw(net, rng, lengths)
    y, final, dx, dinitial, grads = run(net, x, state, dy, dfinal, lengths)
    dys = np.split(dy, 2, axis=2) if merge == "concat" else (dy, dy)
    there, back = (
        run(one_way(net, cell, suffix), *arguments, lengths)
        for suffix, arguments in (
            ("", (x, state[0][:1], dys[0].copy(), dfinal[0][:1])),
            ("_reverse", (turned(x, lengths), state[0][1:], turned(dys[1], lengths), dfinal[0][1:])),
        )
    )
    valid = ~np.isnan(x[:, :, 0])
    halves = there[0][valid], turned(back[0], lengths)[valid]
    assert_close(y[valid], np.hstack(halves) if merge == "concat" else sum(halves), 1e-14, "y")
    assert not y[~valid].any()
    assert_close(dx[valid], (there[2] + turned(back[2], lengths))[valid], 1e-14, "dx")
    assert not dx[~valid].any()
    for got, want in ((final, (there[1], back[1])), (dinitial, (there[3], back[3]))):
        for one, other in zip(leaves(got), leaves(want), strict=True):
            assert_close(one, other, 1e-14, "state")
    for part, suffix in ((there, ""), (back, "_reverse")):
        for name, grad in part[4].items():
            assert_close(grads[f"{name}{suffix}"], grad, 1e-13, f"d{name}{suffix}")


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_reversal_swaps_the_halves(cell, lengths, rng):
    """On reversed rows, with the directions' weights swapped, all is the same but reversed and swapped."""
    net, mirrored = network(cell), network(cell)
    for name in (name for name in net.params if not name.endswith("_reverse")):
        mirrored.params[name] = net.params[f"{name}_reverse"]
        mirrored.params[f"{name}_reverse"] = net.params[name]
    x, state, dy, dfinal = draw(net, rng, lengths)
    y, final, dx, dinitial, _ = run(net, x, state, dy, dfinal, lengths)

    def swap(array):
        return turned(np.roll(array, H, axis=2), lengths)

    other = run(mirrored, turned(x, lengths), (state[0][::-1],), swap(dy), (dfinal[0][::-1],), lengths)
    valid = ~np.isnan(x[:, :, 0])
    assert_close(swap(other[0])[valid], y[valid], 1e-14)
    assert_close(turned(other[2], lengths)[valid], dx[valid], 1e-14)
    for got, want in ((other[1], final), (other[3], dinitial)):
        for one, two in zip(leaves(got[::-1]), leaves(want), strict=True):
            assert_close(one, two, 1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_the_sum_is_the_halves_added(cell, rng):
    joined, added = network(cell), network(cell, "sum")
    x, state, dy, dfinal = draw(added, rng, LENGTHS)
    y, final, dx, dinitial, grads = run(joined, x, state, np.concatenate([dy, dy], axis=2), dfinal, LENGTHS)
    other = run(added, x, state, dy, dfinal, LENGTHS)
    assert_close(other[0], y[:, :, :H] + y[:, :, H:], 1e-15)
    np.testing.assert_array_equal(other[2], dx)
    for got, want in ((other[1], final), (other[3], dinitial), (other[4].values(), grads.values())):
        for one, two in zip(leaves(tuple(got)), leaves(tuple(want)), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(shape=shapes(), seed=seeds, add=st.booleans(), units=SIZES)
def test_kernels_move_what_the_reference_moves(dtype, shape, seed, add, units):
    """To the bit: nothing is computed but sums. What must be written was NaN, and so is all padding."""
    rng = np.random.default_rng(seed)
    lengths, padding = shape.array(), shape.padding()

    def drawn(features):
        array = rng.standard_normal((shape.T, shape.B, features)).astype(dtype)
        array[padding] = np.nan
        return array

    x, start = drawn(units), rng.standard_normal((shape.T, shape.B, units)).astype(dtype)
    forward, reverse, dy = drawn(units), drawn(units), drawn(2 * units)
    results = []
    for module in (kernels, reference):
        out = start.copy() if add else np.full_like(start, np.nan)
        module.reverse_rows(x, lengths, add, out)
        joined, added = np.full_like(dy, np.nan), np.full_like(x, np.nan)
        module.join_directions(forward, reverse, lengths, joined)
        module.join_directions(forward, reverse, lengths, added)
        parts = np.full_like(x, np.nan), np.full_like(x, np.nan)
        module.split_directions(dy, lengths, *parts)
        results.append([out, joined, added, *parts])
    for got, want in zip(*results, strict=True):
        assert np.isfinite(want).all()
        np.testing.assert_array_equal(got, want)


def test_reversing_twice_changes_nothing(backend, rng):
    x = rng.standard_normal((T, B, I))
    x[np.arange(T)[:, None] >= LENGTHS] = 0
    there, back = np.empty_like(x), np.empty_like(x)
    backend.reverse_rows(x, LENGTHS, False, there)
    backend.reverse_rows(there, LENGTHS, False, back)
    np.testing.assert_array_equal(back, x)
    assert not np.array_equal(there, x)


def test_threads_do_not_change_a_bit(rng):
    steps, rows, features = 50, 16, 64
    lengths = rng.integers(1, steps + 1, rows)
    x = rng.standard_normal((steps, rows, features)).astype(np.float32)
    before, results = rnncore.get_num_threads(), []
    try:
        for threads in (1, 4):
            rnncore.set_num_threads(threads)
            out = np.empty_like(x)
            kernels.reverse_rows(x, lengths, False, out)
            joined = np.empty((steps, rows, 2 * features), np.float32)
            kernels.join_directions(x, out, lengths, joined)
            results.append((out, joined))
    finally:
        rnncore.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)


# --- what passes through to the two layers


@pytest.mark.parametrize("cell", CELLS)
def test_a_segmented_tape_gives_the_same(cell, rng):
    whole, segmented = network(cell), network(cell, checkpoint_every=2)
    x, state, dy, dfinal = draw(whole, rng, LENGTHS)
    results = [run(net, x, state, dy, dfinal, LENGTHS) for net in (whole, segmented)]
    for one, two in zip(results[1][4].values(), results[0][4].values(), strict=True):
        assert_close(one, two, 1e-12)
    assert_close(results[1][2], results[0][2], 1e-12)


def test_clip_step_acts_in_both_directions(rng):
    net = network("lstm")
    layer = net.layers[0]
    x, state, dy, dfinal = draw(net, rng, LENGTHS)
    layer.clip_step = 0.05
    assert layer.layer.clip_step == layer.reverse.clip_step == layer.clip_step == 0.05
    run(net, x, state, dy, dfinal, LENGTHS)
    assert layer.layer.clipped_steps > 0
    assert layer.reverse.clipped_steps > 0
    assert layer.clipped_steps == layer.layer.clipped_steps + layer.reverse.clipped_steps
    layer.clipped_steps = 0
    assert layer.layer.clipped_steps == layer.reverse.clipped_steps == 0


def test_tapes_of_both_directions_can_be_read(rng):
    net = network("gru")
    x = rng.standard_normal((T, B, I))
    y, _, (tape,) = net.forward(x, None, LENGTHS)
    for part in (tape.forward, tape.reverse):
        assert part.gates.shape == (T, B, 3 * H)
        np.testing.assert_array_equal(part.lengths, LENGTHS)
    np.testing.assert_array_equal(tape.forward.hidden[1:], y[:, :, :H])
    back = np.nan_to_num(turned(tape.reverse.hidden[1:], LENGTHS))
    np.testing.assert_array_equal(back, y[:, :, H:])


def test_the_two_directions_start_apart():
    """Each draws its own initial weights; the layer that was handed in stays out of it."""
    pattern = LSTM(I, H, forget_bias=2.0)
    net = Network(Bidirectional(pattern), Bidirectional(LSTM(2 * H, H)))
    for name in ("weight_ih", "weight_hh"):
        assert not np.array_equal(net.params[f"0.{name}"], net.params[f"0.{name}_reverse"])
    assert (net.params["0.bias_reverse"][H : 2 * H] == 2).all()
    assert not pattern.params
    Network(pattern)


def test_it_trains_saves_and_loads(tmp_path, rng):
    """A checkpoint resumes bit for bit, and the model file gives the same outputs."""
    x, target = (rng.standard_normal((T, B, n)).astype(np.float32) for n in (I, 2))
    batches = [Batch(x, target, LENGTHS)]

    def new():
        layers = Bidirectional(GRU(I, H), "sum"), Bidirectional(LSTM(H, H, forget_bias=0.5)), Dense(2 * H, 2)
        return Network(*layers, seed=1)

    def train(net, steps, path=None, resume=False):
        trainer = Trainer(net, SquaredError(), rnncore.Adam(0.01), checkpoint=path, progress="off")
        trainer.fit(batches, steps=steps, resume=resume)
        return net

    whole = train(new(), 8)
    path = tmp_path / "run.safetensors"
    train(new(), 5, path)
    resumed = train(new(), 8, path, resume=True)
    np.testing.assert_array_equal(resumed.params.flat, whole.params.flat)

    rnncore.save(whole, tmp_path / "model.safetensors")
    loaded = rnncore.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(whole)
    np.testing.assert_array_equal(
        loaded.eval().forward(x, None, LENGTHS)[0], whole.eval().forward(x, None, LENGTHS)[0]
    )


# --- what is refused, before anything is changed


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Bidirectional(Dense(2, 3)), TypeError, "layer is a Dense, but a recurrent layer"),
        (lambda: Bidirectional(Bidirectional(GRU(2, 3))), TypeError, "layer is a Bidirectional, but"),
        (lambda: Bidirectional({"type": "Dense"}), ValueError, "type 'Dense', but one of .*Clockwork"),
        (lambda: Bidirectional(GRU(2, 3), "mean"), ValueError, "merge is 'mean', but one of concat, sum"),
        (lambda: Bidirectional(Network(GRU(2, 3)).layers[0]), ValueError, "belongs to a network already"),
        (lambda: Network(Bidirectional(GRU(2, 3)), GRU(3, 3)), ValueError, "takes 3 .*gives 6"),
        (lambda: Network(Bidirectional(GRU(2, 3), "sum"), GRU(6, 3)), ValueError, "but .* gives 3"),
        (lambda: Network(LastStep(), Bidirectional(GRU(2, 3))), ValueError, "leaves only one"),
    ],
)
def test_impossible_layers_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (np.zeros((B, H)), TypeError, "state\\[0\\] is a ndarray, but the tuple"),
        ((None, None, None), TypeError, "state\\[0\\] is a tuple of 3, but the tuple"),
        ((None, np.zeros((B, H + 1))), ValueError, "state\\[0\\]\\[1\\] has shape"),
    ],
)
def test_a_wrong_state_changes_nothing(state, error, message, rng):
    net = network("gru")
    x = rng.standard_normal((T, B, I))
    y, _, tape = net.forward(x)
    before = snapshot(net)
    with pytest.raises(error, match=message):
        net.forward(x, (state,))
    with pytest.raises(error, match="d" + message):
        net.backward(np.ones_like(y), tape, (state,))
    with pytest.raises(ValueError, match="dy has shape"):
        net.layers[0].backward(np.ones((T, B, H)), tape[0])
    assert snapshot(net) == before


def test_whole_sequences_are_not_cut():
    with pytest.raises(ValueError, match=r"bptt is 20, but Bidirectional.* reads whole sequences"):
        Trainer(network("gru"), SquaredError(), rnncore.SGD(0.1), bptt=20)


def hostile(inner):
    return {
        "kind": "rnncore model", "version": 1, "vocabulary": None,
        "architecture": {"layers": [{"type": "Bidirectional", **inner}], "seed": 0, "dtype": "float32"},
    }  # fmt: skip


GRU_CONFIG = {"type": "GRU", "input_size": 2, "hidden_size": 3}


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({}, "layer 0, Bidirectional, is impossible: .*layer"),
        ({"layer": None}, "layer is a NoneType, but a recurrent layer"),
        ({"layer": "GRU"}, "layer is a str, but a recurrent layer"),
        ({"layer": []}, "layer is a list, but a recurrent layer"),
        ({"layer": {}}, "layer is of type None, but one of .*Clockwork"),
        ({"layer": {"type": "Dense", "in_features": 2, "out_features": 3}}, "layer is of type 'Dense'"),
        ({"layer": {"type": "Bidirectional", "layer": GRU_CONFIG}}, "layer is of type 'Bidirectional'"),
        ({"layer": {"type": "os.system"}}, "layer is of type 'os.system'"),
        ({"layer": {"type": ["GRU"]}}, "layer is of type \\['GRU'\\]"),
        ({"layer": GRU_CONFIG | {"hidden_size": -1}}, "is impossible: hidden_size is -1"),
        ({"layer": GRU_CONFIG | {"nonsense": 1}}, "layer 0, Bidirectional, is impossible"),
        ({"layer": GRU_CONFIG, "merge": ["concat"]}, "layer 0, Bidirectional, is impossible: merge is"),
        ({"layer": GRU_CONFIG | {"hidden_size": 10**12}}, "hidden_size is 10{12}, but at most"),
        ({"layer": GRU_CONFIG | {"hidden_size": 10**4}}, "lacks tensor"),
    ],
)
def test_a_hostile_file_is_refused(inner, message, tmp_path):
    from rnncore.files import write_tensors

    path = tmp_path / "model.safetensors"
    write_tensors(path, {}, hostile(inner))
    with pytest.raises(ValueError, match=message):
        rnncore.load(path)


def test_a_cell_that_no_file_knows_is_not_saved(tmp_path):
    class Other(GRU):
        pass

    with pytest.raises(ValueError, match="layer 0 is a Other, but a file can only hold"):
        rnncore.save(Network(Bidirectional(Other(2, 3))), tmp_path / "model.safetensors")
