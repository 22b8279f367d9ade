"""A sequence within each step: characters of words, samples of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import check_lengths, padding_mask
from ..masking import Kept
from .base import Array, Layer, State
from .nested import Chain, Nested, NestedTape
from .registry import describe


class WithinStep(Nested):
    """Runs layers over a sequence of ids within each step: words as their characters (Ma & Hovy, 2016).

    x is ``(T, B, L)`` ids; each step's L ids are a sequence of its own, without those that equal ``padding``.
    y is ``(T, B, F)``, what the layers make of it; 0 for a step of nothing but padding.

    Parameters
    ----------
    *layers
        A chain that begins with an `Embedding` and ends in one row per sequence, such as ``Embedding(80, 25),
        Bidirectional(LSTM(25, 25)), LastStep(bidirectional=True)``.
    padding
        The id that fills up.
    layers
        The same as a list, as a configuration has it.
    """

    takes_ids = True

    def __init__(
        self, *given: Layer | Mapping[str, Any], padding: int = 0, layers: tuple[Any, ...] | list[Any] = ()
    ) -> None:
        if isinstance(padding, bool) or not isinstance(padding, (int, np.integer)):
            raise TypeError(f"padding is {padding!r}; expected an id, a whole number")
        self.chain = Chain(*given, *layers)
        super().__init__({str(place): layer for place, layer in enumerate(self.chain.children)})
        self.looks_ahead = False  # type: ignore[misc]  # it sees one step at a time
        if not self.chain.takes_ids or not self.chain.pools:
            raise ValueError(
                "the layers of a WithinStep must begin with an Embedding and end in one row per sequence, "
                "as after a LastStep or a MeanPool"
            )
        self.padding = int(padding)

    def config(self) -> dict[str, Any]:
        return {"layers": [describe(layer) for layer in self.children], "padding": self.padding}

    def features(self) -> tuple[int | None, int | None]:
        return self.chain.features()

    def bind(self, *arguments: Any) -> None:
        super().bind(*arguments)
        self.chain.params, self.chain.grads, self.chain.dtype, self.chain.rng = (
            self.params, self.grads, self.dtype, self.rng,
        )  # fmt: skip

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, NestedTape | None]:
        self._enter(None)
        self.chain.training = self.training
        if not isinstance(x, np.ndarray) or x.ndim != 3 or x.dtype.kind not in "iu":
            came = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x is {came}; expected integer ids (T, B, L), a sequence of L for each step")
        steps, rows, longest = x.shape
        checked = check_lengths(lengths, steps, rows)
        there = x != self.padding
        if checked is not None:
            there[padding_mask(checked, steps)] = False
        kept = Kept(there.reshape(-1, longest).T)
        features = self.features()[1]
        y, tape = np.zeros((steps * rows, features or 0), self.dtype), None
        if len(kept.rows):
            ids = np.ascontiguousarray(x.reshape(-1, longest).T)
            own, _, tape = self.chain.forward(kept.gather(ids), None, kept.lengths, record)
            y[kept.rows] = own
        y = y.reshape(steps, rows, -1)
        own_tape = NestedTape((tape,), (kept, y.shape), lengths=checked) if record else None
        return y, None, own_tape

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        kept, shape = tape.kept
        if dy.shape != shape:
            raise ValueError(f"dy has shape {dy.shape}; expected that of y, {shape}")
        if len(kept.rows):
            flat = dy.reshape(-1, dy.shape[-1])
            self.chain.backward(flat[kept.rows], tape.parts[0], None, input_gradient=False)
        return None, None

    def fits(self, tape: Any) -> bool:
        (own,) = tape.parts if len(tape.parts) == 1 else (False,)
        return own is None or (isinstance(own, NestedTape) and self.chain.fits(own))

    def __repr__(self) -> str:
        more = f", padding={self.padding}" if self.padding else ""
        return f"WithinStep({', '.join(map(repr, self.children))}{more})"
