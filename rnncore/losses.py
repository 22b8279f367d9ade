"""Losses: ``value, dy = loss(y, target, lengths=None)``.

The value is the mean over all valid steps of all rows, or over the rows where y has one row per sequence;
``dy`` is its gradient, an array of y's shape that the caller may keep.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .checks import (
    check_array,
    check_lengths,
    check_mask,
    check_number,
    check_step_weights,
    check_weights,
    is_mask,
    padding_mask,
    take_array,
)
from .kernels.memory import empty

Array = NDArray[Any]
Lengths = NDArray[np.intp] | None  # (B,)
Weights = NDArray[np.float64] | None  # (T, B), or (1, B) for the same at every step; of classes (C,)


class Loss:
    """What all losses share: checks, the mean, lengths, masks and weights.

    Parameters
    ----------
    class_weights
        What each class, or each entry of y's last axis, counts, ``(C,)``, not negative; None for 1.
    """

    #: name of the kernel in ``backend``
    kernel: ClassVar[str]
    #: whether the target has y's last axis too, or one class id in its place
    dense_target: ClassVar[bool] = True
    #: what a floating target may be, for the message
    wanted: ClassVar[str] = "finite numbers"
    backend: ModuleType = kernels

    def __init__(self, class_weights: Any = None) -> None:
        self.class_weights: Weights = None
        if class_weights is not None:
            given = np.asarray(class_weights)
            self.class_weights = _named("class_weights", check_weights, given, given.size)
            assert self.class_weights is not None
            if not self.class_weights.any():
                raise ValueError("class_weights are all 0: no class would count")

    def __call__(
        self, y: Array, target: Array, lengths: Any = None, weights: Any = None
    ) -> tuple[float, Array]:
        """The mean loss and its gradient.

        Parameters
        ----------
        y
            Output of a network, ``(T, B, C)``, or ``(B, C)`` after a pooling layer; float32 or float64.
        target
            Of y's shape and dtype; for class ids without the last axis.
        lengths
            Steps of each row, ``(B,)``; None where all rows have T. In the padding y and target are not read,
            and dy is 0. Or a mask, ``bool (T, B)``, of the steps that count. Where y is ``(B, C)`` the steps
            are gone: then only rows of no steps are left out.
        weights
            In the mean, of each row, ``(B,)``, or of each step, ``(T, B)``; not negative. The value becomes
            sum w[t, b] l[t, b] over the sum of the weights of all valid steps, and 0 if that is 0. None where
            all count alike. What has weight 0 is as good as not there.

        Returns
        -------
        value : float
            Not finite where y is not, so that a training loop can stop and say where.
        dy : ndarray, shape of y

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, shape, memory order or range than wanted.
        """
        y, target = take_array("y", y), take_array("target", target)
        if not isinstance(y, np.ndarray):
            raise TypeError(f"y is a {type(y).__name__}, but a NumPy array is wanted")
        if y.dtype not in (np.float32, np.float64):
            raise TypeError(f"y is {y.dtype}, but float32 or float64 is wanted")
        if y.ndim not in (2, 3) or not y.size:
            raise ValueError(f"y has shape {y.shape}, but (T, B, C) or (B, C), none of them 0, is wanted")
        y = check_array("y", y, y.dtype, "TBC"[-y.ndim :], y.shape)
        if self.class_weights is not None and len(self.class_weights) != y.shape[-1]:
            classes = y.shape[-1]
            raise ValueError(f"class_weights are {len(self.class_weights)}, but y has {classes} classes (C)")
        target = self._check_target(y, target)
        # To the kernels one row per sequence is one step.
        pooled = y.ndim == 2
        steps_y, steps_target = (y[None], target[None]) if pooled else (y, target)
        lengths, weights = _counted(steps_y.shape[:2], lengths, weights, pooled, "y")
        self._check_range(target, steps_target, lengths, y.shape[-1])
        weights = self._weigh(steps_target, lengths, weights)
        dy = empty(y.shape, y.dtype)
        total = self._total(steps_target, lengths, weights)
        scale = 1.0 / total if total else 1.0
        value = self._run(steps_y, steps_target, lengths, scale, dy[None] if pooled else dy, weights)
        if not math.isfinite(value):
            self._explain(target, steps_target, lengths, weights)
        return value, dy

    def count(self, target: Array, lengths: Any = None, weights: Any = None) -> float:
        """Number of valid steps that the value is a mean over, or the sum of their weights: what this batch
        weighs among others."""
        pooled = target.ndim < (3 if self.dense_target else 2)
        steps_target = target[None] if pooled else target
        lengths, weights = _counted(steps_target.shape[:2], lengths, weights, pooled, "target")
        return self._total(steps_target, lengths, self._weigh(steps_target, lengths, weights))

    def _run(
        self, y: Array, target: Array, lengths: Lengths, scale: float, dy: Array, weights: Weights
    ) -> float:
        """The kernel's value."""
        kernel = getattr(self.backend, self.kernel)
        value: float = kernel(y, target, lengths, scale, dy, weights, self.class_weights)
        return value

    def _weigh(self, target: Array, lengths: Lengths, weights: Weights) -> Weights:
        """The weights with what the targets themselves say."""
        return weights

    def _total(self, target: Array, lengths: Lengths, weights: Weights) -> float:
        """The sum of the weights of valid steps."""
        steps, rows = target.shape[:2]
        if weights is None:
            return steps * rows if lengths is None else int(lengths.sum())
        if len(weights) == 1:
            return float(weights.sum() * steps if lengths is None else weights[0] @ lengths)
        return float(weights.sum() if lengths is None else weights[~padding_mask(lengths, steps)].sum())

    def _check_target(self, y: Array, target: Any) -> Array:
        return check_array("target", target, y.dtype, "TBC"[-y.ndim :], y.shape)

    def _check_range(self, target: Array, steps_target: Array, lengths: Lengths, classes: int) -> None:
        """Raise ValueError for a target that cannot be; floating ones wait until the value is not finite."""

    def _outside(self, target: Array) -> NDArray[np.bool_]:
        """True where a floating target is not allowed."""
        return ~np.isfinite(target)

    def _explain(self, target: Array, steps_target: Array, lengths: Lengths, weights: Weights) -> None:
        """The value is not finite: raise ValueError if a target is to blame; otherwise y is."""
        outside = self._outside(steps_target)
        if lengths is not None:
            outside &= (np.arange(len(steps_target))[:, None] < lengths)[:, :, None]
        if weights is not None:
            outside &= (weights > 0)[:, :, None]
        if self.class_weights is not None:
            outside &= self.class_weights > 0
        if outside.any():
            place = np.unravel_index(int(outside.argmax()), target.shape)
            raise ValueError(f"target[{_index(place)}] is {target[place]}, but {self.wanted} are wanted")

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self._settings().items() if value is not None]
        return f"{type(self).__name__}({', '.join(given)})"

    def _settings(self) -> dict[str, Any]:
        return {"class_weights": None if self.class_weights is None else self.class_weights.tolist()}


