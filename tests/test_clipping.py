"""Clipping: the kernels against the reference, and the laws of each clipper."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import LSTM, SGD, Dense, Network, SquaredError, Trainer, kernels, reference
from rnncore.clipping import ClipNorm, ClipParameter, ClipStep, ClipValue

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
# Every remainder of a division by the widest vector and by the 16 partial sums, and one long array.
SIZES = [*range(1, 36), 1000]


def gradient(size, dtype, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).standard_normal(size)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_kernel_equals_reference(level, name, dtype):
    for size in SIZES:
        for threshold in (0.3, 1e9):
            ours, theirs = gradient(size, dtype), gradient(size, dtype)
            measured = getattr(kernels, name)(ours, threshold)
            wanted = getattr(reference, name)(theirs, threshold)
            assert measured == pytest.approx(wanted, rel=TOLERANCE[dtype])
            np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_finite_sees_every_place_and_takes_the_largest_numbers(module, dtype, level):
    for size in [0, *SIZES]:
        array = np.full(size, np.finfo(dtype).max, dtype)
        array[::2] *= -1
        array.flags.writeable = False
        assert module.all_finite(array) is True
    for size in (*range(1, 36), 131):
        for place in range(size):
            for bad in (math.nan, math.inf, -math.inf):
                array = gradient(size, dtype)
                array[place] = bad
                assert module.all_finite(array) is False


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_neither_overflows_nor_underflows(module, dtype, level):
    """Entries whose squares leave the type's range, up to its very ends."""
    info = np.finfo(dtype)
    for value in (float(info.max) / 8, float(info.tiny), float(info.smallest_subnormal)):
        grads = np.full(9, value, dtype)
        assert module.global_norm(grads) == pytest.approx(3 * value, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_gradient_is_scaled_to_the_threshold(dtype, level):
    grads = gradient(50, dtype, scale=float(np.finfo(dtype).max) / 100)
    direction = grads / np.abs(grads).max()
    kernels.clip_norm(grads, 2.0)
    assert kernels.global_norm(grads) == pytest.approx(2.0, rel=1e-5)
    np.testing.assert_allclose(grads / np.abs(grads).max(), direction, rtol=1e-5)


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 7, 16, 36])
def test_clip_norm_leaves_what_is_not_finite(module, bad, place, level):
    grads = gradient(37, np.float32)
    grads[place] = bad
    before = grads.copy()
    norm = module.clip_norm(grads, 0.1)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    np.testing.assert_array_equal(grads, before)


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("place", [0, 7, 16, 36])
def test_clip_value_does_not_hide_nan(module, place, level):
    grads = gradient(37, np.float64)
    grads[place] = math.nan
    assert math.isnan(module.clip_value(grads, 0.1))
    assert np.flatnonzero(np.isnan(grads)).tolist() == [place]
    assert np.nanmax(np.abs(grads)) == 0.1


@pytest.mark.parametrize("module", [kernels, reference])
def test_empty_gradient_has_norm_zero(module):
    empty = np.empty(0, np.float32)
    assert module.clip_norm(empty, 1.0) == 0
    assert module.clip_value(empty, 1.0) == 0


@given(st.integers(1, 70), st.floats(1e-3, 1e3), st.sampled_from(DTYPES))
def test_clip_norm_is_the_projection_on_the_ball(size, threshold, dtype):
    """Inside, nothing changes; outside, the direction stays and the norm becomes the threshold."""
    grads = gradient(size, dtype, seed=size)
    before = grads.copy()
    clip = ClipNorm(threshold)
    norm = clip(grads)
    assert norm == pytest.approx(np.linalg.norm(before.astype(np.float64)), rel=1e-6)
    if norm <= threshold:
        np.testing.assert_array_equal(grads, before)
    else:
        np.testing.assert_allclose(grads * (norm / threshold), before, rtol=1e-5)
    assert (clip.calls, clip.clipped) == (1, int(norm > threshold))


@given(st.integers(1, 70), st.floats(1e-3, 3.0))
def test_clip_value_is_the_projection_on_the_cube(size, threshold):
    grads = gradient(size, np.float64, seed=size)
    before = grads.copy()
    clip = ClipValue(threshold)
    assert clip(grads) == np.abs(before).max()
    np.testing.assert_array_equal(grads, np.clip(before, -threshold, threshold))
    assert clip.clipped == int(np.abs(before).max() > threshold)


@pytest.mark.parametrize("clipper", [ClipNorm, ClipValue, ClipParameter, ClipStep])
@pytest.mark.parametrize("threshold", [0, -1.0, math.nan])
def test_threshold_must_be_above_zero(clipper, threshold):
    with pytest.raises(ValueError, match="threshold is"):
        clipper(threshold)


