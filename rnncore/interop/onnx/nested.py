"""Layers made of layers as ONNX nodes."""

from __future__ import annotations

from typing import Any

from ...layers import Add, Chain, Concat, Multiply, Residual
from ...layers.nested import Nested

JOINS = {Add: "Add", Residual: "Add", Multiply: "Mul"}


def add_nested(writer: Any, place: str, layer: Nested) -> bool:
    """The nodes of a layer made of layers; False where there are none for it."""
    if type(layer) is Chain:
        for name, part in layer.parts.items():
            writer.add(f"{place}.{name}", part)
        return True
    if type(layer) not in (Concat, *JOINS) or layer.names:
        return False
    start = writer.value, writer.pooled, writer.features
    results = [writer.value] if isinstance(layer, Residual) else []
    for name, part in layer.parts.items():
        writer.value, writer.pooled, writer.features = start
        writer.add(f"{place}.{name}", part)
        results.append(writer.value)
    if isinstance(layer, Concat):
        writer.node("Concat", results, axis=-1)
        return True
    joined = results[0]
    for other in results[1:]:
        joined = writer.node(JOINS[type(layer)], [joined, other])
    return True
