"""What layers must fit each other in a chain."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Layer


def check_chain(layers: Sequence[Layer]) -> int | None:
    """Raise ValueError unless each layer can take what comes; returns the features that x must have."""
    wanted: int | None = None
    given: int | None = None
    pooled = False
    for position, layer in enumerate(layers):
        takes = layer.features()[0]
        if position and layer.takes_ids:
            raise ValueError(f"layer {position}, {layer}, takes ids, so it can only be the first layer")
        if pooled and not layer.takes_rows:
            raise ValueError(f"layer {position}, {layer}, takes steps, but a layer before it leaves only one")
        if takes is not None and given is not None and takes != given:
            came = f"the one before gives {given}"
            raise ValueError(f"layer {position}, {layer}, takes {takes} features, but {came}")
        if given is None and wanted is None:
            wanted = takes
        given = layer.gives(given)
        pooled = pooled or layer.pools
    return wanted
