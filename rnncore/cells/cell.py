"""A recurrent layer of one's own, written as its equation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import check_flag
from ..layers.masks import check_probability, check_zoneout
from . import functions
from .describe import Cost, cost, equations, gradient
from .equation_data import equation_data
from .layout import Layout, initialize, lay_out
from .passes import EquationLayer
from .rewriting import Variant
from .tracing import Array, Initial, Trace, run_step, state_names
from .values import CellError, Value


class Cell(EquationLayer):
    """A recurrent layer whose ``step`` is its equation; subclass it and write ``step``.

    ``step(self, x, h)``, or ``step(self, x, h, c, ...)`` for several states, gets symbolic values and returns
    the new states, as many, the first of which is the output. It is called once; what it computes with
    ``linear``, ``vector`` and the functions of rnncore.cells is differentiated and compiled, and no Python
    runs in the loop over time. The layer does what the built-in ones do: lengths, states, truncated and
    segmented backpropagation, clipping by step, recurrent dropout and zoneout.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        See `rnncore.layers.recurrent.Recurrent`. ``recurrent_init`` is for every square matrix that a state,
        or what is computed from one, meets.
    learn_initial_state
        Whether a pass without a given state begins with learned ones, ``initial_h (H,)`` and the like, zero
        at first.

    Notes
    -----
    Parameters are, in this order: ``weight_ih``, the blocks of all linear maps that x meets, in the order of
    declaration; ``weight_hh``, those that the first state meets; ``bias``, the biases of the maps that x
    meets; a block that meets anything else is ``weight_{name}`` (``weight_{name}_0``, ... where there are
    several), the bias of such a map ``bias_{name}``; vectors and scalars bear their own names.

    Examples
    --------
    >>> from rnncore.cells import Cell, sigmoid, tanh
    >>> class MGU(Cell):
    ...     def step(self, x, h):
    ...         f = sigmoid(self.linear("f", x, h))
    ...         n = tanh(self.linear("n", x, f * h))
    ...         return (1 - f) * h + f * n
    >>> MGU(64, 128).parameter_shapes()
    {'weight_ih': (256, 64), 'weight_hh': (128, 128), 'bias': (256,), 'weight_n': (128, 128)}
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
        learn_initial_state: bool = False,
    ) -> None:
        if type(self).step is Cell.step:
            raise CellError(f"{type(self).__name__} has no equation; write its method step(self, x, h)")
        self.state_names = getattr(self, "own_state_names", None) or state_names(self.step)
        super().__init__(input_size, hidden_size, checkpoint_every, recurrent_init)
        self.recurrent_dropout = check_probability("recurrent_dropout", recurrent_dropout)
        self.zoneout = check_zoneout(zoneout, self.state_names)
        self.learn_initial_state = check_flag("learn_initial_state", learn_initial_state)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """``step(self, x, h)``: the new states from the input and the states before; see the class."""
        raise NotImplementedError

    def state_sizes(self) -> tuple[int, ...]:
        """Units of each state, ``hidden_size`` unless a cell overrides it."""
        return (self.hidden_size,) * len(self.state_names)

    def __format__(self, spec: str) -> str:
        """In messages the constructor's call, not the equation."""
        return format(repr(self), spec)

    @property
    def one_step(self) -> bool:  # type: ignore[override]
        return max(self.trace().depths) == 1

    @property
    def gate_names(self) -> tuple[str, ...]:  # type: ignore[override]
        e = self.equations(Variant(zoneout=bool(self.zoneout)))
        return tuple(str(self.trace().name_of(value)) for value in self._gates(e))

    @property
    def gate_functions(self) -> tuple[str, ...]:  # type: ignore[override]
        e = self.equations(Variant(zoneout=bool(self.zoneout)))
        return tuple(value.op for value in self._gates(e))

    @property
    def gates(self) -> int:  # type: ignore[override]
        return len(self.gate_names)

    @property
    def state_widths(self) -> tuple[int, ...]:
        sizes = tuple(self.state_sizes())
        if len(sizes) != len(self.state_names):
            raise CellError(
                f"state_sizes of {type(self).__name__} returned {len(sizes)} sizes for its "
                f"{len(self.state_names)} "
                f"states ({', '.join(self.state_names)}); return one for each"
            )
        return sizes

    def trace(self) -> Trace:
        if self._trace is None:
            trace = Trace(self.input_size, self.state_names, self.state_widths)
            self._trace = trace
            try:
                run_step(trace, self.step)
                self._check(trace)
                self._layout = lay_out(trace)
            except BaseException:
                self._trace = self._layout = None
                raise
        return self._trace

    def _check(self, trace: Trace) -> None:
        """Options that an equation has no use for are refused."""
        if self.checkpoint_every is not None and (trace.noises or max(trace.depths) > 1):
            what = "noise" if trace.noises else "delayed states"
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every}, which {type(self).__name__} with its {what} "
                "cannot be run with; leave it out"
            )
        if self.recurrent_dropout and not any(
            value.op == "linear" and _meets_first_state(value) for value in trace.graph.values
        ):
            raise ValueError(
                f"recurrent_dropout is {self.recurrent_dropout}, but no matrix of {type(self).__name__} "
                "meets "
                f"{self.state_names[0]}; use zoneout, or dropout between layers"
            )

    @property
    def layout(self) -> Layout:
        self.trace()
        assert self._layout is not None
        return self._layout

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, read back from the attributes of the same names."""
        own = inspect.signature(type(self).__init__).parameters
        chosen = super().config()
        if self.learn_initial_state:
            chosen["learn_initial_state"] = True
        for name, parameter in own.items():
            skipped = name in ("self", "input_size", "hidden_size") or name in COMMON
            if skipped or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if not hasattr(self, name):
                raise CellError(
                    f"{type(self).__name__} takes the option {name!r} but has no attribute of that name; set "
                    f"self.{name} in __init__, so that the layer can be copied and saved"
                )
            value = getattr(self, name)
            if parameter.default is parameter.empty or value != parameter.default:
                chosen[name] = list(value) if isinstance(value, tuple) else value
        return chosen

    def common(self) -> dict[str, Any]:
        """Sizes, and of the arguments that every cell has those that are set."""
        sizes = {"input_size": self.input_size, "hidden_size": self.hidden_size}
        return sizes | {name: value for name, value in self.config().items() if name in COMMON}

    def stored(self, known: bool) -> tuple[str, dict[str, Any]]:
        """By name, or where a reader may not know the class, as the equation."""
        if known:
            return super().stored(known)
        return "StoredCell", equation_data(self.trace(), type(self).__name__) | self.common()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {**self.layout.shapes, **self.initial_parameters()}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Glorot uniform input weights, recurrent squares as told, the rest as the equation says."""
        initialize(self.trace(), self.layout, params, rng, self.recurrent_init or "orthogonal")

    def __str__(self) -> str:
        """The equation."""
        return equations(self.trace(), repr(self))

    def gradient(self) -> str:
        """The derived equations: what goes back from dy[t] and the gradients of the new states.

        ``back(v)`` is what v gets through the matrices that it meets.
        """
        return gradient(self.equations(Variant()), f"{self!r}, backward")

    def cost(self) -> Cost:
        """What one step costs: arithmetic, and bytes of weights and of tape."""
        return cost(self.equations(Variant()), self.layout, self.dtype.itemsize)

    def linear(
        self, name: str, *operands: Value, size: int | None = None, bias: bool | Initial = True
    ) -> Value:
        """The sum of a learned matrix times each operand, plus a learned bias.

        Parameters
        ----------
        name
            Its own name, of which those of its parameters are made.
        operands
            x, states, and what is computed from them, of any sizes.
        size
            Units of the result; ``hidden_size`` unless given.
        bias
            Whether it has a bias, or what that starts as: a number, or a function of a generator and the
            size.
        """
        return self._now().linear(name, operands, self.hidden_size if size is None else size, bias)

    def antisymmetric(
        self, name: str, *operands: Value, damping: float = 0.0, bias: bool | Initial = False
    ) -> Value:
        """As ``linear``, with W - W' - damping I in place of each matrix W, whose eigenvalues have no real
        part but the damping's (Chang, Chen, Haber & Chi, 2019); operands are of one size."""
        size = operands[0].width if operands and isinstance(operands[0], Value) else self.hidden_size
        return self._now().linear(name, operands, size, bias, float(damping))

    def vector(self, name: str, init: Initial = 0.0, size: int | None = None) -> Value:
        """A learned number for each unit, which starts as a number or what ``init(rng, size)`` gives."""
        return self._now().vector(name, init, self.hidden_size if size is None else size, False)

    def scalar(self, name: str, init: Initial = 0.0) -> Value:
        """A learned number for all units."""
        return self._now().vector(name, init, 1, True)

    def layer_norm(
        self, name: str, v: Value, gain: Initial = 1.0, bias: Initial = 0.0, eps: float = 1e-5
    ) -> Value:
        """v with mean 0 and variance 1 over the units, times ``gain_{name}`` plus ``bias_{name}``, both
        learned (Ba, Kiros & Hinton, 2016)."""
        trace = self._now()
        centred = v - functions.mean(v)
        scaled = centred / functions.sqrt(functions.mean(centred * centred) + eps)
        gains = trace.vector(f"gain_{name}", gain, v.width, False)
        normalized = scaled * gains + trace.vector(f"bias_{name}", bias, v.width, False)
        trace.names.setdefault(normalized.order, f"norm_{name}")
        return normalized

    def split(self, value: Value, parts: int) -> tuple[Value, ...]:
        """A linear map taken apart into as many maps of equal size."""
        return self._now().split(value, parts)

    def delayed(self, state: Value, steps: int) -> Value:
        """A state as it was so many steps back; 1 is the state itself."""
        return self._now().delayed(state, steps)

    def noise(self, scale: Value | float = 1.0, size: int | None = None) -> Value:
        """``scale`` times a standard normal draw for each unit in training, 0 in evaluation."""
        return self._now().noise(self.hidden_size if size is None else size) * scale

    def _now(self) -> Trace:
        if self._trace is None or self._layout is not None:
            raise RuntimeError("linear, vector and the like belong into step, which is traced once")
        return self._trace


#: arguments that every cell has
COMMON = ("checkpoint_every", "recurrent_init", "recurrent_dropout", "zoneout", "learn_initial_state")


def _meets_first_state(linear: Value) -> bool:
    """Whether the first state enters one of its products."""
    waiting = list(linear.args)
    while waiting:
        value = waiting.pop()
        if value.op == "state" and value.data[0] == 0:
            return True
        waiting += [] if value.op == "linear" else value.args
    return False
