"""What the Trainer's arguments may be."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

from ..checks import check_positive_integer
from ..network import Network


class Batches:
    """A list of batches as a data source: the same ones in every epoch."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches from number ``start`` on."""
        return iter(self._batches[start:])


def as_source(name: str, value: Any) -> Any:
    """A data source, which has ``len`` and ``batches(epoch, start)``, or a list of batches as one.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, (list, tuple)):
        return Batches(value)
    if not callable(getattr(value, "batches", None)) or not hasattr(value, "__len__"):
        raise TypeError(f"{name} is a {type(value).__name__}, but a data source or list of batches is wanted")
    return value


def as_list(name: str, value: Any, *methods: str) -> list[Any]:
    """None, one object or several, as a list of objects that have the methods."""
    if value is None:
        return []
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    for one in several:
        require(name, one, *methods)
    return several


def require(name: str, value: Any, *methods: str) -> None:
    """Raise TypeError unless ``value`` is an object, not a class, with these methods."""
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        wanted = ", ".join("a call" if method == "__call__" else f"{method}()" for method in methods)
        came = reprlib.repr(value)
        came = f"a {type(value).__name__}" if "\n" in came else came
        raise TypeError(f"{name} is {came}, but an object with {wanted} is wanted")


def check_monitor(monitor: Any, net: Network) -> None:
    """Raise TypeError unless it has ``on_step()``; what more it wants, ``monitor.check(net)`` tells."""
    require("monitor", monitor, "on_step")
    if hasattr(monitor, "check"):
        monitor.check(net)


def optional_count(name: str, value: Any) -> int | None:
    """None, or an int of at least 1."""
    return None if value is None else check_positive_integer(name, value)


def check_bptt(value: Any, net: Network) -> int | tuple[int, int] | None:
    """None, steps of a segment k, or (k1, k2) with k1 <= k2; TypeError or ValueError otherwise.

    A clockwork layer counts steps from 0 in each segment: all must be multiples of its periods.
    """
    checked = _check_segments(value)
    for layer in net.parts():
        whole = math.lcm(*getattr(layer, "periods", ()))
        if any(k % whole for k in (checked if isinstance(checked, tuple) else (checked or 0,))):
            raise ValueError(
                f"bptt is {value!r}, but {layer} begins its periods anew in each segment: multiples of "
                f"{whole} are wanted"
            )
    return checked


def _check_segments(value: Any) -> int | tuple[int, int] | None:
    if not isinstance(value, (tuple, list)):
        return optional_count("bptt", value)
    if len(value) != 2:
        raise ValueError(f"bptt is {value!r}, but k or (k1, k2) is wanted")
    k1, k2 = (check_positive_integer("bptt", k) for k in value)
    if k2 < k1:
        raise ValueError(f"bptt is {value!r}, but k2, how far gradients go back, must not be below k1")
    return k1, k2


def split_penalties(net: Network, value: Any) -> tuple[list[Any], list[Any]]:
    """None, one regularizer or several, as those on weights and those on activity.

    Raises
    ------
    TypeError, ValueError
        If one is neither, or finds nothing in the network to act on.
    """
    weights, activity = [], []
    for penalty in as_list("regularizer", value):
        if hasattr(penalty, "before"):
            require("regularizer", penalty, "check", "before", "after")
            penalty.check(net.layers)
            activity.append(penalty)
        else:
            require("regularizer", penalty, "__call__", "names")
            penalty.names(net.params)  # a pattern that matches nothing is an error now, not later
            if hasattr(penalty, "check"):
                penalty.check(net)
            weights.append(penalty)
    return weights, activity


def check_checkpoint(path: Any, every: int | None) -> None:
    """Raise TypeError or ValueError unless a file could stand at ``path``, or None of both is given."""
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint is {path!r}, but a path is wanted")
    if path is None:
        if every is not None:
            raise ValueError("checkpoint_every is given, but checkpoint, the path to write to, is not")
    elif not os.path.isdir(os.path.dirname(os.path.abspath(path))):  # fit tries whether it can be written to
        raise ValueError(f"checkpoint is {os.fspath(path)!r}, but its folder does not exist")


def check_span(
    epochs: int | None,
    steps: int | None,
    validation: Any,
    validate_every: int | None,
    patience: int | None,
    keep_best: bool,
    trainer: Any,
) -> None:
    """Raise TypeError or ValueError unless the arguments say how long to train, and fit together."""
    optional_count("epochs", epochs)
    optional_count("steps", steps)
    optional_count("validate_every", validate_every)
    optional_count("patience", patience)
    if epochs is steps is patience is trainer.monitor is None:
        raise ValueError("neither epochs nor steps is given: say how long to train")
    if validation is None and (validate_every is not None or patience is not None or keep_best):
        raise ValueError("validate_every or patience or keep_best is given, but no data to validate on")
    if validation is None and hasattr(trainer.schedule, "observe"):
        kind = type(trainer.schedule).__name__
        raise ValueError(f"the schedule is a {kind}, which waits for validations, but there is no validation")
