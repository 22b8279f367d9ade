"""All parameters of a network in one flat array, with a named view for each."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Params(Mapping[str, Array]):
    """Named arrays that are views into one flat buffer.

    Clipping, an optimizer's update, a checkpoint or ``scipy.optimize.minimize`` are one call on ``flat``; a
    layer reads and writes its own views.

    Parameters
    ----------
    shapes
        Name to shape, in the order in which the arrays lie in the buffer.
    dtype
        float32 or float64.

    Attributes
    ----------
    flat : ndarray, shape (P,)
        All numbers, zero at first. What is assigned to it is copied into the buffer, which stays one.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32) -> None:
        total = sum(math.prod(shape) for shape in shapes.values())
        if total * np.dtype(dtype).itemsize > sys.maxsize:
            raise ValueError(f"there would be {total} parameters, more than any memory holds")
        self._flat: Array = np.zeros(total, dtype)
        self._views: dict[str, Array] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    @property
    def flat(self) -> Array:
        """All numbers, (P,)."""
        return self._flat

    @flat.setter
    def flat(self, value: Any) -> None:
        if value is self._flat:  # flat -= ... has written already
            return
        value = np.asarray(value)
        if value.shape != self._flat.shape:
            raise ValueError(f"flat is given shape {value.shape}, but it has shape {self._flat.shape}")
        self._flat[:] = value

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the buffer."""
        return tuple(self._views)

    def __getitem__(self, name: str) -> Array:
        if name not in self._views:
            raise KeyError(f"there is no parameter {name!r}; there are {', '.join(self._views) or 'none'}")
        return self._views[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Copy ``value`` into the view, so that the buffer stays one."""
        view = self[name]
        value = np.asarray(value)
        if value.shape != view.shape:
            raise ValueError(f"{name} is given shape {value.shape}, but it has shape {view.shape}")
        view[...] = value

    def lock(self, locked: bool) -> None:
        """Make the buffer and its views read-only, or writable again."""
        for array in (self.flat, *self._views.values()):
            array.flags.writeable = not locked

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the buffer is copied once, and views of it are made anew."""
        return {"shapes": {name: view.shape for name, view in self.items()}, "flat": self._flat.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["shapes"], state["flat"].dtype)  # type: ignore[misc]
        self._flat[:] = state["flat"]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {view.shape}" for name, view in self.items())
        return f"<Params of {self._flat.size:,} {self._flat.dtype}: {shapes or 'none'}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def at(self, index: int) -> str:
        """Name of the parameter that holds entry ``index`` of ``flat``; a negative index counts from the end.

        Raises
        ------
        IndexError
            If there is no such entry.
        """
        given, total = index, self.flat.size
        index += total if index < 0 else 0
        if not 0 <= index < total:
            raise IndexError(f"index is {given}, but there are {total} entries")
        for name, view in self._views.items():
            if index < view.size:
                return name
            index -= view.size
        raise AssertionError("unreachable: the views cover the buffer")
