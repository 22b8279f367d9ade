"""What the estimators share: the network, sequences of every form, training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from ..cells.choosing import choose_cell
from ..checks import check_flag, check_number, check_positive_integer, check_real
from ..clipping import ClipNorm
from ..data import Ragged, RaggedSource
from ..layers import Bidirectional, Dense, Dropout, LastStep, Layer, MeanPool
from ..layers.masks import check_probability
from ..network import Network
from ..optimizers import AdamW
from ..trainer import Trainer, predict

Array = NDArray[Any]

POOLING: dict[str, type[Layer]] = {"last": LastStep, "mean": MeanPool}


class RNN(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: the network, sequences of every form, training."""

    _loss: Any

    def __init__(
        self,
        cell: Any = "gru",
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
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip = clip
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose

    def _check_options(self) -> None:
        """Raise TypeError or ValueError unless the constructor's arguments are as wanted."""
        choose_cell(self.cell)
        if self.pooling not in POOLING:
            raise ValueError(f"pooling is {self.pooling!r}; expected one of {', '.join(POOLING)}")
        for name in ("hidden_size", "num_layers", "batch_size", "max_iter", "n_iter_no_change"):
            check_positive_integer(name, getattr(self, name))
        for name in ("bidirectional", "standardize", "early_stopping", "verbose"):
            check_flag(name, getattr(self, name))
        check_probability("dropout", self.dropout)
        for name in ("learning_rate", "weight_decay"):
            if check_number(name, getattr(self, name)) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but at least 0 is wanted")
        if self.clip is not None and not check_real("clip", self.clip) > 0:
            raise ValueError(f"clip is {self.clip}, but a number above 0 or None is wanted")
        if not 0 < check_number("validation_fraction", self.validation_fraction) < 1:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction}, but a share above 0 and below 1 is "
                "wanted"
            )

    def _sequences(self, X: Any, reset: bool) -> Ragged:
        """X as sequences of numbers; ``reset`` where it sets what later ones must look like."""
        if _is_list_of_sequences(X):
            ragged = Ragged.from_list(list(X), "X")
            flat = ragged.flat if ragged.flat.ndim == 2 else ragged.flat[:, None]
            ragged = Ragged(check_array(flat, dtype=np.float32, input_name="X"), ragged.offsets)
        elif _axes(X) >= 3:
            array = check_array(X, dtype=np.float32, allow_nd=True, input_name="X")
            if array.ndim != 3 or not array.shape[2]:
                raise ValueError(
                    f"Found array with dim {array.ndim}, shape {array.shape}, while (N, T, F) is expected"
                )
            ragged = _even(array)
        else:
            array = validate_data(self, X, reset=reset, dtype=np.float32)
            if reset:
                self.input_size_ = 1
            elif self.input_size_ != 1:
                raise ValueError(
                    f"X is 2-D, sequences of numbers, but {type(self).__name__} was fitted on sequences "
                    f"of {self.input_size_} features"
                )
            return _even(array[:, :, None])
        if reset:
            self.input_size_ = self.n_features_in_ = int(ragged.flat.shape[1])
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        elif ragged.features != self.input_size_:
            raise ValueError(
                f"X has {ragged.features} features, but {type(self).__name__} is expecting "
                f"{self.input_size_} features as input"
            )
        return ragged

    def _start(self, ragged: Ragged, outputs: int) -> None:
        """A new network, and what belongs to it."""
        self._check_options()
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=2)
        self._seed = int(seeds[1])
        self.mean_, self.scale_ = (
            np.zeros(self.input_size_, np.float32),
            np.ones(self.input_size_, np.float32),
        )
        if self.standardize:
            self.mean_, spread = moments(ragged.flat)
            self.scale_ = np.where(spread > 0, spread, 1).astype(np.float32)
        layers: list[Layer] = []
        make, size = choose_cell(self.cell), self.input_size_
        for _ in range(self.num_layers):
            if layers and self.dropout:
                layers.append(Dropout(self.dropout))
            layer = make(size, self.hidden_size)
            layers.append(Bidirectional(layer) if self.bidirectional else layer)
            size = layers[-1].features()[1] or size
        last = {"bidirectional": self.bidirectional} if self.pooling == "last" else {}
        layers.append(POOLING[self.pooling](**last))
        if self.dropout:
            layers.append(Dropout(self.dropout))
        # In evaluation but while it is trained, so that several threads may predict at once.
        self.network_ = Network(*layers, Dense(size, outputs), seed=int(seeds[0])).eval()
        self._optimizer = AdamW(self.learning_rate, weight_decay=self.weight_decay)
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []

    def _source(
        self, ragged: Ragged, targets: Array | None, weights: Array | None, seed: int = 0
    ) -> RaggedSource:
        flat = (ragged.flat - self.mean_) / self.scale_
        return RaggedSource(
            Ragged(flat, ragged.offsets), targets, self.batch_size, seed=seed, shuffle=targets is not None,
            weights=weights,
        )  # fmt: skip

    def _train(
        self, ragged: Ragged, targets: Array, weights: Array | None, epochs: int, classes: Array | None = None
    ) -> None:
        """Go on training the network; rows of weight 0 are left out."""
        if weights is not None:
            if not (weights > 0).any():
                raise ValueError("sample_weight has no weight above 0: there is nothing to learn from")
            rows = np.flatnonzero(weights)
            ragged, targets, weights = ragged.take(rows), targets[rows], weights[rows]
            classes = None if classes is None else classes[rows]
        validation = None
        if self.early_stopping and epochs > 1:
            kept, held = _split(len(ragged), self.validation_fraction, self._seed, classes)
            of = (lambda rows: None) if weights is None else weights.__getitem__
            validation = self._source(ragged.take(held), targets[held], of(held))
            ragged, targets, weights = ragged.take(kept), targets[kept], of(kept)
        # Each partial fit draws an order of its own.
        source = self._source(ragged, targets, weights, seed=(self._seed + self.n_iter_) % 2**31)
        trainer = Trainer(
            self.network_, self._loss(), self._optimizer,
            clip=None if self.clip is None else ClipNorm(self.clip),
            progress="auto" if self.verbose else "off",
        )  # fmt: skip
        patience = None if validation is None else self.n_iter_no_change
        history = trainer.fit(source, epochs=epochs, validation=validation, patience=patience)
        if history.stopped == "interrupted":
            raise KeyboardInterrupt
        losses = history.steps.column("loss").reshape(-1, len(source)).mean(axis=1)
        self.n_iter_ += len(losses)
        self.loss_curve_ += losses.tolist()
        self.validation_loss_curve_ = (
            None if validation is None else history.validations.column("loss").tolist()
        )

    def _outputs(self, X: Any) -> Array:
        """What the network says of each sequence, (N, O)."""
        check_is_fitted(self)
        ragged = self._sequences(X, reset=False)
        found = predict(self.network_, self._source(ragged, None, None))
        assert isinstance(found, np.ndarray)  # the network pools
        return found

    def _weights(self, sample_weight: Any, rows: int) -> Array | None:
        if sample_weight is None:
            return None
        placeholder = np.empty((rows, 1))
        weights: Array = _check_sample_weight(
            sample_weight, placeholder, dtype=np.float64, ensure_non_negative=True
        )
        return weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _is_list_of_sequences(X: Any) -> bool:
    """Whether X is a list or column of arrays, or of lists of different lengths, and no table as lists."""
    if getattr(X, "ndim", 0) == 1 and getattr(X.dtype, "kind", "") == "O":  # an array, or a Series of pandas
        return all(np.ndim(part) > 0 for part in X)
    return (
        isinstance(X, (list, tuple))
        and len(X) > 0
        and (not _axes(X) or all(isinstance(part, np.ndarray) and part.ndim in (1, 2) for part in X))
    )


