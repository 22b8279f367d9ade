"""What every problem is: sequences drawn from a seed, a measure of error, and what that is worth.

A problem is a data source: training reads ``batches(epoch, start)`` from it, and every batch is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_dtype, check_positive_integer, check_seed
from ..data.batch import Batch
from ..layers import Dense, Embedding, LastStep, Layer
from ..losses import CrossEntropy, Loss, SquaredError
from ..network import Network

Array = NDArray[Any]
Range = int | tuple[int, int]

EMBEDDING = 16  # features of a word where x holds ids
TEST_ROWS = 256  # sequences that are tested side by side
PARTS = ("test", "validation")
# What a problem with a seed so much higher would be tested on is for looks while this one is trained on.
VALIDATION = 500_000


class Problem:
    """Sequences of ``length`` steps with a known answer.

    Parameters
    ----------
    length
        Steps T, or (shortest, longest): every sequence then has its own number of steps, drawn uniformly,
        both ends included, and what is behind it is padding.
    batch_size, batches
        Sequences side by side B, and batches of an epoch, each at least 1.
    seed
        Batch number n of epoch e is drawn from (seed, e, n) alone, sequences for test and validation from
        streams of their own.
    dtype
        Of x and of numbers in the target: float32 or float64.

    Attributes
    ----------
    inputs : int
        Features of x, or how many ids there are.
    outputs : int
        Features that the network must give, numbers or logits.
    loss : Loss
        To train with.
    threshold : float
        The problem counts as solved where the error is below.
    """

    #: fewest steps that a sequence can have
    shortest: ClassVar[int] = 1
    #: whether the answer is wanted after the last step alone
    pools: ClassVar[bool] = True
    #: whether x holds ids (T, B) in place of numbers (T, B, F)
    takes_ids: ClassVar[bool] = False
    #: what ``error`` measures
    measure: str

    inputs: int
    outputs: int
    threshold: float
    loss: Loss

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.length = _check_length(length, self.shortest)
        self.batch_size = check_positive_integer("batch_size", batch_size)
        self._batches = check_positive_integer("batches", batches)
        self.seed = check_seed(seed)
        self.dtype = check_dtype(dtype)

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        """So many sequences with their answers."""
        raise NotImplementedError

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        """How wrong outputs are, in the problem's own measure; y and target as the loss takes them."""
        raise NotImplementedError

    def naive(self) -> dict[str, float]:
        """Errors that need no memory: chance, and the best that can be done without the answer's source."""
        raise NotImplementedError

    def solved(self, y: Array, target: Array, lengths: Any = None) -> bool:
        """Whether these outputs are right often enough for the problem to count as solved."""
        return self.error(y, target, lengths) < self.threshold

    def __len__(self) -> int:
        return self._batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``start`` on."""
        for number in range(start, self._batches):
            yield self.draw(np.random.default_rng((self.seed, 0, epoch, number)), self.batch_size)

    def test(self, sequences: int) -> Iterator[Batch]:
        """Sequences that training does not see, the same at every call, at most 256 in a batch."""
        yield from self._hold("test", check_positive_integer("sequences", sequences))

    def validation(self, sequences: int) -> Iterator[Batch]:
        """The same for looks while training goes on: sequences of neither training nor test."""
        yield from self._hold("validation", check_positive_integer("sequences", sequences))

    def evaluate(self, net: Network, sequences: int = 2560, part: str = "test") -> float:
        """A network's error on so many sequences of ``"test"`` or ``"validation"``, dropout off."""
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, but one of {', '.join(PARTS)} is wanted")
        total, count, training = 0.0, 0, net.training
        net.eval()
        try:
            for batch in self._hold(part, check_positive_integer("sequences", sequences)):
                rows = batch.x.shape[1]
                y = net.forward(batch.x, None, batch.lengths, record=False)[0]
                total, count = total + self.error(y, batch.target, batch.lengths) * rows, count + rows
        finally:
            net.train(training)
        return total / count

    def network(
        self, cell: Callable[[int], Layer | tuple[Layer, ...]], seed: int = 0, dtype: DTypeLike | None = None
    ) -> Network:
        """A network for this problem around recurrent layers.

        Parameters
        ----------
        cell
            Makes the layer, or a tuple of layers, from the number of input features:
            ``lambda inputs: LSTM(inputs, 64)``.
        seed, dtype
            Of the network; None is the problem's own dtype.

        Returns
        -------
        Network
            With an embedding in front where x holds ids, ``LastStep`` behind where the answer is wanted after
            the last step alone, and a dense layer.
        """
        front = (Embedding(self.inputs, EMBEDDING),) if self.takes_ids else ()
        features = EMBEDDING if self.takes_ids else self.inputs
        made = cell(features)
        layers = made if isinstance(made, tuple) else (made,)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"cell made a {type(layer).__name__}, but a layer or several are wanted")
        units = next((out for layer in reversed(layers) if (out := layer.features()[1])), features)
        back = (LastStep(),) if self.pools else ()
        head = Dense(units, self.outputs)
        return Network(*front, *layers, *back, head, seed=seed, dtype=self.dtype if dtype is None else dtype)

    def _hold(self, part: str, sequences: int) -> Iterator[Batch]:
        """Sequences of a part that is kept from training."""
        seed = self.seed + (VALIDATION if part == "validation" else 0)
        for number in range(-(-sequences // TEST_ROWS)):
            rng = np.random.default_rng((seed, 1, number))
            yield self.draw(rng, min(TEST_ROWS, sequences - number * TEST_ROWS))

    def _draw_lengths(self, rng: np.random.Generator, rows: int) -> tuple[int, NDArray[np.intp]]:
        """T of a batch, and the steps of its rows (B,)."""
        low, high = self.length
        lengths = rng.integers(low, high, rows, dtype=np.intp, endpoint=True)
        return int(lengths.max()), lengths

    def __repr__(self) -> str:
        low, high = self.length
        return f"{type(self).__name__}({low if low == high else (low, high)})"


class Regression(Problem):
    """Problems whose answer is one number: the error is the share of answers further off than ``tolerance``,
    or, where that is None, the mean squared error."""

    measure = "mean squared error"
    outputs = 1
    tolerance: float | None = None
    loss: Loss = SquaredError()

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        off = np.abs(np.asarray(y, np.float64) - target)
        return float(np.mean(off > self.tolerance) if self.tolerance is not None else np.mean(off * off))


class Classification(Problem):
    """Problems whose answer is one of several classes: the error is the share of wrong answers."""

    measure = "share wrong"
    loss: Loss = CrossEntropy()

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        return float(np.mean(y.argmax(axis=-1) != target))


def one_hot(ids: Array, classes: int, dtype: np.dtype[Any]) -> Array:
    """``ids (...)`` as rows with a single 1: ``(..., classes)``."""
    x = np.zeros((*ids.shape, classes), dtype)
    np.put_along_axis(x, ids[..., None], 1, axis=-1)
    return x


def ragged(lengths: NDArray[np.intp], steps: int) -> NDArray[np.intp] | None:
    """Lengths as a batch has them: None where all rows have all steps."""
    return None if int(lengths.min()) == steps else lengths


def log_softmax(y: Array) -> NDArray[np.float64]:
    """Logarithms of the probabilities that the logits y stand for."""
    shifted = np.asarray(y, np.float64) - y.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _check_length(length: Any, shortest: int) -> tuple[int, int]:
    ends = length if isinstance(length, tuple) else (length, length)
    if len(ends) != 2:
        raise ValueError(f"length is {length!r}, but a number of steps or (shortest, longest) is wanted")
    low, high = (check_positive_integer("length", end) for end in ends)
    if not shortest <= low <= high:
        raise ValueError(f"length is {length!r}, but at least {shortest} steps, shortest first, are wanted")
    return low, high
