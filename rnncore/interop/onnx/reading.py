"""A network out of an ONNX file, run beside the file before it is handed over.

The file is read as if a stranger had written it: nothing but it is opened, no size in it is believed, and
what is no chain of layers is refused by the name of its node.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...disk import open_without_waiting
from ...layers import Bidirectional, Embedding
from ...network import Network
from ..cells import fill
from .flows import Flow, Stacked
from .folding import Constant, read_tensor
from .restoring import Restorer
from .runtime import TOLERANCE, Report, difference, hint, require_onnx, run, runtimes
from .tracing import Tracer

Array = NDArray[Any]

MAX_FILE = 2**31 - 1  # the limit of protobuf
MAX_NODES = 100_000
MAX_NUMBERS = 1 << 25  # that a trial run of a small file may compute; a large file has larger layers
OPSETS = range(7, 27)
FREE = (5, 3)  # what a free axis of an input is tried with: the first, all others


class Model:
    """A network, and the face that its ONNX file had.

    Attributes
    ----------
    net : Network
        Takes and gives time-major arrays; a softmax at the end of the file is not part of it.
    report : Report
        How far the network's results were from those of the file.
    inputs : tuple of str
        Names of the file's inputs.
    """

    def __init__(
        self, net: Network, tracer: Tracer, outputs: list[Flow | Stacked], inputs: tuple[str, ...]
    ) -> None:
        self.net, self.inputs = net, inputs
        self.report = Report(float("nan"), "nothing")
        self._tracer, self._outputs = tracer, outputs

    def __repr__(self) -> str:
        return f"<Model of {self.net}, inputs {', '.join(self.inputs)}>"

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The file's outputs from its own inputs, in its own layout, computed by the network."""
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise ValueError(f"inputs lack {missing[0]!r}; wanted are {', '.join(self.inputs)}")
        tracer, net = self._tracer, self.net
        assert tracer.main is not None
        x = np.asarray(inputs[tracer.main])
        x = np.ascontiguousarray(x if tracer.order == "TB" else np.swapaxes(x, 0, 1))
        lengths = None if tracer.lengths is None else np.asarray(inputs[tracer.lengths])
        mode = net.training
        net.eval()
        try:
            y, states, _ = net.forward(x, self._state(inputs), lengths, record=False)
        finally:
            net.train(mode)
        return [self._output(flow, y, states, x.shape) for flow in self._outputs]

    def _state(self, inputs: Mapping[str, Array]) -> tuple[Any, ...] | None:
        """The initial states of all layers, where the file takes some."""
        if not self._tracer.initial:
            return None
        given: dict[tuple[int, int], Array] = {}
        for name, (layer, part, layout) in self._tracer.initial.items():
            array = np.asarray(inputs[name])
            given[layer, part] = np.swapaxes(array, 0, 1) if layout else array
        states: list[Any] = [None] * len(self.net.layers)
        for place in {layer for layer, _ in given}:
            parts = len(self._cell(place).state_names)
            first = next(array for (layer, _), array in given.items() if layer == place)
            arrays = [given.get((place, part), np.zeros_like(first)) for part in range(parts)]
            ways = [
                tuple(np.ascontiguousarray(array[way]) for array in arrays)
                if parts > 1
                else arrays[0][way].copy()
                for way in range(len(first))
            ]
            states[place] = tuple(ways) if len(ways) > 1 else ways[0]
        return tuple(states)

    def _cell(self, place: int) -> Any:
        layer = self.net.layers[place]
        return layer.layer if isinstance(layer, Bidirectional) else layer

    def _output(
        self, flow: Flow | Stacked, y: Array, states: tuple[Any, ...], shape: tuple[int, ...]
    ) -> Array:
        """One output in the file's layout."""
        if isinstance(flow, Stacked):
            return np.concatenate([self._output(part, y, states, shape) for part in flow.parts], flow.axis)
        sizes = {**flow.sizes, "T": shape[0], "B": shape[1]}
        atoms = [atom for axis in flow.axes for atom in axis]
        ours = [atom for atom in "TBDF" if atom in atoms]
        array = y
        if flow.state is not None:
            ways = states[flow.layers - 1] if flow.sizes["D"] == 2 else (states[flow.layers - 1],)
            single = len(self._cell(flow.layers - 1).state_names) == 1
            array = np.stack([way if single else way[flow.state] for way in ways], axis=1)  # (B, D, H)
        elif flow.head == "Softmax":
            array = np.exp(y - y.max(axis=-1, keepdims=True))
            array /= array.sum(axis=-1, keepdims=True)
        array = array.reshape([sizes[atom] for atom in ours]).transpose([ours.index(atom) for atom in atoms])
        return array.reshape([int(np.prod([sizes[atom] for atom in axis], dtype=int)) for axis in flow.axes])


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model of RNN, LSTM and GRU, Gather, Gemm or MatMul and Softmax, and what exporters put around.

    Parameters
    ----------
    path
        The ``.onnx`` file; its weights must lie in it.

    Returns
    -------
    model
        ``model.net`` is the network, ``model.report`` says how far its results are from the file's.

    Raises
    ------
    ValueError
        If the file is damaged, or something in it has no counterpart here; the message names the file and
        the node. The two conventions of a GRU's reset gate (linear_before_reset) are different layers.
    OSError
        If it cannot be opened.
    ModuleNotFoundError
        If the onnx package is not installed.
    """
    onnx = require_onnx()
    name = os.fspath(path)
    data = _read(name)
    try:
        proto = _parse(onnx, data)
        model, shapes = _trace(onnx, proto, len(data))
        _check_size(model, shapes, MAX_NUMBERS + 64 * len(data))
        _compare(onnx, proto, model, shapes)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    return model


def _read(name: str) -> bytes:
    with open_without_waiting(name) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} cannot be read: it is no regular file")
        if status.st_size > MAX_FILE:
            raise ValueError(
                f"{name} cannot be read: it has {status.st_size} bytes, and {MAX_FILE} are the limit"
            )
        return file.read()


def _parse(onnx: Any, data: bytes) -> Any:
    """The model, if it is one that may be looked into."""
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(data)
    except (DecodeError, RecursionError) as error:
        raise ValueError(f"it is no ONNX model: {str(error)[:200]}") from error
    if not proto.HasField("graph") or not proto.graph.output:
        raise ValueError("it is no ONNX model: it has no graph with outputs")
    if proto.functions or proto.graph.sparse_initializer:
        raise ValueError("it has functions or sparse weights of its own, and only plain graphs are known")
    versions = [opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise ValueError(
            f"it has operator set {versions}, but one from {OPSETS[0]} to {OPSETS[-1]} is wanted"
        )
    if len(proto.graph.node) > MAX_NODES:
        raise ValueError(f"it has {len(proto.graph.node)} nodes, and {MAX_NODES} are the limit")
    return proto


def _trace(onnx: Any, proto: Any, size: int) -> tuple[Model, dict[str, tuple[int, ...]]]:
    """The network of the graph, with its weights."""
    graph = proto.graph
    weights = {tensor.name: read_tensor(onnx, tensor) for tensor in graph.initializer}
    shapes = {value.name: _sizes(value) for value in graph.input if value.name not in weights}
    tracer = Tracer(onnx, shapes, 4 * size + (1 << 22))
    tracer.values |= {name: Constant(array) for name, array in weights.items()}
    tracer.refuse_unknown(graph.node)
    restorer = Restorer(onnx, graph.node, weights)
    nodes = restorer.restore(value.name for value in graph.output)
    tracer.values |= {name: Constant(array) for name, array in restorer.added.items()}
    for node in nodes:
        tracer.walk(node)
    if not tracer.order:
        raise ValueError("it has no RNN, GRU or LSTM that its input goes through")
    outputs: list[Flow | Stacked] = []
    for value in graph.output:
        flow = tracer.values.get(value.name)
        for part in flow.parts if isinstance(flow, Stacked) else (flow,):
            if not isinstance(part, Flow) or part.origin != tracer.main or part.half is not None:
                raise ValueError(
                    f"its output {value.name[:80]!r} does not follow from its input {tracer.main!r}"
                )
        if isinstance(flow, Flow) and flow.state is None and flow.layers != len(tracer.chain):
            raise ValueError(
                f"its output {value.name[:80]!r} is read by other layers too, but a network is a chain"
            )
        assert isinstance(flow, (Flow, Stacked))
        outputs.append(flow)
    used = {tracer.main, tracer.lengths, *tracer.initial}
    unused = [name for name in shapes if name not in used]
    if unused:
        raise ValueError(f"its input {unused[0][:80]!r} is no input of a layer, lengths or initial state")
    recurrent = next(values for _, values in tracer.chain if "weight_hh" in values)
    try:
        net = Network(
            *(layer for layer, _ in tracer.chain), dtype=recurrent["weight_hh"].dtype, initialize=False
        )
    except TypeError as error:
        raise ValueError(str(error)) from error
    for place, (layer, values) in enumerate(tracer.chain):
        fill(layer.params, {name: values[name] for name in layer.params}, f"layer {place}, {layer},")
    return Model(net, tracer, outputs, tuple(shapes)), shapes


def _sizes(value: Any) -> tuple[int, ...]:
    """The shape to try an input with: its own where it is fixed."""
    dims = value.type.tensor_type.shape.dim
    if not 1 <= len(dims) <= 3:
        raise ValueError(f"its input {value.name[:80]!r} has {len(dims)} axes, but 1 to 3 are wanted")
    if len(dims) == 3 and dims[2].dim_value < 1:
        raise ValueError(f"its input {value.name[:80]!r} does not say how many features it has")
    return tuple(dim.dim_value if dim.dim_value > 0 else FREE[min(axis, 1)] for axis, dim in enumerate(dims))


def _check_size(model: Model, shapes: dict[str, tuple[int, ...]], limit: int) -> None:
    """Raise ValueError if the shape of the input, fixed in the file, makes the layers' results too large."""
    main = model._tracer.main
    assert main is not None
    widths = [
        shape[1] if isinstance(layer, Embedding) else shape[0]
        for layer in model.net.layers
        for shape in layer.parameter_shapes().values()
        if len(shape) == 2
    ]
    if math.prod(shapes[main][:2]) * sum(widths) > limit:
        raise ValueError(
            f"its input {main[:80]!r} has shape {shapes[main]}, which is too large to be tried: "
            "leave its steps and rows free"
        )