def _axes(X: Any) -> int:
    """Axes of an array, or of lists in lists; 0 where it is neither, or ragged."""
    if isinstance(X, (list, tuple)):
        try:
            return np.ndim(X)
        except ValueError:
            return 0
    return getattr(X, "ndim", 0)


def _even(array: Array) -> Ragged:
    """Sequences (N, T, F) of one length."""
    rows, steps, features = array.shape
    if not steps:
        raise ValueError(
            f"Found array with 0 step(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    return Ragged(np.ascontiguousarray(array).reshape(-1, features), np.arange(rows + 1) * steps)


def moments(flat: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, in double, as the type of the columns."""
    mean, spread = flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
    return mean.astype(flat.dtype), spread.astype(flat.dtype)


def check_rows(ragged: Ragged, y: Array) -> None:
    """Raise ValueError unless there is a target for each sequence."""
    if len(y) != len(ragged):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {[len(ragged), len(y)]}"
        )


def _split(n: int, share: float, seed: int, classes: Array | None) -> tuple[Array, Array]:
    """Rows to train on and rows to hold back, in order; of each class its share where every class has two."""
    rows = np.arange(n)
    held = max(1, round(share * n))
    if n < 2:
        raise ValueError(f"early_stopping holds sequences back, but there is {n} in all")
    counts = np.bincount(classes) if classes is not None else np.zeros(1, int)
    present = counts[counts > 0]
    alike = len(present) > 0 and present.min() >= 2 and min(held, n - held) >= len(present)
    kept, apart = train_test_split(
        rows, test_size=held, random_state=seed, stratify=classes if alike else None
    )
    return np.sort(kept), np.sort(apart)
