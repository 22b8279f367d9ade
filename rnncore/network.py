"""A network: layers in a chain over one flat buffer of parameters and one of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .checks import check_finite, check_lengths
from .layers import Layer
from .params import Params

Array = NDArray[Any]
State = tuple[Any, ...] | None


class Network:
    """Layers in a chain; itself a layer, with the same two methods.

    Parameters
    ----------
    *layers
        At least one; each belongs to one network only.
    seed
        All randomness of the network, initial weights and dropout, comes from one generator with this seed.
    dtype
        ``"float32"`` or ``"float64"``.

    Attributes
    ----------
    params, grads : Params
        All parameters and all gradients, each in one flat buffer; names are ``"<position>.<name>"``, such as
        ``"0.weight_ih"``.
    """

    def __init__(self, *layers: Layer, seed: int = 0, dtype: DTypeLike = "float32") -> None:
        if not layers:
            raise ValueError("a network wants at least one layer")
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {position} is a {type(layer).__name__}, but a layer is wanted")
            if layer.rng is not None or any(layer is other for other in layers[:position]):
                raise ValueError(f"layer {position}, {layer}, belongs to a network already: make a new one")
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype is {self.dtype}, but float32 or float64 is wanted")
        self.layers = layers
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        shapes = {
            f"{position}.{name}": shape
            for position, layer in enumerate(layers)
            for name, shape in layer.parameter_shapes().items()
        }
        self.params = Params(shapes, self.dtype)
        self.grads = Params(shapes, self.dtype)
        self.training = True
        for position, layer in enumerate(layers):
            names = layer.parameter_shapes()
            params = {name: self.params[f"{position}.{name}"] for name in names}
            grads = {name: self.grads[f"{position}.{name}"] for name in names}
            layer.bind(params, grads, self.dtype, self.rng)
            layer.initialize(params, self.rng)

    def config(self) -> dict[str, Any]:
        """The architecture as JSON can hold it."""
        layers = [{"type": type(layer).__name__, **layer.config()} for layer in self.layers]
        return {"layers": layers, "seed": self.seed, "dtype": str(self.dtype)}

    def train(self, mode: bool = True) -> Network:
        """Switch dropout on (or off, with ``mode=False``) and return the network."""
        self.training = mode
        for layer in self.layers:
            layer.training = mode
        return self

    def eval(self) -> Network:
        """Switch to evaluation: dropout passes its input unchanged."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set all gradients to 0."""
        self.grads.flat.fill(0)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, tuple[Any, ...], tuple[Any, ...] | None]:
        """Run the chain.

        Parameters
        ----------
        x
            ``(T, B, F)`` numbers, or ``(T, B)`` integer ids if the first layer is an embedding.
        state
            What an earlier call returned, to go on from there; None for zero states.
        lengths
            Steps of each row, ``(B,)``, in any order; None where all rows have T. What lies beyond never reaches a result.
        record
            False for inference: no tape is kept.

        Returns
        -------
        y, state, tape
            ``state`` and ``tape`` have one entry per layer; ``tape`` is None with ``record=False``.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, shape or range than wanted, or x is not finite.
        """
        if state is not None and (not isinstance(state, tuple) or len(state) != len(self.layers)):
            raise ValueError(f"state is no tuple of {len(self.layers)} entries, one per layer, as forward returns it")
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim == 3 and not self.layers[0].takes_ids:
            check_finite("x", x, check_lengths(lengths, *x.shape[:2]))
        states, tapes = [], []
        for position, layer in enumerate(self.layers):
            x, final, tape = layer.forward(x, None if state is None else state[position], lengths, record)
            states.append(final)
            tapes.append(tape)
            if layer.pools:
                lengths = None
        return x, tuple(states), tuple(tapes) if record else None

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array | None, tuple[Any, ...]]:
        """Go back along the tape; adds into ``grads``.

        Returns
        -------
        dx, dstate
            The gradients of the input (None for ids) and of each layer's initial state.
        """
        if tape is None:
            raise ValueError("tape is None: backward needs the tape of a forward pass with record=True")
        dstates = []
        for position in reversed(range(len(self.layers))):
            upstream = None if dstate is None else dstate[position]
            dy, initial = self.layers[position].backward(dy, tape[position], upstream)
            dstates.append(initial)
        return dy, tuple(reversed(dstates))

    def __repr__(self) -> str:
        chain = ", ".join(map(repr, self.layers))
        return f"Network({chain}, seed={self.seed}, dtype={str(self.dtype)!r})"
