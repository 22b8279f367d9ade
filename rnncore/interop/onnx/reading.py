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

from ...checks import one_line
from ...disk import reading
from ...layers import Bidirectional, Embedding
from ...network import Network
from ..cells import fill
from .chain import MAX_INPUT
from .flows import Flow, Stacked
from .folding import Constant, read_tensor
from .pruning import prune, state_inputs
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
            y, states, _ = net.forward(x, self.state(x.shape[1], inputs), lengths, record=False)
        finally:
            net.train(mode)
        return [self._output(flow, y, states, x.shape) for flow in self._outputs]

    def state(self, rows: int, inputs: Mapping[str, Array] | None = None) -> tuple[Any, ...] | None:
        """The state that the file's layers start from, as ``net.forward`` takes it; None if all are zero.

        Parameters
        ----------
        rows
            B.
        inputs
            The inputs of the file that are states; not needed if the initial states are fixed in the file.
        """
        starts = self._tracer.initial
        if not starts:
            return None
        states: list[Any] = [None] * len(self.net.layers)
        for layer in {layer for layer, _, _ in starts}:
            cell, both = self._cell(layer), isinstance(self.net.layers[layer], Bidirectional)
            ways = []
            for way in range(2 if both else 1):
                parts = []
                for part in range(len(cell.state_names)):
                    state = np.zeros((rows, cell.hidden_size), self.net.dtype)
                    start = starts.get((layer, part, way))
                    if start is not None and start.name is None:
                        state[:] = start.vector
                    elif start is not None:
                        assert start.name is not None
                        state[:] = start.take(np.asarray((inputs or {})[start.name]))
                    parts.append(state)
                ways.append(tuple(parts) if len(parts) > 1 else parts[0])
            states[layer] = tuple(ways) if both else ways[0]
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


def load(path: str | os.PathLike[str], values: Mapping[str, Any] | None = None) -> Model:
    """Read a model of RNN, LSTM and GRU, Gather, Gemm or MatMul and Softmax, and what exporters put around.

    What no output depends on is not looked at.

    Parameters
    ----------
    path
        The ``.onnx`` file; its weights must be in it.
    values
        Inputs of the file that are always the same, by name, such as weights or a sampling rate: they become
        constants.

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
        prune(proto.graph)
        fixed = _take_values(onnx, proto, values or {})
        size = len(data) + sum(array.nbytes for array in fixed.values())
        model, shapes = _trace(onnx, proto, fixed, size)
        _check_size(model, shapes, MAX_NUMBERS + 64 * size)
        _compare(onnx, proto, model, shapes, fixed)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {one_line(error, 1500)}") from error
    return model


def _read(name: str) -> bytes:
    with reading(name) as file:
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


def _take_values(onnx: Any, proto: Any, values: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs that the caller fixes, in the types and shapes that the file declares."""
    found: dict[str, Array] = {}
    inputs = {value.name: value for value in proto.graph.input}
    for name, given in values.items():
        if name not in inputs:
            raise ValueError(f"values has {name!r}, but its inputs are {', '.join(inputs)[:400]}")
        declared = inputs[name].type.tensor_type
        if declared.elem_type not in _types(onnx):
            raise ValueError(f"its input {name[:80]!r} is of type {declared.elem_type}, which no layer reads")
        array = np.asarray(given).astype(onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type))
        dims = [dim.dim_value for dim in declared.shape.dim]
        if array.ndim != len(dims) or any(
            size not in (0, real) for size, real in zip(dims, array.shape, strict=True)
        ):
            raise ValueError(f"values has {name!r} of shape {array.shape}, but the file declares {dims}")
        found[name] = array
    return found


def _types(onnx: Any) -> tuple[int, ...]:
    """What inputs may be."""
    kinds = onnx.TensorProto
    return kinds.FLOAT, kinds.DOUBLE, kinds.INT32, kinds.INT64


def _trace(
    onnx: Any, proto: Any, fixed: dict[str, Array], size: int
) -> tuple[Model, dict[str, tuple[int, ...]]]:
    """The network of the graph, with its weights, and the shapes that its inputs are tried with."""
    graph = proto.graph
    names = [value.name for value in graph.output]
    weights = {tensor.name: read_tensor(onnx, tensor) for tensor in graph.initializer} | fixed
    own = {value.name: value for value in graph.input if value.name not in weights}
    shapes = {name: _sizes(value) for name, value in own.items()}
    opset = next(part.version for part in proto.opset_import if part.domain in ("", "ai.onnx"))
    Tracer(onnx, {}, set(), 0, opset).refuse_unknown(graph.node)
    restorer = Restorer(onnx, graph.node, weights)
    nodes = restorer.restore(names)
    constants = {name: Constant(array) for name, array in {**weights, **restorer.added}.items()}
    states = state_inputs(nodes, shapes)

    def follow() -> Tracer:
        tracer = Tracer(onnx, shapes, states, 4 * size + (1 << 22), opset)
        tracer.values |= constants
        for node in nodes:
            tracer.walk(node)
        if not tracer.order:
            raise ValueError("it has no RNN, GRU or LSTM that its input goes through")
        return tracer

    tracer = follow()
    if _fit_rows(tracer, shapes, own):
        tracer = follow()
    return _make(tracer, names, shapes), shapes


