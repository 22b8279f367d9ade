"""`Network.summary`: a network's layers, shapes, parameters and work as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network

WIDEST = 60  # characters of a layer's arguments
HEAD = "", "layer", "y", "parameters", "multiply-adds"


def summary(network: Network) -> str:
    """The table; multiply-adds are those of the products with weights, for one row and one step."""
    rows = [HEAD]
    features, pooled = network.in_features, False
    total = 0
    for place, layer in enumerate(network.layers):
        features = layer.gives(features)
        pooled = pooled or layer.pools
        named = ", ".join(str(size) for size in ("B" if pooled else "T, B", features or "F"))
        size = sum(array.size for array in layer.params.values())
        frozen = size and all(f"{place}.{name}" in network.frozen for name in layer.params)
        work = layer.multiply_adds()
        total += work
        count = f"{size:,}{' frozen' if frozen else ''}"
        rows.append((str(place), _short(repr(layer)), f"({named})", count, f"{work:,}"))
    rows.append(("", f"{network.dtype}", "", f"{network.params.flat.size:,}", f"{total:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = []
    for row in rows:
        left = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
        right = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*left, *right]).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 4]}...)"
