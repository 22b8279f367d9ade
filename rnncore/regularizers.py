"""Regularizers: each adds the gradient of its penalty to a network's gradients and returns the penalty.

Penalties on weights are called with parameters and gradients, once for each update. Penalties on activity
look at the tape of each minibatch: ``before(layers, tape, weight)`` the backward pass they return their value
and gradients that enter at the outputs of layers, ``after`` it they may add to the layers' own gradients;
weight multiplies gradients, not values. Their values are means over the steps, as the loss is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from . import kernels
from .checks import check_flag, check_real, padding_mask
from .kernels.float_state import flushing
from .kernels.memory import empty
from .layers.base import Layer
from .layers.elman import Elman
from .layers.flow import Flow
from .layers.recurrent import Recurrent, RecurrentTape
from .params import Array, Params


def _check_strength(strength: float) -> float:
    if not 0 <= check_real("strength", strength) < math.inf:
        raise ValueError(f"strength is {strength}, but a finite number of at least 0 is wanted")
    return float(strength)


class _WeightPenalty:
    """A penalty on chosen parameters."""

    def __init__(self, strength: float, parameters: Iterable[str] | None = None) -> None:
        if isinstance(parameters, str):
            parameters = (parameters,)
        self.strength = _check_strength(strength)
        self.parameters = None if parameters is None else tuple(parameters)
        self._chosen: tuple[Params, Params, list[tuple[Array, Array]]] | None = None

    def _default(self, params: Params) -> list[str]:
        """What it acts on unless told."""
        return [name for name, view in params.items() if view.ndim >= 2]

    def names(self, params: Params) -> list[str]:
        """The parameters it acts on.

        Raises
        ------
        ValueError
            If a pattern matches none.
        """
        if self.parameters is None:
            return self._default(params)
        for pattern in self.parameters:
            if not any(fnmatchcase(name, pattern) for name in params):
                raise ValueError(f"parameters hold {pattern!r}, which matches none of {', '.join(params)}")
        return [name for name in params if any(fnmatchcase(name, pattern) for pattern in self.parameters)]

    def __call__(self, params: Params, grads: Params) -> float:
        # The same two Params come at every step: their views are looked up once.
        if self._chosen is None or self._chosen[0] is not params or self._chosen[1] is not grads:
            views = [(params[name], grads[name]) for name in self.names(params)]
            self._chosen = params, grads, views
        return float(sum(self._penalize(weights, dweights) for weights, dweights in self._chosen[2]))

    def _penalize(self, weights: Array, dweights: Array) -> float:
        """The penalty on one parameter; adds its gradient."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON can hold them."""
        return {
            "strength": self.strength,
            "parameters": None if self.parameters is None else list(self.parameters),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength!r}, parameters={self.parameters!r})"


class _FlatPenalty(_WeightPenalty):
    """A penalty on numbers one by one, by a kernel."""

    kernel: ClassVar[str]
    backend: ModuleType = kernels

    def _penalize(self, weights: Array, dweights: Array) -> float:
        penalty = getattr(self.backend, self.kernel)
        return float(penalty(weights.reshape(-1), dweights.reshape(-1), self.strength))


class L1(_FlatPenalty):
    """strength sum |w|; its gradient is strength sign(w), 0 at w = 0.

    Parameters
    ----------
    strength
        Finite, at least 0.
    parameters
        Name patterns such as ``"*.weight_hh"`` or ``"0.*"``; None means every matrix, that is no bias, and
        every stack of them, as ``weight_skip`` is.
    """

    kernel = "l1_penalty"


class L2(_FlatPenalty):
    """strength / 2 sum w²; its gradient is strength w, which PyTorch calls weight decay.

    Parameters as for L1.
    """

    kernel = "l2_penalty"


