"""The embedding layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import initializers, kernels
from ..brief import brief
from ..checks import check_array, check_lengths, check_size, padding_mask
from ..kernels.memory import empty
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class EmbeddingTape:
    """The ids as intp (T, B), -1 in the padding, of a table of so many rows."""

    ids: NDArray[np.intp]
    num_embeddings: int


class Embedding(Layer):
    """y[t, b] = weight[x[t, b]]: integer ids in, rows of a table out.

    Parameters
    ----------
    num_embeddings, embedding_dim
        V rows of E features, at least 1 each; the table starts as a standard normal, as in PyTorch.

    Notes
    -----
    x is ``(T, B)`` of any integer type with ids in [0, V); y is ``(T, B, E)``, 0 in the padding. There is no
    gradient of ids: backward returns None for dx.
    """

    takes_ids = True
    tape_type = EmbeddingTape
    backend: ModuleType = kernels

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings = check_size("num_embeddings", num_embeddings)
        self.embedding_dim = check_size("embedding_dim", embedding_dim)

    def config(self) -> dict[str, Any]:
        return {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}

    def features(self) -> tuple[int | None, int | None]:
        return None, self.embedding_dim

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def multiply_adds(self) -> int:
        return 0  # a row of the table is copied

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        initializers.normal(params["weight"], rng)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, EmbeddingTape | None]:
        self.require_bound()
        ids = self._check_ids(x, lengths)
        y = empty((*ids.shape, self.embedding_dim), self.dtype)
        self.backend.embedding_forward(ids, self.params["weight"], y)
        return y, None, EmbeddingTape(ids, self.num_embeddings) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[None, State]:
        self.check_tape("tape", tape)
        dy = check_array("dy", dy, self.dtype, "TBE", (*tape.ids.shape, self.embedding_dim))
        self.backend.embedding_backward(dy, tape.ids, self.grads["weight"])
        return None, None

    def fits(self, tape: Any) -> bool:
        return bool(tape.num_embeddings == self.num_embeddings)

    def _check_ids(self, x: Array, lengths: Any) -> NDArray[np.intp]:
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu":
            came = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x is {came}, but an embedding wants an array of integer ids")
        if x.ndim != 2 or not x.size:
            raise ValueError(f"x has shape {x.shape}, but ids of shape (T, B), at least one, are wanted")
        lengths = check_lengths(lengths, *x.shape)
        ids = np.array(x, dtype=np.intp, order="C")
        if lengths is not None:
            ids[padding_mask(lengths, len(ids))] = 0
        if ids.min() < 0 or ids.max() >= self.num_embeddings:
            t, b = np.argwhere((ids < 0) | (ids >= self.num_embeddings))[0]
            last = self.num_embeddings - 1
            raise ValueError(f"x[{t}, {b}] is {x[t, b]}, but ids from 0 to {last} are wanted")
        if lengths is not None:
            ids[padding_mask(lengths, len(ids))] = -1
        ids.flags.writeable = False  # a tape keeps them
        return ids
