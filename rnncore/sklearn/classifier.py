"""The classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..data import Ragged
from ..losses import CrossEntropy
from .base import RNN, Array, check_rows


class RNNClassifier(ClassifierMixin, RNN):  # type: ignore[misc]
    """Labels whole sequences by a recurrent network.

    Stacked recurrent layers, pooled over time, a dense layer and the softmax; trained by AdamW on minibatches
    of sequences of similar length. The same ``random_state`` gives the same bits.

    Parameters
    ----------
    cell
        ``"gru"``, ``"lstm"``, ``"elman"`` or another name of `rnncore.cells.GALLERY`, such as ``"MGU"``; the
        class of a cell, also one of your own; or a function of ``input_size`` and ``hidden_size`` that makes
        one, ``functools.partial(LEM, dt=0.5)``. A function that is to be pickled is not a lambda.
    hidden_size, num_layers
        Units of each recurrent layer, and how many layers there are.
    bidirectional
        Whether each layer reads both ways.
    pooling
        ``"last"``: each sequence's state at its last step; ``"mean"``: the mean over its steps.
    dropout
        In [0, 1): of what enters each layer but the first, in training.
    learning_rate, weight_decay
        Of AdamW.
    clip
        Largest norm of the gradient; None for no limit.
    batch_size
        Sequences in a minibatch, at most.
    max_iter
        Passes over the data.
    standardize
        Whether each feature is shifted and scaled to mean 0 and variance 1 over all steps of the training
        data. In a 2-D X all columns are steps of one feature.
    early_stopping
        Whether to hold ``validation_fraction`` of the sequences back, stop when their loss has not fallen for
        ``n_iter_no_change`` passes, and keep the best network.
    random_state
        An int, a RandomState or None: of weights, dropout, order and what is held back.
    verbose
        Whether to show progress, on standard error.
    class_weight
        Classifier only: what each class counts: a dictionary, ``"balanced"`` or None.

    Attributes
    ----------
    network_ : Network
        The trained network; inputs are ``(x - mean_) / scale_``.
    classes_ : ndarray
        Classifier only: labels in the order of ``predict_proba``'s columns.
    n_iter_ : int
        Passes made.
    loss_curve_, validation_loss_curve_ : list of float
        Mean loss of each pass; of each validation, or None.
    n_features_in_ : int
        Columns of a 2-D X, otherwise features of a step.
    """

    _loss = CrossEntropy

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        clip: float | None = 1.0,
        batch_size: int = 32,
        max_iter: int = 60,
        standardize: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        verbose: bool = False,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            cell, hidden_size, num_layers, bidirectional, pooling, dropout, learning_rate, weight_decay, clip,
            batch_size, max_iter, standardize, early_stopping, validation_fraction, n_iter_no_change,
            random_state, verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNNClassifier:
        """Train a new network.

        Parameters
        ----------
        X
            Sequences, as the module says.
        y
            One label per sequence, ``(N,)``.
        sample_weight
            What each sequence counts, ``(N,)``, not negative; None where all count alike.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as wanted.
        """
        ragged, y, weights = self._arguments(X, y, sample_weight, reset=True)
        self.classes_ = np.unique(y)
        self._start(ragged, len(self.classes_))
        self._learn(ragged, y, weights, self.max_iter)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> RNNClassifier:
        """One pass over more data; the first call wants all ``classes`` that will ever come, and its X sets
        what features are scaled to.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as wanted.
        """
        first = not hasattr(self, "network_")
        ragged, y, weights = self._arguments(X, y, sample_weight, reset=first)
        if first and classes is None:
            raise ValueError("classes are None, but the first call of partial_fit wants all of them")
        if classes is not None:
            named = np.unique(np.asarray(classes))
            if not first and not np.array_equal(named, self.classes_):
                raise ValueError(f"classes are {named}, but the first call named {self.classes_}")
        if first:
            self.classes_ = named
            self._start(ragged, len(self.classes_))
        if self.class_weight == "balanced":
            raise ValueError("class_weight is 'balanced', but partial_fit cannot know what is yet to come")
        self._learn(ragged, y, weights, 1)
        return self

    def _arguments(
        self, X: Any, y: Any, sample_weight: Any, reset: bool
    ) -> tuple[Ragged, Array, Array | None]:
        if y is None:
            raise ValueError(
                f"requires y to be passed, but the target y is None: {type(self).__name__} learns from it"
            )
        ragged = self._sequences(X, reset)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_rows(ragged, y)
        return ragged, y, self._weights(sample_weight, len(ragged))

    def _learn(self, ragged: Ragged, y: Array, weights: Array | None, epochs: int) -> None:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            label, classes = unknown[:1].tolist()[0], ", ".join(map(repr, self.classes_.tolist()))
            raise ValueError(f"y has the label {label!r}, which is none of the classes {classes}")
        if self.class_weight is not None:
            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        numbers = np.searchsorted(self.classes_, y)
        self._train(ragged, numbers, weights, epochs, numbers)

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class, ``(N, C)``, in the order of ``classes_``."""
        logits = self._outputs(X).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """The likeliest label of each sequence, ``(N,)``."""
        best = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[best])
