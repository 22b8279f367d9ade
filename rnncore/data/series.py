"""Time series: scaling, missing values, windows into the past and the horizon to forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_positive_integer, refuse_masked
from .table import listed
from .times import Frequency
from .windows import Windows

Array = NDArray[Any]
Floats = NDArray[np.float64]
Index = NDArray[np.intp]


def check_series(values: Any, columns: Sequence[str] | None = None) -> tuple[Floats, list[str]]:
    """A series as float64 ``(N, F)`` and the names of its columns; NaN is missing.

    Parameters
    ----------
    values
        ``(N,)`` or ``(N, F)`` numbers; what a masked array masks is missing.
    columns
        Names; None for ``"0"``, ``"1"``, ...

    Raises
    ------
    TypeError, ValueError
        If they are no numbers, infinite, or a column is missing altogether; the message names the column.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"values are {array.dtype}, but numbers are wanted")
    if isinstance(values, np.ma.MaskedArray):
        array = np.ma.filled(values.astype(np.float64), np.nan)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(f"values have shape {np.shape(values)}, but (N,) or (N, F), not empty, is wanted")
    names = [str(number) for number in range(array.shape[1])] if columns is None else list(columns)
    if len(names) != array.shape[1] or len(set(names)) < len(names):
        raise ValueError(f"columns are {listed(names)}, but {array.shape[1]} different names are wanted")
    array = array.astype(np.float64)
    if np.isinf(array).any():
        row, column = np.argwhere(np.isinf(array))[0]
        raise ValueError(f"column {names[column]!r} is {array[row, column]} at step {row}")
    _check_known(array, names, "")
    return array, names


