"""The clockwork layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import initializers
from ..checks import check_ascending
from ..kernels.memory import empty
from .base import Array, Lengths
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape


class Clockwork(Recurrent):
    """Groups of tanh units that step at their own periods (Koutník, Greff, Gomez & Schmidhuber, 2014).

    A group g steps where its period divides t, and keeps its state in between::

        h_g[t] = tanh(W_ih x[t] + sum over groups j >= g of W_gj h_j[t-1] + b)

    It hears itself and slower groups, so that slow ones, which gradients cross in few steps, are not
    disturbed by fast ones. What does not step is not computed.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1. The units are dealt out to the groups in order, as evenly as they can be.
    periods
        Ascending, from 1, at most H of them. Steps are counted from 0 in each pass: cut sequences where all
        periods end.
    recurrent_init
        What ``weight_hh`` starts as, the blocks that nobody hears aside; see `Recurrent`. The spectral radius
        is that of the rest.

    Notes
    -----
    Parameters are those of `Elman`; ``weight_hh (H, H)`` is 0 below the diagonal of blocks, and so is its
    gradient. The state is h, ``(B, H)``.
    """

    gates = 1
    one_step = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        periods: Sequence[int] | NDArray[np.integer[Any]] = (1, 2, 4, 8),
        recurrent_init: str | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, None, recurrent_init)
        self.periods = check_ascending("period", periods, "(1, 2, 4)")
        self.felt_as_is = len(self.periods) == 1
        if len(self.periods) > self.hidden_size:
            raise ValueError(
                f"periods are {self.periods}, a group of units for each, but hidden_size is {hidden_size}"
            )

    def config(self) -> dict[str, Any]:
        return {**super().config(), "periods": list(self.periods)}

    def borders(self) -> list[int]:
        """The first unit of each group, and H."""
        count = len(self.periods)
        return [group * self.hidden_size // count for group in range(count + 1)]

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        borders = self.borders()
        for first, last in pairwise(borders):
            params["weight_hh"][first:last, :first] = 0
        initializers.scale_radius(self.recurrent_init, params["weight_hh"], params["weight_hh"])

    def pack(self) -> None:
        """Nothing: each pass packs the weights for itself."""

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> RecurrentTape:
        return RecurrentTape(x, lengths, hidden)

    def _scratch(self, steps: int, rows: int) -> Array:
        sizes = self.input_size, self.hidden_size, np.array(self.periods)
        size = self.backend.clockwork_scratch_size(steps, rows, *sizes, self.dtype)
        scratch: Array = empty((size,), self.dtype)
        return scratch

    def _run_forward(self, tape: RecurrentTape, scratch: Array) -> None:
        p = self.params
        self.backend.clockwork_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"], np.array(self.periods),
            tape.hidden, scratch,
        )  # fmt: skip

    def _run_backward(
        self,
        dy: Array,
        tape: RecurrentTape,
        dstates: list[Array],
        dx: Array | None,
        scratch: Array,
        flow: Parts,
    ) -> Clipped:
        p, g = self.params, self.grads
        clipped: Clipped = self.backend.clockwork_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], np.array(self.periods), self.clip_step,
            tape.hidden, *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], scratch, *flow,
        )  # fmt: skip
        return clipped