def _compare(onnx: Any, proto: Any, model: Model, shapes: dict[str, tuple[int, ...]]) -> None:
    """Run file and network on drawn inputs; ValueError if they differ, or nothing can run the file."""
    failure: ValueError | None = None
    for runtime in runtimes(model.net.dtype):
        # onnx.reference does not look at lengths: all rows are full then.
        inputs = _draw(onnx, proto, model, shapes, ragged=runtime == "onnxruntime")
        try:
            wanted = run(proto, inputs, runtime)
            break
        except ValueError as error:
            failure = failure or error
    else:
        assert failure is not None
        raise failure
    try:
        got = model.run(inputs)
    except (TypeError, FloatingPointError) as error:  # a state that explodes is one
        raise ValueError(str(error)) from error
    tracer = model._tracer
    for place, flow in enumerate(model._outputs):  # padding is nobody's result
        if tracer.lengths is not None and "T" in [atom for axis in flow.axes for atom in axis]:
            both = [_unpadded(array[place], flow, inputs[tracer.lengths]) for array in (got, wanted)]
            got[place], wanted[place] = both
    model.report = Report(difference(got, wanted), runtime)
    if not model.report.difference <= TOLERANCE[model.net.dtype.name]:
        apart = f"{model.report.difference:.2g} of the largest{hint(runtime)}"
        raise ValueError(f"{runtime}'s results differ from the network's by {apart}")


