"""ONNX files: ``rnncore.interop.onnx.load``, which runs what it reads beside the file."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign import hostile, nets
from campaign.formats.reading import read
from campaign.isolation import Limits
from campaign.subjects import Subject
from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, Embedding, LastStep, MeanPool, Network

EXAMPLES = Path(__file__).resolve().parents[3] / "tests" / "onnx_models"
OPERATORS = (
    *("Identity", "Add", "MatMul", "Slice", "Squeeze", "Concat", "Expand", "Reshape"),
    *("Loop", "Scan", "If", "Cast"),
)


@cache
def sound() -> list[bytes]:
    """What we export, and what other exporters made."""
    from rnncore.interop.onnx import export

    found = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.onnx")) if path.stat().st_size < 50_000]
    chains = (
        (Embedding(4, 2), GRU(2, 3), LastStep(), Dense(3, 2)),
        (LSTM(2, 3, peepholes=True), Bidirectional(LSTM(3, 2)), MeanPool()),
        (Elman(2, 3), Bidirectional(GRU(3, 2, reset_after=False), "sum"), Dense(2, 2)),
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, chain in enumerate(chains):
            path = Path(folder) / f"{number}.onnx"
            export(Network(*chain, seed=number), path)
            found.append(path.read_bytes())
    return found


def make(rng: Generator) -> bytes:
    return changed(rng, nets.one(rng, sound()))


def changed(rng: Generator, data: bytes) -> bytes:
    """The file with a few fields changed, or a few bytes."""
    import onnx

    if rng.random() < 0.25:
        return hostile.mutate_bytes(rng, data)
    proto = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 4))):
        mutate(rng, proto)
    return bytes(proto.SerializeToString())


def mutate(rng: Generator, proto: Any) -> None:
    """One field of one message, anywhere in the model, or one node of the graph."""
    kind, graph = int(rng.integers(6)), proto.graph
    if kind == 0 and len(graph.node):
        number = int(rng.integers(len(graph.node)))
        change = int(rng.integers(5))
        if change == 0:
            del graph.node[number]
        elif change == 1:
            graph.node.add().CopyFrom(graph.node[number])
        elif change == 2:
            graph.node[number].op_type = hostile.choose(rng, OPERATORS)
        elif change == 3 and len(graph.node[number].input):
            names = [name for node in graph.node for name in (*node.input, *node.output)]
            place = int(rng.integers(len(graph.node[number].input)))
            graph.node[number].input[place] = hostile.choose(rng, names)
        else:
            other = graph.node[int(rng.integers(len(graph.node)))]
            graph.node[number].attribute.extend(other.attribute)
        return
    if kind == 1 and len(graph.initializer):
        mutate_tensor(rng, graph.initializer[int(rng.integers(len(graph.initializer)))])
        return
    messages = list(walk(proto))
    mutate_field(rng, messages[int(rng.integers(len(messages)))])


def mutate_tensor(rng: Generator, tensor: Any) -> None:
    """Sizes, type or numbers of an initializer."""
    kind = int(rng.integers(6))
    if kind == 0 and len(tensor.dims):
        tensor.dims[int(rng.integers(len(tensor.dims)))] = bounded(hostile.integer(rng))
    elif kind == 1:
        tensor.dims.append(bounded(hostile.integer(rng)))
    elif kind == 2:
        tensor.data_type = int(rng.integers(0, 30))
    elif kind == 3:
        tensor.raw_data = hostile.mutate_bytes(rng, tensor.raw_data)
    elif kind == 4:
        tensor.data_location = 1
        tensor.external_data.add(
            key="location", value=hostile.choose(rng, ("/etc/passwd", "../x", "file.onnx"))
        )
    elif tensor.raw_data and tensor.data_type in (1, 7):
        dtype = "<f4" if tensor.data_type == 1 else "<i8"
        if len(tensor.raw_data) % np.dtype(dtype).itemsize == 0:
            tensor.raw_data = hostile.numbers(rng, np.frombuffer(tensor.raw_data, dtype)).tobytes()


def bounded(value: int) -> int:
    return max(-(2**63), min(2**63 - 1, value))


def walk(message: Any, most: int = 3000) -> Any:
    """A message and those inside it."""
    waiting = [message]
    for found in waiting:
        yield found
        for field, value in found.ListFields():
            if field.type == field.TYPE_MESSAGE and len(waiting) < most:
                waiting += list(value) if field.is_repeated else [value]


def mutate_field(rng: Generator, message: Any) -> None:
    field = hostile.choose(rng, list(message.DESCRIPTOR.fields))
    if field.type == field.TYPE_MESSAGE:
        if rng.random() < 0.5:
            message.ClearField(field.name)
        elif field.is_repeated and len(values := getattr(message, field.name)):
            values.add().CopyFrom(values[int(rng.integers(len(values)))])
        return
    try:
        value = scalar(rng, field)
        if not field.is_repeated:
            setattr(message, field.name, value)
        elif len(values := getattr(message, field.name)) and rng.random() < 0.7:
            values[int(rng.integers(len(values)))] = value
        else:
            values.extend([value] * int(hostile.choose(rng, (1, 1, 2, 300))))
    except (ValueError, TypeError):  # what no message can hold
        message.ClearField(field.name)


def scalar(rng: Generator, field: Any) -> Any:
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return hostile.choose(rng, hostile.FLOATS)
    if field.type == field.TYPE_STRING:
        return hostile.choose(
            rng, (*hostile.TEXTS[:-12], "GRU", "LSTM", "x", "T", "forward", "bidirectional", "Tanh")
        )
    if field.type == field.TYPE_BYTES:
        return hostile.mutate_bytes(rng, b"Tanh")
    if field.type == field.TYPE_ENUM:
        return int(rng.integers(0, 30))
    if field.type in (field.TYPE_INT32, field.TYPE_UINT32):
        return int(hostile.choose(rng, (0, 1, 2, 8, 10, 16, 2**31 - 1)))
    return bounded(hostile.integer(rng))


def run(rng: Generator, path: Path) -> None:
    from rnncore.interop.onnx import load

    nets.exercise(read(lambda: load(path), path).net)


NEEDS = ("onnx", "onnxruntime")
SUBJECT = Subject("onnx", "ONNX files", run, make, changed, ".onnx", Limits(10), needs=NEEDS)
