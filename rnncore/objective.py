"""`Network.objective`: the loss as a function of all parameters, for other people's minimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .data.batch import as_batch

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]


def objective(
    network: Network, batch: Any, loss: Any
) -> Callable[[Array], tuple[float, NDArray[np.float64]]]:
    """See `Network.objective`."""
    _require_writable(network)
    batch = as_batch(batch)
    if getattr(batch, "starts", None) is not None:
        raise ValueError("batch has starts, but an objective runs whole sequences: it must have none")
    weights = getattr(batch, "weights", None)
    more = {} if weights is None else {"weights": weights}
    params, grads = network.params, network.grads

    def value_and_gradient(flat: Array) -> tuple[float, NDArray[np.float64]]:
        _require_writable(network)
        given = np.asarray(flat)
        if given.shape != params.flat.shape:
            raise ValueError(f"flat has shape {given.shape}, but {params.flat.shape} is wanted")
        if given is not params.flat:
            params.flat[:] = given
        with network.evaluating():
            y, _, tape = network.forward(batch.x, lengths=batch.lengths)
            value, dy = loss(y, batch.target, batch.lengths, **more)
            network.zero_grad()
            network.backward(dy, tape, input_gradient=False)
        return float(value), grads.flat.astype(np.float64)

    return value_and_gradient


def _require_writable(network: Network) -> None:
    if network.packed:
        raise RuntimeError(
            "this network is in inference mode, which an objective cannot set the parameters of: "
            "minimize outside of it"
        )
