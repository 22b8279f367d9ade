"""What every layer is: parameters by name, a forward pass that leaves a tape, a backward pass along it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Lengths = NDArray[np.intp] | None  # (B,), None where all rows have T steps
State = Any  # None, an array (B, H), or a tuple of them


def shape_of(part: Any) -> Any:
    """The shape of an array, or those of all arrays in a tuple or a record."""
    if part is None:
        return None
    if isinstance(part, np.ndarray):
        return part.shape
    if isinstance(part, (tuple, list)):
        return [shape_of(each) for each in part]
    names = getattr(type(part), "__dataclass_fields__", ())
    return [shape_of(getattr(part, name)) for name in names]


class ExplodingState(FloatingPointError):
    """A state has left the range that its layer allows; the message says which and when."""


class Layer:
    """One step of a network's chain.

    A layer owns no memory for its parameters: ``bind`` gives it views into a network's flat buffers. Between
    forward and backward it keeps nothing either; all that backward needs is in the tape.
    """

    #: whether y has one row per sequence, (B, F), where x had one per step, (T, B, F)
    pools: ClassVar[bool] = False
    #: whether x holds integer ids, (T, B), in place of numbers
    takes_ids: ClassVar[bool] = False
    #: the names of the arrays that x is a dictionary of; none where x is an array
    names: tuple[str, ...] = ()
    #: whether x may also have one row per sequence, (B, F), as behind a layer that pools
    takes_rows: ClassVar[bool] = False
    #: what forward records
    tape_type: ClassVar[type] = object
    #: whether a step of y depends on later steps of x, so that only whole sequences can be read
    looks_ahead: ClassVar[bool] = False

    def __init__(self) -> None:
        self.training = True
        self.params: Mapping[str, Array] = {}
        self.grads: Mapping[str, Array] = {}
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.rng: np.random.Generator | None = None

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON holds them: ``type(layer)(**layer.config())`` is the same layer.

        A layer among the arguments is its own configuration with its name as ``type``.
        """
        return {}

    def stored(self, known: bool) -> tuple[str, dict[str, Any]]:
        """The name and the configuration in a file; known: whether every reader knows the class."""
        return type(self).__name__, self.config()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in order; nothing is allocated."""
        return {}

    def features(self) -> tuple[int | None, int | None]:
        """Features of x and of y: None where x may have any number, and where y has as many as x."""
        return None, None

    def gives(self, features: int | None) -> int | None:
        """Features of y where x has so many; None where neither is known."""
        return self.features()[1] or features

    def multiply_adds(self) -> int:
        """Multiply-adds of a step of one row: each entry of a matrix of weights counts once."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values() if len(shape) > 1)

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Fill the parameters with their initial values."""

    def bind(
        self,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        dtype: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        """Take views for parameters and gradients, the type to compute in, and the source of randomness."""
        self.params, self.grads, self.dtype, self.rng = params, grads, dtype, rng

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: a layer as it is before it is bound, for the views belong to the network."""
        kept = {name: value for name, value in self.__dict__.items() if name != "panels"}
        return kept | {"params": {}, "grads": {}, "rng": None}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, Any]:
        """y, the final state, and the tape (None with ``record=False``, for inference)."""
        raise NotImplementedError

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        """dx and the gradient of the initial state; *adds* into ``grads``.

        dx is None for ids, and with ``input_gradient=False``, which saves its product.
        """
        raise NotImplementedError

    def pack(self) -> None:
        """Pack the weights, which must stay as they are, once for all forward passes until ``unpack``."""

    def unpack(self) -> None:
        """Let forward passes pack the weights again, each for itself."""

    def check_state(self, argument: str, state: State, rows: int) -> None:
        """Raise TypeError or ValueError unless ``state``, of that name, is None or one of this layer."""
        if state is not None:
            came, own = type(state).__name__, type(self).__name__
            raise TypeError(f"{argument} is a {came}, but {own} has no state: None is wanted")

    def zero_state(self, rows: int, steps: int) -> State:
        """The state before a sequence of ``steps`` that comes in pieces; None where None says as much."""
        return None

    def require_bound(self) -> None:
        """Raise RuntimeError if the layer has no parameters yet."""
        if self.rng is None:
            own = type(self).__name__
            raise RuntimeError(f"this {own} belongs to no network yet: put it into Network(...) first")

    def check_tape(self, argument: str, tape: Any) -> None:
        """Raise ValueError unless ``tape``, of that name, is one of this layer: kernels trust its shapes."""
        if tape is None:
            raise ValueError(f"{argument} is None: backward needs that of a forward pass with record=True")
        if not isinstance(tape, self.tape_type) or not self.fits(tape):
            came = type(tape).__name__
            raise ValueError(
                f"{argument}, a {came}, is no tape of {self}: what its own forward returned is wanted"
            )

    def fits(self, tape: Any) -> bool:
        """Whether a tape of the right type is of a layer of this kind and size."""
        return True

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"
