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
from .checks import check_array, check_lengths, check_weights, take_array
from .kernels.memory import empty

Array = NDArray[Any]


class Loss:
    """What all losses share: checks, the mean, lengths."""

    #: name of the kernel in ``backend``
    kernel: ClassVar[str]
    #: whether the target has y's last axis too, or one class id in its place
    dense_target: ClassVar[bool] = True
    #: what a floating target may be, for the message
    wanted: ClassVar[str] = "finite numbers"
    backend: ModuleType = kernels

    def __call__(
        self, y: Array, target: Array, lengths: Any = None, weights: Any = None
    ) -> tuple[float, Array]:
        """The mean loss and its gradient.

        Parameters
        ----------
        y
            Output of a network, ``(T, B, C)``, or ``(B, C)`` behind a pooling layer; float32 or float64.
        target
            Of y's shape and dtype; for class ids without the last axis.
        lengths
            Steps of each row, ``(B,)``; None where all rows have T. In the padding y and target are not read,
            and dy is 0. Where y is ``(B, C)`` the steps are gone, and lengths are not looked at.
        weights
            Of each row in the mean, ``(B,)``, not negative: it becomes sum_b w[b] l[t, b] over the sum of the
            weights of all valid steps, and 0 if that is 0. None where all count alike. A row of weight 0 is
            as good as not there.

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
        check_array("y", y, y.dtype, "TBC"[-y.ndim :], y.shape)
        target = self._check_target(y, target)
        # To the kernels one row per sequence is one step.
        pooled = y.ndim == 2
        steps_y, steps_target = (y[None], target[None]) if pooled else (y, target)
        lengths = None if pooled else check_lengths(lengths, y.shape[0], y.shape[1], of="y")
        self._check_range(target, steps_target, lengths, y.shape[-1])
        weights = check_weights(weights, y.shape[-2])
        dy = empty(y.shape, y.dtype)
        total = self._count(steps_y.shape, lengths, weights)
        kernel = getattr(self.backend, self.kernel)
        arrays = steps_y, steps_target, lengths, 1.0 / total if total else 1.0, dy[None] if pooled else dy
        value = kernel(*arrays) if weights is None else kernel(*arrays, weights)
        if not math.isfinite(value):
            self._explain(target, steps_target, lengths, weights)
        return value, dy

    def count(self, target: Array, lengths: Any = None, weights: Any = None) -> float:
        """Number of valid steps that the value is a mean over, or the sum of their weights: what this batch
        weighs among others."""
        axes = 3 if self.dense_target else 2
        shape = target.shape if target.ndim >= axes else (1, *target.shape)
        lengths = check_lengths(lengths, shape[0], shape[1], of="target") if target.ndim >= axes else None
        return self._count(shape, lengths, check_weights(weights, shape[1]))

    @staticmethod
    def _count(
        shape: tuple[int, ...], lengths: NDArray[np.intp] | None, weights: NDArray[np.float64] | None
    ) -> float:
        if weights is not None:
            return float(weights.sum() * shape[0] if lengths is None else weights @ lengths)
        return shape[0] * shape[1] if lengths is None else int(lengths.sum())

    def _check_target(self, y: Array, target: Any) -> Array:
        return check_array("target", target, y.dtype, "TBC"[-y.ndim :], y.shape)

    def _check_range(
        self, target: Array, steps_target: Array, lengths: NDArray[np.intp] | None, classes: int
    ) -> None:
        """Raise ValueError for a target that cannot be; floating ones wait until the value is not finite."""

    def _outside(self, target: Array) -> NDArray[np.bool_]:
        """True where a floating target is not allowed."""
        return ~np.isfinite(target)

    def _explain(
        self,
        target: Array,
        steps_target: Array,
        lengths: NDArray[np.intp] | None,
        weights: NDArray[np.float64] | None,
    ) -> None:
        """The value is not finite: raise ValueError if a target is to blame; otherwise y is."""
        outside = self._outside(steps_target)
        if lengths is not None:
            outside &= (np.arange(len(steps_target))[:, None] < lengths)[:, :, None]
        if weights is not None:
            outside &= (weights > 0)[:, None]
        if outside.any():
            place = np.unravel_index(int(outside.argmax()), target.shape)
            raise ValueError(f"target[{_index(place)}] is {target[place]}, but {self.wanted} are wanted")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SquaredError(Loss):
    """Half the squared distance: mean over steps of 1/2 sum_c (y[c] - target[c])^2; gradient y - target.

    PyTorch's ``MSELoss`` leaves out the half, and divides by the number of features as well.

    Parameters
    ----------
    missing
        True: a target that is NaN is unknown, and adds nothing to value and gradient; the mean stays one over
        all steps. False: it is an error.
    """

    kernel = "squared_error"

    def __init__(self, missing: bool = False) -> None:
        self.missing = missing

    def _check_target(self, y: Array, target: Any) -> Array:
        checked = super()._check_target(y, target)
        if self.missing and (unknown := np.isnan(checked)).any():
            # Where y itself is the target the error is 0, whatever the kernel.
            checked = np.where(unknown, np.where(np.isfinite(y), y, 0), checked)
        return checked

    def __repr__(self) -> str:
        return f"SquaredError(missing={self.missing})"


class BinaryCrossEntropy(Loss):
    """Cross-entropy of independent yes-or-no outputs, each the logit of a probability (sigmoid inside).

    Mean over steps of sum_c log(1 + e^y[c]) - target[c] y[c]; target in 0..1; gradient sigmoid(y) - target.
    """

    kernel = "sigmoid_cross_entropy"
    wanted = "probabilities from 0 to 1"

    def _outside(self, target: Array) -> NDArray[np.bool_]:
        return ~((target >= 0) & (target <= 1))


class CrossEntropy(Loss):
    """Cross-entropy of one class among C, y being logits (softmax inside; Bridle, 1990).

    Mean over steps of log sum_c e^y[c] - y[target]; gradient softmax(y) - onehot(target). The target is an
    integer array of class ids, ``(T, B)`` or ``(B,)``. A logit of -inf excludes its class.
    """

    kernel = "softmax_cross_entropy"
    dense_target = False

    def _check_target(self, y: Array, target: Any) -> Array:
        if not isinstance(target, np.ndarray):
            raise TypeError(f"target is a {type(target).__name__}, but a NumPy array is wanted")
        if target.dtype.kind not in "iu":
            raise TypeError(f"target is {target.dtype}, but integer class ids are wanted")
        check_array("target", target, target.dtype, "TB"[1 - y.ndim :], y.shape[:-1])
        # The kernels know two types of ids; an unsigned one beyond int64 turns negative and is refused.
        return target if target.dtype in (np.int32, np.int64) else target.astype(np.int64)

    def _check_range(
        self, target: Array, steps_target: Array, lengths: NDArray[np.intp] | None, classes: int
    ) -> None:
        place = self.backend.first_class_outside(steps_target, lengths, classes)
        if place >= 0:
            where = np.unravel_index(place, target.shape)
            raise ValueError(
                f"target[{_index(where)}] is {target[where]}, but y has {classes} classes (C): "
                f"ids from 0 to {classes - 1} are wanted"
            )

    def _explain(
        self,
        target: Array,
        steps_target: Array,
        lengths: NDArray[np.intp] | None,
        weights: NDArray[np.float64] | None,
    ) -> None:
        """Class ids are checked beforehand: y is to blame."""


def _index(place: tuple[np.intp, ...]) -> str:
    return ", ".join(str(int(i)) for i in place)
