"""What a network says of a collection, in the order of the collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .arguments import require

Array = NDArray[Any]


def predict(net: Network, source: Any) -> Array | list[Array]:
    """Run a network over a source that knows which sequences its batches hold; dropout is off.

    Parameters
    ----------
    net
        The network.
    source
        Has ``batches(0)`` and ``indices(0)``, as RaggedSource and Windows do.

    Returns
    -------
    y
        ``(N, C)`` behind a pooling layer, otherwise a list of ``(T_n, C)``; row n belongs to sequence n of
        the collection, in whatever order the batches came.
    """
    require("source", source, "batches", "indices")
    rows: dict[int, Array] = {}
    training = net.training
    net.eval()
    try:
        for indices, batch in zip(source.indices(0), source.batches(0), strict=True):
            y, _, _ = net.forward(batch.x, None, batch.lengths, record=False)
            for b, index in enumerate(indices.tolist()):
                if y.ndim == 2:
                    rows[index] = y[b]
                else:
                    rows[index] = y[: len(y) if batch.lengths is None else batch.lengths[b], b].copy()
    finally:
        net.train(training)
    ordered = [rows[index] for index in range(len(rows))]
    return np.stack(ordered) if ordered[0].ndim == 1 else ordered
