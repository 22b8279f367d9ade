"""The estimators: scikit-learn's own checks, sequences of every form, weights, seeds, early stopping."""

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from rnncore.sklearn import RNNClassifier, RNNRegressor

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "digits.py"
# What does not hold, and why.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "minibatches of repeated rows are other minibatches",
}


@parametrize_with_checks(
    [RNNClassifier(hidden_size=16, max_iter=40), RNNRegressor(hidden_size=16, max_iter=40)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def ragged(n=60, seed=0):
    """Sequences of two features, whose class is the sign of the first feature's sum."""
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal((rng.integers(2, 8), 2)) + rng.choice([-1, 1]) for _ in range(n)]
    return xs, np.array(["low", "high"])[[int(x[:, 0].sum() > 0) for x in xs]]


def small(kind=RNNClassifier, **changes):
    return kind(**{"hidden_size": 8, "max_iter": 8, "random_state": 1} | changes)


@pytest.mark.parametrize("options", [
    {},
    {"cell": "lstm", "bidirectional": True, "num_layers": 2, "dropout": 0.2},
    {"cell": "elman", "pooling": "mean"},
    {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 20},
    {"class_weight": "balanced", "clip": None},
])  # fmt: skip
def test_a_simple_task_is_learned_and_a_pickle_is_the_same(options):
    xs, ys = ragged(120)
    model = small(**options).fit(xs, ys)
    assert model.score(xs, ys) > 0.9
    probabilities = model.predict_proba(xs)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(xs), probabilities)
    again = clone(model).fit(xs, ys)
    np.testing.assert_array_equal(again.predict_proba(xs), probabilities)
    assert len(model.loss_curve_) == model.n_iter_


def test_a_pickled_model_goes_on_as_the_model_would():
    xs, ys = ragged()
    model = small().partial_fit(xs, ys, classes=["low", "high"])
    copied = pickle.loads(pickle.dumps(model))
    for each in (model, copied):
        each.partial_fit(xs, ys)
    np.testing.assert_array_equal(copied.network_.params.flat, model.network_.params.flat)
    assert np.shares_memory(copied.network_.params["0.weight_hh"], copied.network_.params.flat)
    assert model.n_iter_ == 2


def test_the_three_forms_of_equal_sequences_are_one():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((40, 6))
    y = X[:, 0] + X[:, 5]
    wanted = small(RNNRegressor).fit(X, y).predict(X)
    for form in (X[:, :, None], list(X), list(X[:, :, None])):
        np.testing.assert_array_equal(small(RNNRegressor).fit(form, y).predict(form), wanted)


def test_several_targets_and_their_scale():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((100, 5, 2))
    y = np.stack([1e4 + 100 * X[:, -1, 0], 1e-3 * X[:, -1, 1]], axis=1)
    model = small(RNNRegressor, max_iter=60, learning_rate=0.01).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.predict(X[:7]).shape == (7, 2)
    assert small(RNNRegressor).fit(X, y[:, :1]).predict(X).shape == (100, 1)