def _named(argument: str, check: Any, value: Any, *more: Any) -> Any:
    """What a check of ``weights`` says, said of another argument."""
    try:
        return check(value, *more)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("weights", argument)) from None


def _counted(
    shape: tuple[int, ...], lengths: Any, weights: Any, pooled: bool, of: str
) -> tuple[Lengths, Weights]:
    """Lengths and weights, checked, a mask taken into the weights."""
    steps, rows = shape
    found = check_step_weights(weights, steps, rows)
    if lengths is None:
        return None, found
    if pooled:
        given: NDArray[Any] = np.asarray(lengths) != 0
        within = given.any(axis=0) if given.ndim == 2 else given
        if within.shape != (rows,) or within.all():
            return None, found
        return None, within[None].astype(float) * (1 if found is None else found)
    if is_mask(lengths):
        mask = check_mask(lengths, steps, rows, of).astype(np.float64)
        return None, mask if found is None else mask * found
    return check_lengths(lengths, steps, rows, of, least=0), found


class SquaredError(Loss):
    """Half the squared distance: mean over steps of 1/2 sum_c (y[c] - target[c])^2; gradient y - target.

    PyTorch's ``MSELoss`` leaves out the half, and divides by the number of features as well.

    Parameters
    ----------
    missing
        True: a target that is NaN is unknown, and adds nothing to value and gradient; the mean stays one over
        all steps. False: it is an error.
    class_weights
        What each feature counts, ``(C,)``.
    """

    kernel = "squared_error"

    def __init__(self, missing: bool = False, class_weights: Any = None) -> None:
        super().__init__(class_weights)
        self.missing = missing

    def _check_target(self, y: Array, target: Any) -> Array:
        checked = super()._check_target(y, target)
        if self.missing and (unknown := np.isnan(checked)).any():
            # Where y itself is the target the error is 0, whatever the kernel.
            checked = np.where(unknown, np.where(np.isfinite(y), y, 0), checked)
        return checked

    def _settings(self) -> dict[str, Any]:
        return {"missing": self.missing} | super()._settings()


