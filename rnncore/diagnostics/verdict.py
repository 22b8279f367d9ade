"""A verdict: what is wrong with a recurrent network on its data, by how much, and the line that cures it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..brief import brief
from ..data.batch import as_batch
from ..kernels.float_state import keep_denormals
from ..layers import LastStep
from ..layers.base import ExplodingState
from ..layers.recurrent import Recurrent, RecurrentTape
from ..network import Network
from .common import Array, recurrent_layers, row_lengths
from .flow import GradientFlow, LayerFlow, gradient_flow, jsonable
from .health import Health, LayerHealth, layer_health
from .lyapunov import lyapunov_exponents
from .remedies import Remedy, remedies, unreached

CHAOS_ROWS, CHAOS_STEPS, SHORTEST = 2, 500, 10  # chains of rows of the batch, to look for chaos in


@dataclass(frozen=True, slots=True)
class Rule:
    """An illness: what is measured, and beyond which threshold it is one."""

    problem: str
    measure: str
    above: bool
    threshold: float
    says: str

    def applies(self, value: float) -> bool:
        """Whether the measured value is beyond the threshold; NaN, not measured, is not."""
        return value > self.threshold if self.above else value < self.threshold


# In the order of cause before effect: of several illnesses the first one is the verdict. A network in chaos
# has an exploding gradient, and one that is saturated a vanishing one.
RULES = (
    Rule("dead", "dead", True, 0.30, "{value:.0%} of its ReLU units are 0 at every step of every row"),
    Rule("chaotic", "lyapunov", True, 0.02, "small changes of its state grow by {value:.3f} nats per step"),
    Rule("exploding", "growth", True, 100.0, "the gradient grows {value:.3g}-fold on its way back"),
    Rule("saturated", "saturated", True, 0.50, "{value:.0%} of its units are where their slope is nearly 0"),
    Rule("vanishing", "reached", False, 0.25, "the gradient has gone after {value:.0%} of the way back"),
)
HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Finding:
    """One illness of one layer.

    Attributes
    ----------
    problem, layer, kind
        What is wrong, the layer's place in the network, and its class.
    measure, value, threshold
        What was measured, and the rule's threshold.
    text
        The same in words.
    remedies
        What to change, the best first.
    """

    problem: str
    layer: str
    kind: str
    measure: str
    value: float
    threshold: float
    text: str
    remedies: tuple[Remedy, ...]


@brief
@dataclass(frozen=True, slots=True)
class Report:
    """What `diagnose` found.

    Attributes
    ----------
    loss, steps
        The loss on the batch, and its T.
    findings
        Every illness of every layer, causes before effects; empty for a healthy network.
    measures
        What was measured of each layer, by name, ill or not.
    flow, health
        The measurements behind it; None where a state exploded before there were any.
    """

    loss: float
    steps: int
    findings: tuple[Finding, ...]
    measures: dict[str, dict[str, float]]
    flow: GradientFlow | None
    health: Health | None

    @property
    def verdict(self) -> str:
        """The first finding's problem, or ``"healthy"``."""
        return self.findings[0].problem if self.findings else HEALTHY

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {
            "verdict": self.verdict,
            "loss": jsonable(self.loss),
            "steps": self.steps,
            "measures": {
                name: {key: jsonable(value) for key, value in row.items()}
                for name, row in self.measures.items()
            },
            "findings": [
                {
                    "problem": finding.problem,
                    "layer": finding.layer,
                    "kind": finding.kind,
                    "measure": finding.measure,
                    "value": jsonable(finding.value),
                    "threshold": finding.threshold,
                    "text": finding.text,
                    "remedies": [{"code": r.code, "why": r.why} for r in finding.remedies],
                }
                for finding in self.findings
            ],
        }

    def __str__(self) -> str:
        lines = [f"verdict: {self.verdict} (loss {self.loss:.4g}, {self.steps} steps)"]
        for finding in self.findings:
            lines += ["", f"{finding.problem}: {finding.text}"]
            lines += [f"    {remedy.code}\n        {remedy.why}" for remedy in finding.remedies]
        if self.flow is not None:
            lines += ["", str(self.flow)]
        if self.health is not None:
            lines += ["", str(self.health)]
        return "\n".join(lines)