class Orthogonality(_WeightPenalty):
    """strength sum ||W'W - I||² over squares W, Frobenius norm; its gradient is 4 strength W (W'W - I).

    It draws singular values to 1, so that products of Jacobians neither grow nor shrink by the weights' doing
    (a soft form of the constraint that Vorontsov, Trabelsi, Kadoury & Pal, 2017, study).

    Parameters
    ----------
    strength
        Finite, at least 0.
    parameters
        Name patterns; None means every ``weight_hh`` and ``weight_skip``. The square of each gate, and of
        each delay, counts for itself.
    """

    def _default(self, params: Params) -> list[str]:
        recurrent = "weight_hh", "weight_skip"
        names = [name for name in params if name.partition(".")[2].startswith(recurrent)]
        if not names:
            raise ValueError(f"there is no recurrent weight to penalize among {', '.join(params)}")
        return names

    def names(self, params: Params) -> list[str]:
        names = super().names(params)
        for name in names:
            shape = params[name].shape
            if len(shape) < 2 or shape[-2] % shape[-1]:
                raise ValueError(f"parameters hold {name!r}, which of shape {shape} is no stack of squares")
        return names

    def check(self, net: Any) -> None:
        """Raise ValueError where the units of a layer feel other weights than the parameters."""
        names = self.names(net.params)
        for position, layer in enumerate(net.layers):
            cell = getattr(layer, "layer", layer)  # of a Bidirectional
            as_is = getattr(cell, "felt_as_is", True)
            if not as_is and any(name.startswith(f"{position}.weight_hh") for name in names):
                raise ValueError(
                    f"parameters hold '{position}.weight_hh', but {layer} feels it signed, or in part: that "
                    "would not become orthogonal"
                )

    def _penalize(self, weights: Array, dweights: Array) -> float:
        units = weights.shape[-1]
        squares = weights.reshape(-1, units, units)
        excess = squares.transpose(0, 2, 1) @ squares - np.eye(units, dtype=weights.dtype)
        dweights += (4 * self.strength) * (squares @ excess).reshape(weights.shape)
        return self.strength * float(np.sum(np.square(excess, dtype=np.float64)))


