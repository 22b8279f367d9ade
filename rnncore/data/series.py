"""Time series: scaling, missing values, windows into the past and the horizon to forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_flag, check_positive_integer, refuse_masked
from .linear import Linear
from .scaling import check_normalization, level_and_spread, season_ahead
from .table import listed
from .times import Frequency
from .windows import Windows

Array = NDArray[Any]
Floats = NDArray[np.float64]
Index = NDArray[np.intp]

BLOCK = 512  # windows whose forecasts are given back at once


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
    normalize
        What is taken from a window: ``"series"``, the center and scale above; ``"last"``, its own last value
        (NLinear: Zeng et al., 2023); ``"window"``, its own mean and deviation (reversible instance
        normalization: Kim et al., 2022). Only of the targets; other columns keep the first.
    difference
        Whether the network says by how much the forecast differs from the seasonal naive one.
    linear
        A linear forecast from the window that the network's is added to; None for none.
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
    normalize: str = "series"
    difference: bool = False
    linear: Linear | None = None
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
        check_normalization(self.normalize)
        if check_flag("difference", self.difference) and self.season > self.window:
            raise ValueError(f"difference needs a season of {self.season} steps in a window of {self.window}")
        sizes = self.window * self.features, self.outputs
        if self.linear is not None and (self.linear.inputs, self.linear.outputs) != sizes:
            raise ValueError(f"linear has not the {sizes[0]} inputs and {sizes[1]} outputs of this forecast")
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
        normalize: str = "series",
        difference: bool = False,
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
        moments = tuple(center.tolist()), tuple(scale.tolist())
        return cls(*names, window, horizon, season, *moments, masked, normalize, difference)

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
        """What a network reads of one window ``(N, F)``: ``(N, features)``.

        With ``normalize="series"`` of a whole series too: each step then depends on itself alone.

        Raises
        ------
        TypeError, ValueError
            If values are not ``(N, F)``, or one is missing, but the model was made without any: it has no
            input that could say so.
        """
        values = _check_values(values, self.columns)
        self._check_known(values)
        return self.read(values[:, None])[0][:, 0]

    def _check_known(self, values: Floats) -> None:
        missing = np.isnan(values)
        if not self.masked and missing.any():
            row, column = np.argwhere(missing)[0]
            raise ValueError(
                f"column {self.columns[column]!r} is missing at step {row}, but the model was trained on "
                "a series without missing values and cannot read one; --gaps fill repeats the one before"
            )

    def read(self, past: Floats) -> tuple[Floats, Floats, Floats]:
        """Windows ``(T, B, F)`` as a network reads them, and the targets' levels and spreads, ``(B, K)``."""
        places, own = self.places, np.zeros(len(self.columns), np.bool_)
        own[places] = True
        moments = np.array(self.center), np.array(self.scale)
        level, spread = level_and_spread(past, self.normalize, *moments, own)
        x: Floats = (past - level) / spread
        if self.masked:
            missing = np.isnan(x)
            x = np.concatenate([np.where(missing, 0, x), ~missing], axis=2)
        return x, level[:, places], spread[:, places]

    def base(self, past: Floats, x: Floats, level: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """What the network's output is added to, and its units, as targets: ``(B, horizon, K)`` each."""
        shape = past.shape[1], self.horizon, len(self.targets)
        base = np.broadcast_to(level[:, None], shape)
        if self.difference:
            naive = season_ahead(past[:, :, self.places], self.horizon, self.season)
            base = np.where(np.isnan(naive), base, naive)
        units = np.broadcast_to(spread[:, None], shape)
        if self.linear is not None:
            base = base + self.linear(x).reshape(shape) * units
            units = units * self.linear.gain.reshape(shape[1:])
        return base, units

    def prepare(self, past: Floats, ahead: Floats) -> tuple[Floats, Floats]:
        """Windows ``(T, B, F)`` and what follows ``(B, horizon, K)`` as a network's input and target."""
        x, level, spread = self.read(past)
        base, units = self.base(past, x, level, spread)
        return x, np.asarray((ahead - base) / units)

    def unscale(self, y: Array, past: Windows | Floats | None = None) -> Floats:
        """A network's output ``(B, outputs)`` in the units of the targets, ``(B, horizon, K)``.

        Parameters
        ----------
        past
            What the network read, `Windows` or an array ``(window, B, F)`` in the series' units; None where
            the task takes nothing from a window: ``normalize="series"``, no difference, nothing linear.
        """
        forecast = y.reshape(len(y), self.horizon, len(self.targets)).astype(np.float64)
        if past is None:
            if self.normalize != "series" or self.difference or self.linear is not None:
                raise ValueError("past is None, but this forecast is relative to its windows: pass them")
            places = self.places
            return np.asarray(forecast * np.array(self.scale)[places] + np.array(self.center)[places])
        for begin in range(0, len(y), BLOCK):
            rows = slice(begin, begin + BLOCK)
            part = past.past(rows) if isinstance(past, Windows) else past[:, rows]
            base, units = self.base(part, *self.read(part))
            forecast[rows] = forecast[rows] * units + base
        return forecast

    def forecast(self, net: Any, values: Floats) -> Floats:
        """What a network says of the steps after the end of a series.

        Parameters
        ----------
        net
            A network that was trained on this task's windows.
        values
            The series, ``(N, F)``, or ``(N,)`` where the task reads one column; the last ``window`` steps are
            read.

        Returns
        -------
        forecast
            ``(horizon, K)``, in the targets' units.

        Raises
        ------
        TypeError, ValueError
            If values are not ``(N, F)``, fewer than the window, or one is missing in the window of a model
            that cannot read it.
        """
        array = np.asarray(values)
        array = array[:, None] if array.ndim == 1 else array
        past = _check_values(array, self.columns)[-self.window :]
        if len(past) < self.window:
            raise ValueError(
                f"values have {len(past)} steps (N), but the model reads {self.window} before a forecast"
            )
        self._check_known(past)
        x = np.ascontiguousarray(self.read(past[:, None])[0], net.dtype)
        y = net.infer(x)
        return np.asarray(self.unscale(y, past[:, None])[0])

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
        if origins is None:
            begin = max(first, self.window)
            origins = np.arange(begin, last - self.horizon + 1, check_positive_integer("stride", stride))
        if not len(origins):
            raise ValueError(
                f"steps {first} to {last} hold no horizon of {self.horizon} with {self.window} steps before "
                "it: fewer steps to read or forecast, or a longer series, are wanted"
            )
        self._check_known(values)
        return Windows(
            values, values[:, self.places], origins, self.window, self.horizon, batch_size, seed, shuffle,
            dtype, self.prepare,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        lists = {name: list(getattr(self, name)) for name in ("columns", "targets", "center", "scale")}
        whole = {name: getattr(self, name) for name in ("window", "horizon", "season", "masked")}
        times: dict[str, Any] = {"time": self.time, "series": self.series}
        times |= {"normalize": self.normalize, "difference": self.difference}
        times["linear"] = None if self.linear is None else self.linear.to_dict()
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
        linear = data.get("linear")
        parts["linear"] = None if linear is None else Linear.from_dict(linear)
        parts["difference"] = data.get("difference", False)
        parts["normalize"] = data.get("normalize", "series")
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