class BinaryCrossEntropy(Loss):
    """Cross-entropy of independent yes-or-no outputs, each the logit of a probability (sigmoid inside).

    Mean over steps of sum_c log(1 + e^y[c]) - target[c] y[c]; target in 0..1; gradient sigmoid(y) - target.
    ``class_weights (C,)`` multiply each output's part.
    """

    kernel = "sigmoid_cross_entropy"
    wanted = "probabilities from 0 to 1"

    def _outside(self, target: Array) -> NDArray[np.bool_]:
        return ~((target >= 0) & (target <= 1))


class CrossEntropy(Loss):
    """Cross-entropy of one class among C, y being logits (softmax inside; Bridle, 1990).

    Mean over steps of log sum_c e^y[c] - y[target]; gradient softmax(y) - onehot(target). The target is an
    integer array of class ids, ``(T, B)`` or ``(B,)``. A logit of -inf excludes its class.

    Parameters
    ----------
    class_weights
        What a step counts by its target's class, ``(C,)``, not negative; the mean is over the sum of these
        weights. None for 1.
    ignored
        A target that counts for nothing, such as -1: its steps are left out of value, gradient and mean.
    label_smoothing
        s from 0 to below 1: the target gets 1 - s, and all classes s / C each (Szegedy et al., 2016). With
        class weights class c's part is multiplied by its weight, as in PyTorch.
    """

    kernel = "softmax_cross_entropy"
    dense_target = False

    def __init__(
        self, class_weights: Any = None, ignored: int | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(class_weights)
        if ignored is not None and (isinstance(ignored, bool) or not isinstance(ignored, (int, np.integer))):
            raise TypeError(f"ignored is {ignored!r}; expected a whole number, such as -1")
        self.ignored = None if ignored is None else int(ignored)
        self.label_smoothing = check_number("label_smoothing", label_smoothing)
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; expected 0 or more, and less than 1")

    def _settings(self) -> dict[str, Any]:
        smoothing = self.label_smoothing or None
        return super()._settings() | {"ignored": self.ignored, "label_smoothing": smoothing}

    def _weigh(self, target: Array, lengths: Lengths, weights: Weights) -> Weights:
        if self.ignored is None:
            return weights
        given: NDArray[np.float64] = (target != self.ignored).astype(np.float64)
        return given if weights is None else given * weights

    def _of_class(self, target: Array, weights: Weights) -> Weights:
        """The weights of steps, each times that of its target's class."""
        if self.class_weights is None:
            return weights
        # Targets in the padding, or of weight 0, may be of no class.
        own: NDArray[np.float64] = self.class_weights[target.clip(0, len(self.class_weights) - 1)]
        return own if weights is None else own * weights

    def _total(self, target: Array, lengths: Lengths, weights: Weights) -> float:
        return super()._total(target, lengths, self._of_class(target, weights))

    def _run(
        self, y: Array, target: Array, lengths: Lengths, scale: float, dy: Array, weights: Weights
    ) -> float:
        if self.label_smoothing:
            more = self.label_smoothing, weights, self.class_weights
            smoothed: float = self.backend.smoothed_cross_entropy(y, target, lengths, scale, dy, *more)
            return smoothed
        value: float = self.backend.softmax_cross_entropy(
            y, target, lengths, scale, dy, self._of_class(target, weights)
        )
        return value

    def _check_target(self, y: Array, target: Any) -> Array:
        if not isinstance(target, np.ndarray):
            raise TypeError(f"target is a {type(target).__name__}, but a NumPy array is wanted")
        if target.dtype.kind not in "iu":
            raise TypeError(f"target is {target.dtype}, but integer class ids are wanted")
        target = check_array("target", target, target.dtype, "TB"[1 - y.ndim :], y.shape[:-1])
        # The kernels know two types of ids; an unsigned one beyond int64 turns negative and is refused.
        ids: Array = target if target.dtype in (np.int32, np.int64) else target.astype(np.int64)
        return ids

    def _check_range(self, target: Array, steps_target: Array, lengths: Lengths, classes: int) -> None:
        if self.ignored is not None:
            steps_target = np.where(steps_target == self.ignored, 0, steps_target)
        place = self.backend.first_class_outside(steps_target, lengths, classes)
        if place >= 0:
            where = np.unravel_index(place, target.shape)
            raise ValueError(
                f"target[{_index(where)}] is {target[where]}, but y has {classes} classes (C): "
                f"ids from 0 to {classes - 1} are wanted"
            )

    def _explain(self, target: Array, steps_target: Array, lengths: Lengths, weights: Weights) -> None:
        """Class ids are checked beforehand: y is to blame."""


def _index(place: tuple[np.intp, ...]) -> str:
    return ", ".join(str(int(i)) for i in place)
