"""Gradient flow and health while a network trains."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_flag, check_positive_integer
from ..clipping import ClipStep
from ..ctc import CTC
from ..disk import write_atomically
from .common import Array, recurrent_layers
from .flow import GradientFlow, gradient_flow, jsonable
from .health import layer_health
from .verdict import RULES

Row = dict[str, float]

ROWS = 4  # of a batch that are looked at: a few tell as much as all
GROWTH, REACHED = (
    next(rule.threshold for rule in RULES if rule.problem == problem)
    for problem in ("exploding", "vanishing")
)


class GradientWarning(UserWarning):
    """The gradient vanishes or explodes."""


class GradientMonitor:
    """Looks at a network every so many updates of its training: ``Trainer(..., monitor=GradientMonitor())``.

    A look is one forward and two backward passes over a few rows of the latest minibatch, after the second
    update and after every ``every``-th; training itself is not changed by a bit. When the gradient of the
    last step's loss vanishes or explodes, one warning says so, naming layer and step.

    Parameters
    ----------
    every
        Updates between two looks.
    rows
        Rows of the minibatch that are looked at.
    warn
        False: never warn.

    Attributes
    ----------
    history : list of dict
        One row per look: ``step``, ``loss``, ``grad_norm``, ``clipped`` (share of updates clipped since the
        last look, with ClipParameter of parameters), ``clipped_steps`` (interventions of ClipStep since
        then); for each recurrent layer what `diagnose` measures under the same names, ``<name>.half_life``,
        ``.reach``, ``.growth``, ``.saturated`` (units), ``.dead``, and ``.saturated_gates`` (those that open
        and shut), ``.state_norm``; for each parameter ``<name>.update_ratio``, the norm of the latest update
        over the parameter's own.
    profiles : list of dict
        For each look and layer, the share of the gradient that is left by lag, ``(L,)``.
    """

    def __init__(self, every: int = 50, rows: int = ROWS, warn: bool = True) -> None:
        self.every = check_positive_integer("every", every)
        self.rows = check_positive_integer("rows", rows)
        self.warn = check_flag("warn", warn)
        self.history: list[Row] = []
        self.profiles: list[dict[str, NDArray[np.float64]]] = []
        self._warned = False
        self._before: Array | None = None
        self._clips = (0.0, 0.0, 0.0)

    def check(self, net: Any) -> None:
        """Called by the Trainer before anything else; raises ValueError if there is nothing to look at."""
        recurrent_layers(net)

    def on_step(self, trainer: Any) -> None:
        """Called by the Trainer after every update."""
        step = trainer.step
        if self._due(step):
            self._look(trainer)
            self._before = None
        if self._due(step + 1):
            flat = trainer.net.params.flat
            self._before = flat.copy()

    def _due(self, step: int) -> bool:
        return step == 2 or step % self.every == 0

    def _look(self, trainer: Any) -> None:
        last = trainer.history.steps[-1]
        row: Row = {name: float(last[name]) for name in ("step", "loss", "grad_norm")}
        self._clipping(trainer, row)
        flow = self._flow(trainer, row)
        self._ratios(trainer.net, row)
        self.history.append(row)
        self.profiles.append({layer.name: layer.left(_state(layer.norms)) for layer in flow})
        if self.warn and not self._warned:
            self._judge(int(row["step"]), flow, row)

    def _clipping(self, trainer: Any, row: Row) -> None:
        """What the clippers did since the last look: the busiest flat one, and those inside BPTT."""
        flat = [clipper for clipper in trainer.clips if not isinstance(clipper, ClipStep)]
        many = len(trainer.net.params)  # of a clipper that counts parameters
        counts = (
            float(max((clipper.calls for clipper in flat), default=0)),
            float(max((one.clipped / (many if one.takes_names else 1) for one in flat), default=0)),
            # Each counts what the layers did, for all of them.
            float(max((clip.clipped for clip in trainer.clips if isinstance(clip, ClipStep)), default=0)),
        )
        calls, clipped, steps = (now - then for now, then in zip(counts, self._clips, strict=True))
        self._clips = counts
        row["clipped"] = clipped / calls if calls > 0 else 0.0
        row["clipped_steps"] = steps

    def _flow(self, trainer: Any, row: Row) -> GradientFlow:
        """Look at a few rows of the latest pass."""
        net, piece = trainer.net, trainer.piece
        some = slice(0, self.rows)
        x = np.ascontiguousarray(piece.x[:, some])
        pooled = any(layer.pools for layer in net.layers)
        by_row = pooled or isinstance(trainer.loss, CTC)
        target = np.ascontiguousarray(piece.target[some] if by_row else piece.target[:, some])
        weights = piece.weights  # (1, B) or (T, B)
        if weights is not None:
            weights = weights[0, some] if len(weights) == 1 else np.ascontiguousarray(weights[:, some])
        lengths = None if piece.lengths is None else piece.lengths[some]
        state = _some_rows(trainer.entered, some)
        kept: dict[str, Any] = {}
        flow = gradient_flow(net, x, target, trainer.loss, lengths, state, -1, kept, weights)
        for name, layer in recurrent_layers(net).items():
            health = layer_health(name, layer, kept[name], weights=False, memory=False)
            row |= {f"{name}.{measure}": value for measure, value in flow[name].summary().items()}
            row[f"{name}.saturated"] = health.saturated_units
            if len(health.gates) > 1:
                row[f"{name}.saturated_gates"] = health.saturated_gates
            row[f"{name}.dead"] = health.dead_share
            row[f"{name}.state_norm"] = float(health.state_norm[-1])
        return flow

    def _ratios(self, net: Any, row: Row) -> None:
        if self._before is None:  # a run that was resumed just before the look
            return
        start = 0
        for name in net.params.names:
            now = net.params[name].reshape(-1)
            before = self._before[start : start + now.size]
            start += now.size
            norm = float(np.linalg.norm(before))
            change = float(np.linalg.norm(now - before))
            row[f"{name}.update_ratio"] = change / norm if norm else math.inf if change else 0.0

    def _judge(self, step: int, flow: GradientFlow, row: Row) -> None:
        """Warn once, in words."""
        for layer in flow:
            steps = int(np.isfinite(layer.lags[_state(layer.norms)]).sum(axis=0).max())
            growth, reach = row[f"{layer.name}.growth"], row[f"{layer.name}.reach"]
            where = f"update {step}, layer {layer.name} ({layer.kind})"
            if growth > GROWTH:
                text = f"{where}: the gradient explodes, it grows {growth:.3g}-fold over {steps} steps"
            elif reach < REACHED * steps:
                text = (
                    f"{where}: the gradient vanishes, after {reach:.0f} of {steps} steps less than 1% is left"
                )
            else:
                continue
            self._warned = True
            advice = "rnncore.diagnostics.diagnose(net, batch, loss) says what to change"
            warnings.warn(f"{text}; {advice}", GradientWarning, stacklevel=2)
            return

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that was measured, in the order in which it first was."""
        return tuple(dict.fromkeys(name for row in self.history for name in row))

    def column(self, name: str) -> NDArray[np.float64]:
        """All values of one quantity, (N,); NaN where it was not measured.

        Raises
        ------
        KeyError
            If it never was.
        """
        if name not in self.columns:
            raise KeyError(f"there is no column {name!r}; there are {', '.join(self.columns) or 'none yet'}")
        return np.array([row.get(name, math.nan) for row in self.history])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """One line per look."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(self.history)
        write_atomically(path, text.getvalue().encode())

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """One JSON object per look; what is not finite is null. ``profile.<layer>`` is the flow by lag."""
        lines = []
        for row, profiles in zip(self.history, self.profiles, strict=True):
            numbers: dict[str, Any] = {name: jsonable(value) for name, value in row.items()}
            for name, profile in profiles.items():
                numbers[f"profile.{name}"] = [jsonable(value) for value in profile]
            lines.append(json.dumps(numbers, allow_nan=False) + "\n")
        write_atomically(path, "".join(lines).encode())

    def to_tensorboard(self, folder: str | os.PathLike[str]) -> None:
        """Event files for TensorBoard (the extra ``tensorboard``), one scalar per quantity.

        Raises
        ------
        ModuleNotFoundError
            If TensorBoard is not installed; the message says how to get it.
        """
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'event files want tensorboard, which is not installed: pip install "rnncore[tensorboard]"',
                name=error.name,
            ) from error
        writer = EventFileWriter(os.fspath(folder))
        try:
            for row in self.history:
                values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
                writer.add_event(Event(step=int(row["step"]), summary=Summary(value=values)))
        finally:
            writer.close()

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what was measured, and whether the warning has been given."""
        rows = [{name: repr(value) for name, value in row.items()} for row in self.history]
        profiles = [
            {name: [repr(v) for v in profile.tolist()] for name, profile in p.items()} for p in self.profiles
        ]
        state: dict[str, Any] = {
            "rows": rows,
            "profiles": profiles,
            "warned": self._warned,
            "clips": [*self._clips],
        }
        return state if self._before is None else {**state, "before": self._before}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.history = [{name: float(value) for name, value in row.items()} for row in state["rows"]]
        self.profiles = [
            {name: np.array([float(value) for value in profile]) for name, profile in profiles.items()}
            for profiles in state["profiles"]
        ]
        self._warned = bool(state["warned"])
        calls, clipped, steps = (float(count) for count in state["clips"])
        self._clips = (calls, clipped, steps)
        self._before = state.get("before")


def _state(norms: dict[str, Any]) -> str:
    """The state that carries the memory: an LSTM's c."""
    return "c" if "c" in norms else "h"


def _some_rows(state: Any, rows: slice) -> Any:
    """Some rows of every array of a state."""
    if isinstance(state, tuple):
        return tuple(_some_rows(part, rows) for part in state)
    return None if state is None else np.ascontiguousarray(state[..., rows, :])
