"""A recurrent layer as a function with a gradient of its own, called back by JAX."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..layers import GRU, LSTM, Bidirectional, Layer
from ..layers.recurrent import Recurrent as Cell

Params = dict[str, Any]
DRAWS = ("zoneout", "recurrent_dropout", "noise")


class Recurrent:
    """A recurrent layer of rnncore, such as a cell of the gallery or of your own, as a JAX function.

    ``function(params, x, state)`` returns y and the final state.

    Parameters
    ----------
    layer
        A recurrent layer in no network yet, such as ``rnncore.cells.MGU(3, 5)`` or
        ``Bidirectional(GRU(3, 5))``, that draws nothing: a JAX function is pure.

    Raises
    ------
    TypeError, ValueError
        If it is not such a layer.
    """

    def __init__(self, layer: Any) -> None:
        if not isinstance(layer, (Cell, Bidirectional)):
            came = type(layer).__name__
            raise TypeError(f"layer is a {came}; expected a recurrent layer, such as MGU(3, 5)")
        if layer.rng is not None:
            raise ValueError(f"layer, {layer}, belongs to a network; expected a new one")
        self.layer: Layer = copy.deepcopy(layer)
        self.layer.training = False
        for name in DRAWS:
            if any(_option(cell, name) for cell in _cells(self.layer)):
                raise ValueError(f"layer has {name}, which draws at random; expected a layer without it")
        self._function = _differentiable(self.layer)

    def init(self, key: Any, dtype: Any = jnp.float32) -> Params:
        """The layer's initial parameters.

        Parameters
        ----------
        key
            A key of ``jax.random``.
        dtype
            float32, or float64 where JAX has it enabled.
        """
        shapes = self.layer.parameter_shapes()
        params = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
        seed = np.asarray(jax.random.bits(key, (2,), jnp.uint32))
        self.layer.initialize(params, np.random.default_rng(seed))
        return {name: jnp.asarray(array) for name, array in params.items()}

    def __call__(self, params: Params, x: Any, state: Any = None) -> tuple[Any, Any]:
        """y and the final state.

        Parameters
        ----------
        params
            Arrays by the layer's names, as ``init`` gives them.
        x
            ``(T, B, I)``, float32 or float64.
        state
            As the layer has it: h, ``(B, H)``, or a tuple of states; None for zeros, or for the learned ones.

        Raises
        ------
        TypeError, ValueError
            If dtypes differ, or shapes do not fit.
        """
        x = jnp.asarray(x)
        width = self.layer.features()[0]
        if x.ndim != 3 or x.shape[2] != width or 0 in x.shape:
            raise ValueError(f"x has shape {x.shape}; expected (T, B, {width}), at least one step and row")
        if x.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"x is {x.dtype}; expected float32 or float64")
        shapes = self.layer.parameter_shapes()
        if params.keys() != shapes.keys():
            raise ValueError(f"params has {', '.join(params)}; expected {', '.join(shapes)}")
        for name, shape in shapes.items():
            if params[name].shape != shape:
                raise ValueError(f"params[{name!r}] has shape {params[name].shape}; expected {shape}")
        for array in jax.tree.leaves((params, state)):
            if array.dtype != x.dtype:
                raise TypeError(f"params or state have {array.dtype}; expected {x.dtype}, as x is")
        return self._function(params, x, state)


def lstm(params: Params, x: Any, state: Any = None) -> tuple[Any, Any]:
    """`rnncore.layers.LSTM` of ``weight_ih (4H, I)``, ``weight_hh (4H, H)`` and ``bias (4H,)``.

    Gates are in PyTorch's order, i, f, g, o; the state is (h, c). See `Recurrent`.
    """
    rows, inputs = params["weight_ih"].shape
    return _of(LSTM, inputs, rows // 4)(params, x, state)


def gru(params: Params, x: Any, state: Any = None) -> tuple[Any, Any]:
    """`rnncore.layers.GRU` of ``weight_ih (3H, I)``, ``weight_hh (3H, H)``, ``bias (3H,)``, ``bias_hn (H,)``.

    Gates are in PyTorch's order, r, z, n; the state is h. See `Recurrent`.
    """
    rows, inputs = params["weight_ih"].shape
    return _of(GRU, inputs, rows // 3)(params, x, state)


@lru_cache(maxsize=256)
def _of(kind: Callable[[int, int], Any], inputs: int, units: int) -> Recurrent:
    return Recurrent(kind(inputs, units))


def _option(cell: Any, name: str) -> Any:
    """An option's value; noise is a part of the equation where the cell is written as one."""
    value = getattr(cell, name, 0)
    return cell.trace().noises if callable(value) else value


def _cells(layer: Any) -> tuple[Any, ...]:
    return (layer.layer, layer.reverse) if isinstance(layer, Bidirectional) else (layer,)


def _bound(prototype: Layer, params: Params, grads: Params, dtype: Any) -> Layer:
    """A copy of the layer on these arrays; calls may come from several threads."""
    layer = copy.deepcopy(prototype) if isinstance(prototype, Bidirectional) else copy.copy(prototype)
    layer.bind(params, grads, np.dtype(dtype), np.random.default_rng(0))
    return layer


def _arrays(tree: Any) -> Any:
    return jax.tree.map(np.ascontiguousarray, tree)


def _differentiable(layer: Layer) -> Any:
    """The layer as a function of parameters, x and state that JAX can differentiate once."""

    def results(x: Any) -> tuple[Any, Any]:
        steps, rows = x.shape[:2]

        def room(shape: tuple[int, ...]) -> Any:
            return jax.ShapeDtypeStruct(shape, x.dtype)

        states = [tuple(map(room, cell.state_shapes(rows))) for cell in _cells(layer)]
        each = [own if len(own) > 1 else own[0] for own in states]
        return room((steps, rows, layer.features()[1] or 0)), tuple(each) if len(each) > 1 else each[0]

    def run(params: Params, x: Any, state: Any) -> Any:
        params, x, state = _arrays((params, x, state))
        y, final, _ = _bound(layer, params, params, x.dtype).forward(x, state, record=False)
        return np.ascontiguousarray(y), final

    def run_back(params: Params, x: Any, state: Any, dy: Any, dfinal: Any) -> Any:
        params, x, state, dy, dfinal = _arrays((params, x, state, dy, dfinal))
        grads = {name: np.zeros_like(array) for name, array in params.items()}
        own = _bound(layer, params, grads, x.dtype)
        _, _, tape = own.forward(x, state)
        dx, dstate = own.backward(dy, tape, dfinal)
        return grads, dx, None if state is None else dstate

    @jax.custom_vjp
    def function(params: Params, x: Any, state: Any) -> Any:
        return jax.pure_callback(run, results(x), params, x, state, vmap_method="sequential")

    def forward(params: Params, x: Any, state: Any) -> Any:
        return function(params, x, state), (params, x, state)

    def backward(saved: Any, received: Any) -> Any:
        like = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), saved)
        return jax.pure_callback(run_back, like, *saved, *received, vmap_method="sequential")

    function.defvjp(forward, backward)
    return function