@pytest.mark.parametrize("clipper", [ClipNorm(1.0), ClipValue(1.0)])
@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ([1.0], TypeError, "grads is a list"),
        (np.ones(3, np.int64), TypeError, "grads is int64"),
        (np.ones((2, 3)), ValueError, r"shape \(2, 3\)"),
        (np.ones(6)[::2], ValueError, "not contiguous"),
    ],
)
def test_what_is_no_flat_gradient_is_refused(clipper, grads, error, message):
    with pytest.raises(error, match=message):
        clipper(grads)


def test_clip_step_reaches_recurrent_layers_only():
    net = Network(LSTM(2, 3), Dense(3, 2))
    ClipStep(0.5).apply(net.layers)
    assert net.layers[0].clip_step == 0.5
    with pytest.raises(ValueError, match="no recurrent layer"):
        ClipStep(0.5).apply((net.layers[1],))


def test_counts_survive_a_checkpoint():
    clip = ClipNorm(1.0)
    clip(np.full(4, 3.0))
    other = ClipNorm(1.0)
    other.load_state(clip.state())
    assert (other.calls, other.clipped, other.mean_factor) == (1, 1, 1 / 6)


@given(st.integers(0, 99), st.floats(1e-3, 1e2))
def test_each_parameter_is_clipped_by_itself(seed, threshold):
    net = Network(LSTM(2, 3), Dense(3, 2), dtype="float64")
    net.grads.flat[:] = np.random.default_rng(seed).standard_normal(net.grads.flat.size)
    before = {name: view.copy() for name, view in net.grads.items()}
    clip = ClipParameter(threshold)
    largest = clip(net.grads)
    norms = {name: np.linalg.norm(view) for name, view in before.items()}
    assert largest == pytest.approx(max(norms.values()))
    for name, view in net.grads.items():
        np.testing.assert_allclose(view, before[name] * min(1, threshold / norms[name]), rtol=1e-12)
    factors = [threshold / norm for norm in norms.values() if norm > threshold]
    assert (clip.calls, clip.clipped) == (1, len(factors))
    assert clip.mean_factor == pytest.approx(np.mean(factors) if factors else 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_parameter_that_is_not_finite_stays_and_is_told(bad):
    net = Network(LSTM(2, 3), Dense(3, 2))
    net.grads.flat[:] = 3
    net.grads["0.weight_hh"][1, 1] = bad
    clip = ClipParameter(1.0)
    largest = clip(net.grads)
    assert math.isnan(largest) if math.isnan(bad) else largest == bad
    assert clip.clipped == len(net.grads) - 1
    np.testing.assert_array_equal(net.grads["0.weight_hh"][0], 3)
    assert np.linalg.norm(net.grads["1.bias"]) == pytest.approx(1)


@pytest.mark.parametrize(("clip", "acts"), [(ClipNorm(1.0), 0), (ClipValue(1.0), 1)])
def test_what_changes_nothing_is_not_counted(clip, acts):
    assert clip(grads := np.array([math.inf, 0.5])) == math.inf
    assert clip.clipped == acts == (grads[0] == 1)
    assert clip.mean_factor == 1 - acts


def test_gradients_by_name_are_wanted():
    with pytest.raises(TypeError, match=r"grads is a ndarray, but net\.grads"):
        ClipParameter(1.0)(np.ones(3))


@pytest.mark.parametrize(("clip", "factor"), [(ClipNorm(1.0), 0.25), (ClipValue(1.0), 0.5)])
def test_how_strongly_it_acted_is_the_mean_over_the_times_it_did(clip, factor):
    assert clip.mean_factor == 1
    for value in (2.0, 0.1, 2.0, 0.2):
        clip(np.full(4, value))
    assert (clip.calls, clip.clipped) == (4, 2)
    assert clip.mean_factor == pytest.approx(factor)


def test_the_trainer_clips_parameters_by_name():
    net = Network(LSTM(2, 3), Dense(3, 2))
    rng = np.random.default_rng(0)
    x, target = (rng.standard_normal((5, 4, 2)).astype(np.float32) for _ in "xt")
    clip = ClipParameter(1e-3)
    batches = [type("Batch", (), {"x": x, "target": target})]
    Trainer(net, SquaredError(), SGD(0.1), clip=clip, progress="off").fit(batches, steps=2)
    assert clip.calls == 2
    assert clip.clipped == 2 * len(net.params)
    assert all(np.linalg.norm(view) <= 1e-3 * (1 + 1e-5) for view in net.grads.values())


@pytest.mark.parametrize("clipper", [ClipNorm, ClipValue, ClipParameter, ClipStep])
def test_a_threshold_that_is_no_number_is_named(clipper):
    with pytest.raises(TypeError, match="threshold is 'a', but a number"):
        clipper("a")