def _fit_rows(tracer: Tracer, shapes: dict[str, tuple[int, ...]], inputs: dict[str, Any]) -> bool:
    """Try all inputs with one number of rows; True if those that are tried have changed.

    A free axis is tried with a number of its own, so states and the main input may have come apart.
    """
    main = tracer.main
    assert main is not None
    axes = {main: tracer.order.index("B")}
    axes |= {start.name: start.rows_axis() for start in tracer.initial.values() if start.name}
    if tracer.lengths is not None:
        axes[tracer.lengths] = 0
    dims = {name: inputs[name].type.tensor_type.shape.dim[axis].dim_value for name, axis in axes.items()}
    sizes = {size for size in dims.values() if size > 0} or {shapes[main][axes[main]]}
    if len(sizes) > 1:
        raise ValueError(f"its inputs have rows of different numbers: {dict(list(dims.items())[:5])}")
    (rows,) = sizes
    before = dict(shapes)
    for name, axis in axes.items():
        shapes[name] = (*shapes[name][:axis], rows, *shapes[name][axis + 1 :])
    return before != shapes


def _make(tracer: Tracer, names: list[str], shapes: Mapping[str, tuple[int, ...]]) -> Model:
    """The network, and how the file's outputs follow from its results."""
    outputs: list[Flow | Stacked] = []
    for name in names:
        flow = tracer.values.get(name)
        for part in flow.parts if isinstance(flow, Stacked) else (flow,):
            if not isinstance(part, Flow) or part.origin != tracer.main or part.half is not None:
                raise ValueError(f"its output {name[:80]!r} does not follow from its input {tracer.main!r}")
        if isinstance(flow, Flow) and flow.state is None and flow.layers != len(tracer.chain):
            raise ValueError(
                f"its output {name[:80]!r} is read by other layers too, but a network is a chain"
            )
        assert isinstance(flow, (Flow, Stacked))
        outputs.append(flow)
    taken = {tracer.main, tracer.lengths, *(start.name for start in tracer.initial.values())}
    recurrent = next(values for _, values in tracer.chain if "weight_hh" in values)
    try:
        net = Network(
            *(layer for layer, _ in tracer.chain), dtype=recurrent["weight_hh"].dtype, initialize=False
        )
    except TypeError as error:
        raise ValueError(str(error)) from error
    for place, (layer, values) in enumerate(tracer.chain):
        fill(layer.params, {name: values[name] for name in layer.params}, f"layer {place}, {layer},")
    return Model(net.eval(), tracer, outputs, tuple(name for name in shapes if name in taken))


def _sizes(value: Any) -> tuple[int, ...]:
    """The shape to try an input with: its own where it is fixed."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) == 3 and dims[2].dim_value < 1:
        raise ValueError(f"its input {value.name[:80]!r} does not say how many features it has")
    shape = tuple(dim.dim_value if dim.dim_value > 0 else FREE[min(axis, 1)] for axis, dim in enumerate(dims))
    if len(shape) > 8 or math.prod(shape) > MAX_INPUT:
        raise ValueError(
            f"its input {value.name[:80]!r} has shape {shape[:9]}, which is too large to be tried"
        )
    return shape


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


def _compare(
    onnx: Any, proto: Any, model: Model, shapes: dict[str, tuple[int, ...]], fixed: dict[str, Array]
) -> None:
    """Run file and network on drawn inputs; ValueError if they differ, or nothing can run the file."""
    failure: ValueError | None = None
    for runtime in runtimes(model.net.dtype):
        # onnx.reference does not look at lengths: all rows are full then.
        inputs = _draw(onnx, proto, model, shapes, ragged=runtime == "onnxruntime")
        try:
            wanted = run(proto, {**inputs, **fixed}, runtime)
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
    inputs: dict[str, Array] = {}
    for name in shapes:
        if types[name] not in _types(onnx):
            raise ValueError(f"its input {name[:80]!r} is of type {types[name]}, which no layer reads")
        if name == tracer.lengths:
            drawn: Any = rng.integers(1, steps + 1, rows) if ragged else np.full(rows, steps)
        elif name == tracer.main and isinstance(first, Embedding):
            drawn = rng.integers(0, first.num_embeddings, shape)
        else:
            drawn = rng.standard_normal(shapes[name])
        inputs[name] = np.asarray(drawn).astype(onnx.helper.tensor_dtype_to_np_dtype(types[name]))
    return inputs


def _unpadded(array: Array, flow: Flow | Stacked, lengths: Array) -> Array:
    """A copy of an output that is zero beyond the rows' lengths."""
    if ("T",) not in flow.axes or ("B",) not in flow.axes:
        raise ValueError("an output joins steps with rows of different lengths")
    time, rows = flow.axes.index(("T",)), flow.axes.index(("B",))
    moved = np.moveaxis(array.copy(), (time, rows), (0, 1))
    moved[np.arange(len(moved))[:, None] >= lengths] = 0
    return np.moveaxis(moved, (0, 1), (time, rows))