class ActivityPenalty:
    """A penalty on what a network does; see the module's description.

    Parameters
    ----------
    strength
        Finite, at least 0.
    """

    #: the layers that it acts on, for the message
    wanted: ClassVar[str] = "some layers"

    def __init__(self, strength: float) -> None:
        self.strength = _check_strength(strength)

    def acts_on(self, layer: Layer) -> bool:
        """Whether it has something to say about such a layer."""
        raise NotImplementedError

    def check(self, layers: tuple[Layer, ...]) -> None:
        """Raise ValueError if there is no layer to act on."""
        if not any(self.acts_on(layer) for layer in layers):
            chain = ", ".join(map(repr, layers))
            raise ValueError(f"{self!r} acts on {self.wanted}, and finds no such layer among {chain}")

    def before(self, layers: tuple[Layer, ...], tape: Any, weight: float) -> tuple[float, dict[int, Array]]:
        """The value, and gradients that enter at the outputs of layers, by position."""
        return 0.0, {}

    def after(self, layers: tuple[Layer, ...], tape: Any, weight: float) -> float:
        """The value of what was added to the layers' gradients after the backward pass."""
        return 0.0

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON can hold them."""
        return {"strength": self.strength}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength!r})"


class NormStabilizer(ActivityPenalty):
    """strength times the mean over steps of (||h[t]|| - ||h[t-1]||)² (Krueger & Memisevic, 2016).

    On h of every recurrent layer (of an LSTM h too, not c) but those in a Bidirectional. The state before the
    first step takes part, as a constant. The gradient is exact: it enters at the layer's output and goes back
    through time from there.
    """

    wanted = "recurrent layers that read in one direction"

    def acts_on(self, layer: Layer) -> bool:
        return isinstance(layer, Recurrent)

    def before(self, layers: tuple[Layer, ...], tape: Any, weight: float) -> tuple[float, dict[int, Array]]:
        value, gradients = 0.0, {}
        for position, layer in enumerate(layers):
            if self.acts_on(layer):
                with flushing():
                    added, gradients[position] = self._of_layer(tape[position], weight)
                value += added
        return value, gradients

    def _of_layer(self, tape: RecurrentTape, weight: float) -> tuple[float, Array]:
        steps, rows = tape.x.shape[:2]
        hidden = tape.hidden[-steps - 1 :]
        norms = np.sqrt(np.einsum("tbh,tbh->tb", hidden, hidden))
        jumps = np.diff(norms, axis=0)
        if tape.lengths is not None:
            jumps[padding_mask(tape.lengths, steps)] = 0
        valid = steps * rows if tape.lengths is None else int(tape.lengths.sum())
        value = self.strength / valid * float(np.sum(np.square(jumps, dtype=np.float64)))
        # d value / d ||h[t]|| = 2 strength / valid (jump into t - jump out of t), and d||h|| / dh = h / ||h||
        dnorms = jumps.copy()
        dnorms[:-1] -= jumps[1:]
        dnorms *= 2 * self.strength * weight / valid
        slopes = np.divide(dnorms, norms[1:], out=np.zeros_like(dnorms), where=norms[1:] > 0)
        gradient = empty(hidden[1:].shape, hidden.dtype)
        return value, np.multiply(hidden[1:], slopes[:, :, None], out=gradient)


class Omega(ActivityPenalty):
    """The vanishing-gradient regularizer of Pascanu, Mikolov & Bengio (2013), on every Elman layer alone.

    strength times the mean over steps t and rows of (||W' s[t]|| / ||d[t]|| - 1)²,
    d[t] the gradient of the loss in h[t], s[t] = d[t] g'(a[t]) that in its sum a[t], so that W' s[t] is what
    step t hands on to step t-1. It asks that the gradient keep its length on the way back.

    As in the paper the gradient is the immediate one: of the recurrent weights where they stand in the
    formula, h and d held fixed, for which it is exact; it counts no way by which weights change h and d.
    Steps that hardly any gradient reaches, ||d[t]|| below 1e-10, are left out, as in the authors' program;
    the mean is over the others. With recurrent dropout or zoneout W' s[t] is only what goes by the weights,
    undropped.

    Parameters
    ----------
    strength
        Finite, at least 0.
    squared
        Whether the ratio is squared, (||W' s[t]||² / ||d[t]||² - 1)²: not in the paper, but in the program
        with which it found its results. Near a ratio of 1 it pulls four times as strongly.
    """

    wanted = "Elman layers that read in one direction"
    least: ClassVar[float] = 1e-10

    def __init__(self, strength: float, squared: bool = False) -> None:
        super().__init__(strength)
        self.squared = check_flag("squared", squared)
        self._lent: list[Elman] = []  # layers that record for this penalty alone

    def acts_on(self, layer: Layer) -> bool:
        return type(layer) is Elman

    def before(self, layers: tuple[Layer, ...], tape: Any, weight: float) -> tuple[float, dict[int, Array]]:
        """Asks the layers to record what flows back."""
        self._lent = []
        for layer in layers:
            if isinstance(layer, Elman):
                if layer.flow is None:  # otherwise someone records already, and reads on
                    layer.flow = Flow()
                    self._lent.append(layer)
                layer.flow.gates = True
        return 0.0, {}

    def after(self, layers: tuple[Layer, ...], tape: Any, weight: float) -> float:
        value = 0.0
        for layer in layers:
            if isinstance(layer, Elman):
                flow = layer.flow
                assert flow is not None
                assert flow.dgates is not None
                with flushing():
                    value += self._of_layer(
                        flow.states[0][1:],
                        flow.dgates,
                        layer.params["weight_hh"],
                        layer.grads["weight_hh"],
                        weight,
                    )
        for layer in self._lent:
            layer.flow = None
        return value

    def _of_layer(self, d: Array, s: Array, weight_hh: Array, dweight_hh: Array, weight: float) -> float:
        """d, s (T, B, H): the penalty of one layer; adds its gradient."""
        units = weight_hh.shape[1]
        d, s = d.reshape(-1, units), s.reshape(-1, units)
        # (T*B, H): row by row W' s. Memory that is used again, for fresh pages cost as much as the product.
        handed_on = np.matmul(s, weight_hh, out=empty(s.shape, s.dtype))
        come, gone = _lengths(d), _lengths(handed_on)
        felt = come >= self.least
        count = max(int(felt.sum()), 1)
        ratio = np.divide(gone, come, out=np.ones_like(come), where=felt)
        # d ||W' s|| / dW = s (W' s)' / ||W' s||
        excess = (ratio * ratio if self.squared else ratio) - 1
        scale = 2 * self.strength * weight / count * excess
        if self.squared:
            scale *= 2 * ratio
        scale = np.divide(scale, come * gone, out=np.zeros_like(scale), where=felt & (gone > 0))
        handed_on *= scale[:, None]
        dweight_hh += s.T @ handed_on
        return self.strength / count * float(np.sum(np.square(excess, dtype=np.float64)))

    def config(self) -> dict[str, Any]:
        return {**super().config(), "squared": self.squared}

    def __repr__(self) -> str:
        return f"Omega({self.strength!r}, squared=True)" if self.squared else super().__repr__()


def _lengths(rows: Array) -> Array:
    """Euclidean norm of each row."""
    norms: Array = np.sqrt(np.einsum("nh,nh->n", rows, rows))
    return norms
