"""A network: layers in a chain over one flat buffer of parameters and one of gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .blas import one_blas_thread
from .checks import (
    check_array,
    check_dtype,
    check_finite,
    check_flag,
    check_lengths,
    check_seed,
    take_array,
    take_state,
)
from .kernels.float_state import flushing
from .kernels.memory import empty
from .layers import Layer
from .layers.base import ExplodingState
from .layers.chain import check_chain
from .layers.nested import parts_of
from .layers.registry import describe
from .masking import MaskedTape, find_kept, masked_backward, masked_forward
from .modes import ENTERED, evaluation, inference
from .params import Params

if TYPE_CHECKING:
    from .data import Task, Vocabulary
    from .kernels.chain import Layers
    from .stream import Stream

Array = NDArray[Any]
State = tuple[Any, ...] | None


# From here on OpenBLAS takes several threads for a QR. At 512 units two took 136 ms and one 56, on a machine
# with other work, where an LSTM's four once took 34 s.
WIDE = 64


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
    initialize
        False leaves all parameters 0 and draws nothing: for weights that come from elsewhere.

    Attributes
    ----------
    params, grads : Params
        All parameters and all gradients, each in one flat buffer; names are ``"<position>.<name>"``, such as
        ``"0.weight_ih"``.
    vocabulary : Vocabulary or None
        What ids stand for; None at first. ``rnncore.save`` writes it, ``rnncore.load`` reads it.
    task : Task or None
        What the outputs stand for; saved and loaded likewise.
    metadata : dict
        A user's own facts, as ``rnncore.save(..., metadata=)`` wrote them; empty at first.
    in_features : int or None
        F of x; None for ids, or where any number will do.
    frozen : tuple of str
        Names of the parameters that training must not move; see ``freeze``.
    """

    vocabulary: Vocabulary | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})
    task: Task | None = None

    def __init__(
        self, *layers: Layer, seed: int = 0, dtype: DTypeLike = "float32", initialize: bool = True
    ) -> None:
        if not layers:
            raise ValueError("a network wants at least one layer")
        seen: set[int] = set()
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {position} is a {type(layer).__name__}, but a layer is wanted")
            if layer.rng is not None or id(layer) in seen:
                raise ValueError(f"layer {position}, {layer}, belongs to a network already: make a new one")
            seen.add(id(layer))
        self.in_features = check_chain(layers)
        self.dtype = check_dtype(dtype)
        self.layers = layers
        self.seed = check_seed(seed)
        self.rng = np.random.default_rng(self.seed)
        self.frozen: tuple[str, ...] = ()
        self.training = True
        self.packed = False
        self.chain: Layers | None = None
        self._bind()
        if initialize:
            with one_blas_thread() if self._is_wide() else nullcontext():
                for layer in layers:
                    layer.initialize(layer.params, self.rng)

    def _is_wide(self) -> bool:
        """Whether a matrix is so large that LAPACK, for initial weights, would take several threads."""
        return any(min(array.shape) >= WIDE for array in self.params.values() if array.ndim > 1)

    def _bind(self) -> None:
        """Make the two buffers and give each layer its views."""
        shapes = {
            f"{position}.{name}": shape
            for position, layer in enumerate(self.layers)
            for name, shape in layer.parameter_shapes().items()
        }
        self.params = Params(shapes, self.dtype)
        self.grads = Params(shapes, self.dtype)
        for position, layer in enumerate(self.layers):
            names = layer.parameter_shapes()
            params = {name: self.params[f"{position}.{name}"] for name in names}
            grads = {name: self.grads[f"{position}.{name}"] for name in names}
            layer.bind(params, grads, self.dtype, self.rng)

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the buffers, of which the layers' arrays are views, are copied once."""
        flat = {"params": self.params.flat.copy(), "grads": self.grads.flat.copy()}
        kept = {name: value for name, value in self.__dict__.items() if name != ENTERED}
        return kept | flat | {"packed": False, "chain": None}

    def __copy__(self) -> Network:
        return copy.deepcopy(self)  # a layer belongs to one network

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()
        self.params.flat[:], self.grads.flat[:] = state["params"], state["grads"]

    def config(self) -> dict[str, Any]:
        """The architecture as JSON can hold it."""
        layers = [describe(layer) for layer in self.layers]
        frozen = {"frozen": list(self.frozen)} if self.frozen else {}
        return {"layers": layers, "seed": self.seed, "dtype": str(self.dtype), **frozen}

    def parts(self) -> list[Layer]:
        """All layers, each followed by those within it."""
        return [part for layer in self.layers for part in parts_of(layer)]

    def freeze(self, *patterns: str) -> Network:
        """Freeze parameters by name or pattern, such as ``"0.weight_hh"`` or ``"0.*"``; returns the network.

        Their gradients stay 0, so that no optimizer moves them; the Trainer also keeps penalties and weight
        decay from them. ``frozen`` has their names.

        Raises
        ------
        TypeError, ValueError
            If a pattern is no text, or matches no parameter.
        """
        chosen = set(self.frozen)
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise TypeError(f"a pattern is {pattern!r}, but a name, such as '0.bias' or '0.*', is wanted")
            known = pattern in self.params
            matches = {pattern} if known else {name for name in self.params if fnmatchcase(name, pattern)}
            if not matches:
                raise ValueError(f"{pattern!r} matches none of the parameters {', '.join(self.params)}")
            chosen |= matches
        self.frozen = tuple(name for name in self.params if name in chosen)
        for name in self.frozen:
            self.grads[name].fill(0)
        return self

    def unfreeze(self) -> Network:
        """Let all parameters move again."""
        self.frozen = ()
        return self

    def train(self, mode: bool = True) -> Network:
        """Switch dropout on (or off, with ``mode=False``) and return the network."""
        self.training = check_flag("mode", mode)
        for layer in self.layers:
            layer.training = self.training
        return self

    def eval(self) -> Network:
        """Switch to evaluation: dropout passes its input unchanged."""
        return self.train(False)

    def evaluating(self) -> AbstractContextManager[Network]:
        """Evaluation for as long as the block lasts."""
        return evaluation(self)

    def inference_mode(self) -> AbstractContextManager[Network]:
        """For many forward passes with the same weights: these are packed once, and no tape is kept.

        ``with net.inference_mode(): y, state, _ = net.forward(x)``. Results are the same bits as without, and
        passes from several threads may share it. Until the end of the block the parameters are read-only:
        NumPy refuses to write to ``params``. Dropout is what `train` and `eval` say.

        Raises
        ------
        RuntimeError
            If the network is in inference mode already, also in another thread.
        """
        return inference(self)

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
            ``(T, B, F)`` numbers, or ``(T, B)`` integer ids if the first layer is an embedding; a dictionary
            of such arrays if the first layer has several inputs. Here and in
            ``state`` an array is also what has the buffer protocol or ``__array__``; its dtype must fit.
        state
            What an earlier call returned, to go on from there; None for zero states.
        lengths
            Steps of each row, ``(B,)``, in any order; None where all rows have T. What lies beyond never
            reaches a result. Or a mask, ``bool (T, B)``, of the steps that count: the state is carried over
            the others, where y is 0. A row of no steps gives zeros and keeps its state.
        record
            False for inference: no tape is kept.

        Returns
        -------
        y, state, tape
            ``state`` and ``tape`` have one entry per layer; ``tape`` is None with ``record=False``, and in
            `inference_mode`. It refers to x and, where the last layer is recurrent, to y: leave both as they
            are until `backward` is done.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, shape or range than wanted, or x is not finite.
        ExplodingState
            If a state leaves the range that its layer allows, a FloatingPointError.
        """
        x = x if self.layers[0].names else take_array("x", x)
        state = take_state("state", state)
        record = check_flag("record", record) and not self.packed
        kept = find_kept(x, lengths)
        if kept is not None:
            self._check_states("state", state, kept.shape[1])
            return masked_forward(self, x, state, kept, record)
        self._check_states("state", state, self._check_input(x, lengths))
        if record and isinstance(x, np.ndarray):
            x = x.view()  # the caller may give x another shape
        states, tapes = [], []
        for position, layer in enumerate(self.layers):
            entering = None if state is None else state[position]
            try:
                x, final, tape = layer.forward(x, entering, lengths, record)
            except ExplodingState as error:
                raise ExplodingState(f"layer {position}, {error}") from None
            states.append(final)
            tapes.append(tape)
            if layer.pools:
                lengths = None
        return x, tuple(states), tuple(tapes) if record else None

    def infer(self, x: Array, lengths: Any = None) -> Array:
        """y in evaluation, by the shortest way: for many short calls, such as sentences one by one.

        The same bits as of ``forward``'s y after ``eval``, from zero states; `training` may be what it is. A
        call of up to 10 million flops on up to 2 MiB of weights, an embedding's table not counted, runs
        through the chain in compiled code, both directions of a `Bidirectional` layer and pooling included.
        Its weights are packed once and again only after they have changed, which each call looks for
        outside of `inference_mode`. Every other call is one of ``forward``.

        Parameters
        ----------
        x, lengths
            As for `forward`.

        Returns
        -------
        y : ndarray
            A new array.

        Raises
        ------
        TypeError, ValueError, ExplodingState
            As `forward` does.
        """
        if self.chain is not None:
            y = self.chain.run(x, lengths, self.packed)
            if y is not None:
                return y
        from .inference import infer  # which `import rnncore` does not wait for

        return infer(self, x, lengths)

    def backward(
        self,
        dy: Array,
        tape: Any,
        dstate: State = None,
        extra: Mapping[int, Array] | None = None,
        input_gradient: bool = True,
    ) -> tuple[Array | None, tuple[Any, ...]]:
        """Go back along the tape; adds into ``grads``, but for frozen parameters.

        Parameters
        ----------
        dy
            The gradient of y, of its shape.
        tape
            What forward returned.
        dstate
            The gradients of the final states, one entry per layer; None for zero.
        extra
            Gradients that enter at the outputs of layers besides, by the layer's position, as those of a
            penalty on activity do; None for none.
        input_gradient
            False where nobody asks for dx, as in training: it is None then, and its product is saved.

        Returns
        -------
        dx, dstate
            The gradients of the input (None for ids) and of each layer's initial state.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or shape than wanted; ``grads`` are as before then.
        """
        if tape is None:
            raise ValueError(
                "tape is None: backward needs the tape of a forward pass with record=True, and not one in "
                "inference mode"
            )
        if isinstance(tape, MaskedTape):
            dstate = take_state("dstate", dstate)
            self._check_states("dstate", dstate, tape.kept.shape[1])
            return masked_backward(self, dy, tape, dstate, extra, input_gradient)
        self._check_entries("tape", tape)
        for position, (layer, entry) in enumerate(zip(self.layers, tape, strict=True)):
            layer.check_tape(f"tape[{position}]", entry)
        # A network without recurrent layers has no state, of whatever number of rows.
        rows = next((rows for entry in tape if (rows := getattr(entry, "rows", None)) is not None), 0)
        dy, dstate = take_array("dy", dy), take_state("dstate", dstate)
        if dy is None:
            raise TypeError("dy is None, but a NumPy array is wanted")
        self._check_states("dstate", dstate, rows)
        lowest = 0
        while not input_gradient and lowest < len(self.layers) - 1 and not self.layers[lowest].params:
            lowest += 1  # below the first parameters nobody asks for a gradient
        dstates = []
        gradient: Array | None = dy
        for position in reversed(range(lowest, len(self.layers))):
            upstream = None if dstate is None else dstate[position]
            assert gradient is not None  # only ids have none, and they come first
            if extra is not None and position in extra:
                # In place but for the caller's array, which the top layers may hand through.
                sums = empty(gradient.shape, self.dtype) if np.may_share_memory(gradient, dy) else gradient
                with flushing():
                    gradient = np.add(gradient, extra[position], out=sums)
            wanted = input_gradient or position > lowest
            gradient, initial = self.layers[position].backward(gradient, tape[position], upstream, wanted)
            dstates.append(initial)
        for name in self.frozen:
            self.grads[name].fill(0)
        return gradient, (None,) * lowest + tuple(reversed(dstates))

    def objective(self, batch: Any, loss: Any) -> Callable[[Array], tuple[float, NDArray[np.float64]]]:
        """The loss as a function of all parameters, as ``scipy.optimize.minimize(..., jac=True)`` wants it.

        Parameters
        ----------
        batch
            Has ``x``, ``target`` and ``lengths``, such as a ``Batch``, or is a tuple of the first two or all
            three; whole sequences from zero states.
        loss
            Called as ``loss(y, target, lengths)``, and with ``weights`` where the batch has some.

        Returns
        -------
        f
            ``value, gradient = f(flat)``. Copies ``flat``, ``(P,)`` of any float type, into ``params.flat``
            (in a float32 network it is rounded), so the network holds the parameters of the last call;
            ``grads`` are overwritten. Dropout is off, since a minimizer wants the same value for the same
            parameters. ``gradient`` is float64 and belongs to the caller.

        Raises
        ------
        ValueError
            If the batch has ``starts``: states are not reset on the way here; or from f, if ``flat`` has
            another shape.
        RuntimeError
            In inference mode, whose parameters are read-only; from f as well.
        """
        from .objective import objective  # which running a network does not wait for

        return objective(self, batch, loss)

    def stream(self, batch: int = 1, softmax: bool = False) -> Stream:
        """The network as something that answers one step at a time, as in evaluation and with zero states.

        Parameters
        ----------
        batch
            B, the rows that a step advances at once.
        softmax
            Whether the result is the softmax of the last layer's.

        Returns
        -------
        Stream
            With `step`, `run`, `state`, `reset` and `refresh`. It runs with the weights as they are now.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or range than wanted, or a layer does not go step
            by step (docs/streaming.md lists them).
        """
        from .stream import stream  # which `import rnncore` does not wait for

        return stream(self, batch, softmax)

    def summary(self) -> str:
        """The layers with their shapes, parameters and multiply-adds, as a table to print.

        Multiply-adds are those of the products with weights, for one row and one step.

        Examples
        --------
        >>> from rnncore import Dense, Elman, Embedding, Network
        >>> print(Network(Embedding(30, 8), Elman(8, 4), Dense(4, 2)).summary())
           layer                                                  y          parameters  multiply-adds
        ----------------------------------------------------------------------------------------------
        0  Embedding(num_embeddings=30, embedding_dim=8)          (T, B, 8)         240              0
        1  Elman(input_size=8, hidden_size=4, activation='tanh')  (T, B, 4)          52             48
        2  Dense(in_features=4, out_features=2)                   (T, B, 2)          10              8
        ----------------------------------------------------------------------------------------------
           float32                                                                  302             56
        """
        from .summary import summary  # which `import rnncore` does not wait for

        return summary(self)

    def _check_input(self, x: Any, lengths: Any) -> int | None:
        """Check x and lengths before any layer acts (dropout would draw); returns the number of rows."""
        if self.layers[0].names:
            return int(self.layers[0].check_named(x, lengths))  # type: ignore[attr-defined]
        if self.layers[0].takes_ids:  # which checks them before any other layer acts
            return x.shape[1] if isinstance(x, np.ndarray) and x.ndim == 2 else None
        rows_will_do = getattr(x, "ndim", 3) == 2 and all(layer.takes_rows for layer in self.layers)
        axes = "BF" if rows_will_do else "TBF"
        check_array("x", x, self.dtype, axes, (*(None,) * (len(axes) - 1), self.in_features))
        if not x.size:
            raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
        check_finite("x", x, None if rows_will_do else check_lengths(lengths, *x.shape[:2]))
        return int(x.shape[-2])

    def _check_entries(self, argument: str, entries: Any) -> None:
        if not isinstance(entries, tuple) or len(entries) != len(self.layers):
            raise ValueError(
                f"{argument} is no tuple of {len(self.layers)} entries, one per layer, as forward returns it"
            )

    def _check_states(self, argument: str, state: Any, rows: int | None) -> None:
        if state is None or rows is None:
            return
        self._check_entries(argument, state)
        for position, (layer, part) in enumerate(zip(self.layers, state, strict=True)):
            layer.check_state(f"{argument}[{position}]", part, rows)

    def __repr__(self) -> str:
        chain = ", ".join(map(repr, self.layers))
        return f"Network({chain}, seed={self.seed}, dtype={str(self.dtype)!r})"