def split_times(n: int, validation: float = 0.1, test: float = 0.2) -> tuple[int, int]:
    """Where in n steps the validation part begins, and the test part behind it: what comes last is the test.

    Raises
    ------
    ValueError
        If the shares are not at least 0 and below 1 together.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ValueError(f"validation is {validation}, test {test}, but shares below 1 together are wanted")
    last = n - int(n * test)
    return last - int(n * validation), last


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a series becomes input and target: what a model of a time series must know.

    The input at a step is each column, scaled; where anything was missing, 0 stands for it, and as many
    inputs more say what is known (1) and what is not (0). The target is the horizon of the target columns,
    scaled, step by step; NaN where it is not known, for ``SquaredError(missing=True)``.

    Attributes
    ----------
    columns, targets
        Names, in order; each target is one of the columns.
    window, horizon, season
        Steps that are read, steps that are forecast, steps of a period.
    center, scale
        Of each column: mean and standard deviation of the training part. (x - center) / scale is the input.
    masked
        Whether inputs say what is known.
    time, series
        The columns that say when a row was and which series it belongs to; None where there are none.
    frequency
        The step between rows; None where nothing says when they were.
    """

    columns: tuple[str, ...]
    targets: tuple[str, ...]
    window: int
    horizon: int
    season: int
    center: tuple[float, ...]
    scale: tuple[float, ...]
    masked: bool
    time: str | None = None
    series: str | None = None
    frequency: Frequency | None = None

    def __post_init__(self) -> None:
        for name in ("window", "horizon", "season"):
            check_positive_integer(name, getattr(self, name))
        if not self.columns or not self.targets:
            raise ValueError("columns or targets are empty, but at least one of each is wanted")
        for name, names in (("columns", self.columns), ("targets", self.targets)):
            if len(set(names)) < len(names):
                raise ValueError(f"{name} are {listed(names)}, but all must be different")
        if absent := set(self.targets) - set(self.columns):
            raise ValueError(f"target {min(absent)!r} is none of the columns {listed(self.columns)}")
        if not len(self.center) == len(self.scale) == len(self.columns):
            raise ValueError(f"center and scale are not one for each of {len(self.columns)} columns")
        if not all(map(math.isfinite, self.center)) or not all(0 < scale < math.inf for scale in self.scale):
            raise ValueError("center or scale hold what is not finite, or a scale that is not above 0")

    @classmethod
    def fit(
        cls,
        values: Floats,
        columns: Sequence[str],
        targets: Sequence[str],
        train: int,
        window: int,
        horizon: int = 1,
        season: int = 1,
    ) -> Forecast:
        """Scaling from the first ``train`` steps alone; masked if anything is missing in any part.

        Raises
        ------
        TypeError, ValueError
            If values are not ``(N, F)``, one column for each name, train is not from 1 to N, a column holds
            nothing in the training part, or a target is none of the columns.
        """
        values = _check_values(values, columns)
        if isinstance(targets, str):
            raise TypeError(f"targets are {targets!r}, but a list of columns is wanted")
        if check_positive_integer("train", train) > len(values):
            raise ValueError(f"train is {train}, but values have {len(values)} steps (N)")
        part = values[:train]
        _check_known(part, columns, f" in the first {train} steps, the training part")
        center, scale = np.nanmean(part, axis=0), np.nanstd(part, axis=0)
        # A constant says nothing, and stays 0; rounding in its mean may leave a deviation of 1e-17.
        scale[(scale == 0) | (np.nanmin(part, axis=0) == np.nanmax(part, axis=0))] = 1
        masked = bool(np.isnan(values).any())
        names = tuple(columns), tuple(targets)
        return cls(*names, window, horizon, season, tuple(center.tolist()), tuple(scale.tolist()), masked)

    @property
    def features(self) -> int:
        """Inputs of a network at each step."""
        return len(self.columns) * (2 if self.masked else 1)

    @property
    def outputs(self) -> int:
        """Outputs of a network: horizon times targets."""
        return self.horizon * len(self.targets)

    @property
    def places(self) -> Index:
        """Where the targets stand among the columns."""
        numbers = {column: number for number, column in enumerate(self.columns)}
        return np.array([numbers[target] for target in self.targets], np.intp)

    def inputs(self, values: Floats) -> Floats:
        """What a network reads of a series ``(N, F)``: ``(N, features)``.

        Raises
        ------
        TypeError, ValueError
            If values are not ``(N, F)``, or one is missing, but the model was made without any: it has no
            input that could say so.
        """
        values = _check_values(values, self.columns)
        scaled: Floats = (values - np.array(self.center)) / np.array(self.scale)
        missing = np.isnan(scaled)
        if not self.masked:
            if missing.any():
                row, column = np.argwhere(missing)[0]
                raise ValueError(
                    f"column {self.columns[column]!r} is missing at step {row}, but the model was trained on "
                    "a series without missing values and cannot read one"
                )
            return scaled
        return np.concatenate([np.where(missing, 0, scaled), ~missing], axis=1)

    def unscale(self, y: Array) -> Floats:
        """A network's output ``(B, outputs)`` in the units of the targets, ``(B, horizon, K)``."""
        places = self.places
        forecast = y.reshape(len(y), self.horizon, len(places)).astype(np.float64)
        unscaled: Floats = forecast * np.array(self.scale)[places] + np.array(self.center)[places]
        return unscaled

    def windows(
        self,
        values: Floats,
        first: int = 0,
        last: int | None = None,
        stride: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        dtype: DTypeLike = "float32",
        origins: Index | None = None,
    ) -> Windows:
        """The windows of a series whose whole horizon lies in the steps first..last-1.

        The window itself may begin before ``first``: the past is known. See :class:`Windows`.

        Parameters
        ----------
        origins
            First step of each horizon, ``(W,)``, in place of first, last and stride: where several series
            are end to end (`Panel.origins`).
        """
        values = _check_values(values, self.columns)
        last = len(values) if last is None else last
        places = self.places
        targets = (values[:, places] - np.array(self.center)[places]) / np.array(self.scale)[places]
        if origins is None:
            begin = max(first, self.window)
            origins = np.arange(begin, last - self.horizon + 1, check_positive_integer("stride", stride))
        if not len(origins):
            raise ValueError(
                f"steps {first} to {last} hold no horizon of {self.horizon} with {self.window} steps before "
                "it: fewer steps to read or forecast, or a longer series, are wanted"
            )
        inputs = self.inputs(values)
        return Windows(inputs, targets, origins, self.window, self.horizon, batch_size, seed, shuffle, dtype)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        lists = {name: list(getattr(self, name)) for name in ("columns", "targets", "center", "scale")}
        whole = {name: getattr(self, name) for name in ("window", "horizon", "season", "masked")}
        times = {"time": self.time, "series": self.series}
        step = None if self.frequency is None else [self.frequency.size, self.frequency.unit]
        return {"task": "forecast", **lists, **whole, **times, "frequency": step}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Forecast:
        """What ``to_dict`` returned; ValueError if it is anything else."""
        parts: dict[str, Any] = {}
        kinds: dict[str, type] = {"columns": str, "targets": str, "center": float, "scale": float}
        for name, kind in kinds.items():
            entries = data.get(name)
            if not isinstance(entries, list) or not all(type(entry) is kind for entry in entries):
                raise ValueError(f"{name} are no list of {kind.__name__}")
            parts[name] = tuple(entries)
        for name, kind in {"window": int, "horizon": int, "season": int, "masked": bool}.items():
            if type(data.get(name)) is not kind:
                raise ValueError(f"{name} is no {kind.__name__}")
            parts[name] = data[name]
        for name in ("time", "series"):
            if not isinstance(data.get(name), str | None):
                raise ValueError(f"{name} is no name of a column")
            parts[name] = data.get(name)
        return cls(**parts, frequency=_frequency(data.get("frequency")))


def _check_values(values: Any, columns: Sequence[str] | None = None) -> Floats:
    """A series as float64 ``(N, F)``, one column for each name."""
    refuse_masked("values", values)
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"values are {array.dtype}, but numbers are wanted")
    if array.ndim != 2 or (columns is not None and array.shape[1] != len(columns)):
        wanted = "(N, K)" if columns is None else f"(N, {len(columns)}), the columns {listed(columns)},"
        raise ValueError(f"values have shape {array.shape}, but {wanted} is wanted")
    return array.astype(np.float64, copy=False)


def _check_known(values: Floats, columns: Sequence[str], where: str) -> None:
    empty = np.isnan(values).all(axis=0)
    if empty.any():
        name = columns[int(empty.argmax())]
        raise ValueError(f"column {name!r} holds no number{where}: all of it is missing")


def _frequency(data: Any) -> Frequency | None:
    """What ``to_dict`` wrote of a frequency."""
    if data is None:
        return None
    if not isinstance(data, list) or [type(part) for part in data] not in ([float, str], [int, str]):
        raise ValueError("frequency is not a list of a size and a unit")
    return Frequency(*data)