@keep_denormals()
def diagnose(net: Network, batch: Any, loss: Any, state: Any = None) -> Report:
    """Say what keeps a recurrent network from learning on this batch.

    Measured are, of every recurrent layer: how far the gradient of the last step's loss reaches, and how much
    it grows; the share of saturated units, and of dead ones; the largest Lyapunov exponent on its own input.
    The rules and their thresholds are the table `RULES`.

    Parameters
    ----------
    net
        A network with a recurrent layer; it is left as it was.
    batch
        Has ``x``, ``target``, and may have ``lengths`` and ``weights``; or is a tuple of the first two or
        three.
    loss
        Such as ``CrossEntropy()``.
    state
        The state to begin with, as ``net.forward`` takes it.

    Raises
    ------
    TypeError, ValueError
        If there is no recurrent layer, or an argument is none that the network or the loss takes.
    """
    layers = recurrent_layers(net)
    x, target, lengths, weights = _parts(batch)
    tapes: dict[str, Any] = {}
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            flow = gradient_flow(net, x, target, loss, lengths, state, -1, tapes, weights)
    except ExplodingState as error:
        return _exploded(layers, len(x), str(error))
    health = Health({name: layer_health(name, layer, tapes[name]) for name, layer in layers.items()})
    measures = {
        name: _measures(flow[name], health[name], layer, tapes[name]) for name, layer in layers.items()
    }
    findings = []
    for rule in RULES:
        ill = [name for name in layers if rule.applies(measures[name][rule.measure])]
        findings += [_finding(rule, name, net, layers[name], measures[name], tapes[name]) for name in ill]
    return Report(flow.value, len(x), tuple(findings), measures, flow, health)


def _parts(batch: Any) -> tuple[Array, Array, Any, Any]:
    """x, target, lengths and weights of a batch."""
    batch = as_batch(batch)
    return batch.x, batch.target, getattr(batch, "lengths", None), getattr(batch, "weights", None)


def _measures(
    flow: LayerFlow, health: LayerHealth, layer: Recurrent, tape: RecurrentTape
) -> dict[str, float]:
    summary = flow.summary()
    way = min(summary["reach"] / int(row_lengths(tape).max()), 1.0)
    return {
        **summary,
        "reached": 0.0 if math.isnan(way) else way,
        "saturated": health.saturated_units,
        "dead": health.dead_share,
        "lyapunov": _chaos(layer, tape),
        "spectral_radius": float(health.spectral_radius.max(initial=0.0)),
    }


def _chaos(layer: Recurrent, tape: RecurrentTape) -> float:
    """The largest Lyapunov exponent on the tape's own input, less its standard error; NaN for units without
    bound, whose perturbations grow without chaos, for short rows, and for layers with more than one way from
    step to step."""
    if layer.activation in ("relu", "identity") or not layer.one_step:
        return math.nan
    lengths = row_lengths(tape)
    rows = np.argsort(-lengths, kind="stable")
    longest = int(lengths[rows[0]])
    if longest < SHORTEST:
        return math.nan
    # Over one short row also a calm network's perturbations may grow for a while: rows are joined end to end.
    joined = -(-CHAOS_STEPS // longest)
    drives = []
    for first in range(min(CHAOS_ROWS, len(rows))):
        own = [tape.x[: lengths[row], row] for row in rows[first::CHAOS_ROWS][:joined]]
        drives.append(np.resize(np.concatenate(own), (CHAOS_STEPS, layer.input_size)))
    x = np.stack(drives, axis=1)
    found = lyapunov_exponents(layer, x, k=1)
    return float(found.exponents[0] - found.error[0])


def _finding(
    rule: Rule, name: str, net: Network, layer: Recurrent, measures: dict[str, float], tape: RecurrentTape
) -> Finding:
    value = measures[rule.measure]
    kind = type(layer).__name__
    text = f"layer {name}, {kind}: {rule.says.format(value=value)}"
    cures = remedies(rule.problem, layer, name, tape)
    if rule.problem == "vanishing":
        reach = measures["reach"]
        text += f", {reach:.0f} of {len(tape.x)} steps"
        if math.isnan(reach):
            text = f"layer {name}, {kind}: no gradient of the last step's loss arrives on its way"
            cures = unreached(name, any(isinstance(o, LastStep) and not o.bidirectional for o in net.layers))
    return Finding(rule.problem, name, kind, rule.measure, value, rule.threshold, text, cures)


def _exploded(layers: dict[str, Recurrent], steps: int, text: str) -> Report:
    """The report of a network whose forward pass already overflows."""
    rule = next(rule for rule in RULES if rule.problem == "exploding")
    name, layer = next(iter(layers.items()))
    finding = Finding(
        rule.problem, name, type(layer).__name__, rule.measure, math.inf, rule.threshold, text,
        remedies(rule.problem, layer, name, None),
    )  # fmt: skip
    return Report(math.inf, steps, (finding,), {}, None, None)
