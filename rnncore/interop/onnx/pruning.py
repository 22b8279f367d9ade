"""Which nodes of a graph matter to its outputs, and which inputs only states come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .cells import GATES

# What only moves numbers; the first input is what is moved, of Concat all are.
MOVES = {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def prune(graph: Any) -> None:
    """Leave of a graph what its outputs depend on: nodes, weights and inputs."""
    names = {value.name for value in graph.output}
    nodes = []
    for node in reversed([*graph.node]):
        if names & {*node.output}:
            nodes.append(node)
            names |= {*node.input}
    parts = {
        "node": nodes[::-1],
        "initializer": [tensor for tensor in graph.initializer if tensor.name in names],
        "input": [value for value in graph.input if value.name in names],
    }
    for field, kept in parts.items():
        if len(kept) < len(getattr(graph, field)):
            graph.ClearField(field)
            getattr(graph, field).extend(kept)


def state_inputs(nodes: Iterable[Any], inputs: Iterable[str]) -> set[str]:
    """The inputs that come to recurrent operators as initial states, moved but not changed."""
    made = {name: node for node in nodes for name in node.output}
    waiting = [name for node in made.values() if node.op_type in GATES for name in [*node.input][5:7] if name]
    seen: set[str] = set()
    for name in waiting:  # which grows
        node = made.get(name)
        if name in seen:
            continue
        seen.add(name)
        if node is not None and node.op_type in MOVES:
            waiting += [*node.input] if node.op_type == "Concat" else [*node.input][:1]
    return seen & {*inputs}