def test_weight_0_is_removal_and_weights_shift_the_answer():
    xs, ys = ragged(40)
    weights = np.ones(40)
    weights[::4] = 0
    kept = np.flatnonzero(weights)
    left = small().fit(xs, ys, weights).network_.params.flat
    taken = small(standardize=False).fit([xs[i] for i in kept], ys[kept]).network_.params.flat
    weighted = small(standardize=False).fit(xs, ys, weights).network_.params.flat
    np.testing.assert_allclose(weighted, taken, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(left, small().fit(xs, ys).network_.params.flat)
    heavy = small(class_weight={"low": 100, "high": 0.01}).fit(xs, ys)
    assert (heavy.predict(xs) == "low").mean() > (ys == "low").mean()


def test_pipelines_and_searches_in_processes():
    X = np.random.default_rng(4).standard_normal((40, 5))
    y = (X.sum(axis=1) > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), small(max_iter=2))
    search = GridSearchCV(pipeline, {"rnnclassifier__hidden_size": [3, 5]}, n_jobs=2, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (40,)


def fit(**changes):
    xs, ys = ragged(12)
    return lambda: small(**changes).fit(xs, ys)


def predict(X):
    xs, ys = ragged(12)
    return lambda: small(max_iter=1).fit(xs, ys).predict(X)


@pytest.mark.parametrize(("call", "error", "message"), [
    (fit(cell="rnn"), ValueError, "cell is 'rnn'; expected the class of a cell or one of .*LSTM.*MGU"),
    (fit(pooling="max"), ValueError, "pooling is 'max'"),
    (fit(hidden_size=0), ValueError, "hidden_size is 0"),
    (fit(dropout=1.5), ValueError, "is 1.5"),
    (fit(learning_rate=-1), ValueError, "learning_rate is -1"),
    (fit(validation_fraction=1), ValueError, "validation_fraction is 1"),
    (lambda: small().fit([np.ones((2, 3)), np.ones((2, 2))], [0, 1]), ValueError, r"X\[1\] has shape"),
    (lambda: small().fit([np.ones((0, 3))], [0]), ValueError, r"X\[0\] has shape \(0, 3\)"),
    (lambda: small().fit([np.full((1, 3), np.nan)], [0]), ValueError, "contains NaN"),
    (lambda: small().fit(np.ones((4, 3, 2)), [0, 1]), ValueError, "inconsistent"),
    (lambda: small().fit(np.ones((4, 3, 2, 2)), [0] * 4), ValueError, "dim 4"),
    (lambda: small().fit(np.ones((2, 3)), [0, 1], sample_weight=[0, 0]), ValueError, "at least one non-zero"),
    (lambda: small().partial_fit(np.ones((2, 3)), [0, 1]), ValueError, "classes are None"),
    (lambda: small().partial_fit(np.ones((2, 3)), [0, 5], classes=[0, 1]), ValueError, "y has the label"),
    (predict([np.ones((2, 3))]), ValueError, "X has 3 features, but RNNClassifier is expecting 2"),
    (predict(np.ones((2, 2))), ValueError, "X is 2-D"),
])  # fmt: skip
def test_wrong_arguments_get_one_clear_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_scikit_learn_the_error_names_the_extra():
    code = "import sys; sys.modules['sklearn'] = None; import rnncore.sklearn"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "pip install rnncore[sklearn]" in found.stderr


@pytest.mark.skipif(not EXAMPLE.exists(), reason="no examples beside the tests")
def test_the_digits_example_learns():
    spec = importlib.util.spec_from_file_location("digits", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(max_iter=6) > 0.7


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("bidirectional", 2), ("standardize", "no"), ("early_stopping", None), ("verbose", "x")),
        *(("dropout", 1.0), ("learning_rate", -1), ("weight_decay", "a"), ("clip", 0)),
        ("validation_fraction", 1.5),
    ],
)
def test_a_wrong_argument_is_named_as_the_user_knows_it(argument, value):
    model = RNNClassifier(**{argument: value})
    with pytest.raises((TypeError, ValueError), match=f"^{argument} is "):
        model.fit(np.zeros((4, 3)), [0, 1, 0, 1])


def test_lists_of_different_lengths_are_sequences():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 1)).astype(np.float32) for n in (2, 5, 3, 5)]
    lists = [[row.tolist() for row in array] for array in arrays]
    objects = np.empty(4, object)
    objects[:] = arrays
    model = RNNRegressor(hidden_size=4, max_iter=1, random_state=0).fit(arrays, np.arange(4.0))

    class Series:  # what a pandas Series of arrays has of an array; its labels need not be places
        ndim, dtype = 1, objects.dtype

        def __len__(self):
            return 4

        def __iter__(self):
            return iter(arrays)

    for same in (lists, objects, Series(), [array[:, 0].tolist() for array in arrays]):
        assert np.array_equal(model.predict(same), model.predict(arrays))
