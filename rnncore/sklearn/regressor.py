"""The regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array

from ..data import Ragged
from ..losses import SquaredError
from .base import RNN, Array, check_rows, moments


class RNNRegressor(RegressorMixin, RNN):  # type: ignore[misc]
    """One number or several for each whole sequence, by a recurrent network: also the next steps of a series.

    As `RNNClassifier`, with the squared error; targets are scaled to mean 0 and variance 1 inside. To
    forecast, cut a series into windows and give the steps behind each as its targets, ``(N, horizon)``.

    Parameters
    ----------
    cell, hidden_size, num_layers, bidirectional, pooling, dropout, learning_rate, weight_decay, clip, \
batch_size, max_iter, standardize, early_stopping, validation_fraction, n_iter_no_change, random_state, \
verbose
        As in `RNNClassifier`.
    """

    _loss = SquaredError

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNNRegressor:
        """Train a new network.

        Parameters
        ----------
        X
            Sequences, as the module says.
        y
            Numbers, ``(N,)`` or ``(N, K)``.
        sample_weight
            What each sequence counts, ``(N,)``, not negative; None where all count alike.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as wanted.
        """
        ragged, y, weights = self._arguments(X, y, sample_weight, reset=True)
        self._start_targets(ragged, y)
        self._train(ragged, self._scaled(y), weights, self.max_iter)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNNRegressor:
        """One pass over more data; the first call's X and y set what both are scaled to.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as wanted.
        """
        first = not hasattr(self, "network_")
        ragged, y, weights = self._arguments(X, y, sample_weight, reset=first)
        if first:
            self._start_targets(ragged, y)
        elif y.shape[1:] != self._target_shape:
            raise ValueError(
                f"y has shape {y.shape}, but {('N', *self._target_shape)} is wanted, as in the first call"
            )
        self._train(ragged, self._scaled(y), weights, 1)
        return self

    def _arguments(
        self, X: Any, y: Any, sample_weight: Any, reset: bool
    ) -> tuple[Ragged, Array, Array | None]:
        if y is None:
            raise ValueError(
                f"requires y to be passed, but the target y is None: {type(self).__name__} learns from it"
            )
        ragged = self._sequences(X, reset)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}, but (N,) or (N, K) is wanted")
        check_rows(ragged, y)
        return ragged, y, self._weights(sample_weight, len(ragged))

    def _start_targets(self, ragged: Ragged, y: Array) -> None:
        self._target_shape = y.shape[1:]
        self.target_mean_, spread = moments(y.reshape(len(y), -1))
        self.target_scale_ = np.where(spread > 0, spread, 1)
        self._start(ragged, len(self.target_scale_))

    def _scaled(self, y: Array) -> Array:
        scaled: Array = (y.reshape(len(y), -1) - self.target_mean_) / self.target_scale_
        return scaled

    def predict(self, X: Any) -> Array:
        """A number for each sequence, ``(N,)``, or several, ``(N, K)``, as in ``fit``."""
        found = self._outputs(X) * self.target_scale_ + self.target_mean_
        return np.asarray(found.reshape(len(found), *self._target_shape))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