def _draw(
    onnx: Any, proto: Any, model: Model, shapes: dict[str, tuple[int, ...]], ragged: bool
) -> dict[str, Array]:
    """Inputs for the file, from a fixed seed."""
    tracer, first = model._tracer, model.net.layers[0]
    assert tracer.main is not None
    rng = np.random.default_rng(0)
    shape = shapes[tracer.main]
    steps, rows = shape[:2] if tracer.order == "TB" else shape[1::-1]
    types = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    kinds = onnx.TensorProto
    inputs: dict[str, Array] = {}
    for name in shapes:
        if types[name] not in (kinds.FLOAT, kinds.DOUBLE, kinds.INT32, kinds.INT64):
            raise ValueError(f"its input {name[:80]!r} is of type {types[name]}, which no layer reads")
        if name == tracer.lengths:
            drawn: Any = rng.integers(1, steps + 1, rows) if ragged else np.full(rows, steps)
        elif name == tracer.main and isinstance(first, Embedding):
            drawn = rng.integers(0, first.num_embeddings, shape)
        elif name == tracer.main:
            drawn = rng.standard_normal(shape)
        else:
            layer, _, layout = tracer.initial[name]
            ways = 2 if isinstance(model.net.layers[layer], Bidirectional) else 1
            axes = (rows, ways) if layout else (ways, rows)
            drawn = rng.standard_normal((*axes, model._cell(layer).hidden_size))
        inputs[name] = drawn.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name]))
    return inputs


def _unpadded(array: Array, flow: Flow | Stacked, lengths: Array) -> Array:
    """A copy of an output that is zero beyond the rows' lengths."""
    if ("T",) not in flow.axes or ("B",) not in flow.axes:
        raise ValueError("an output joins steps with rows of different lengths")
    time, rows = flow.axes.index(("T",)), flow.axes.index(("B",))
    moved = np.moveaxis(array.copy(), (time, rows), (0, 1))
    moved[np.arange(len(moved))[:, None] >= lengths] = 0
    return np.moveaxis(moved, (0, 1), (time, rows))
