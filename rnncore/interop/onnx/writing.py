"""A network as an ONNX model, checked against ONNX Runtime before it is written."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cells.passes import EquationLayer
from ...disk import write_atomically
from ...layers import Activation, Bidirectional, Dense, Dropout, Embedding, LastStep, Layer, MeanPool
from ...layers.nested import Nested, parts_of
from ...network import Network
from ..cells import directions
from .cells import OPERATORS, attributes, to_onnx
from .equations import add_equation
from .functions import add_function
from .nested import add_nested
from .runtime import TOLERANCE, Report, difference, hint, require_onnx, run, runtimes

Array = NDArray[Any]

OPSET = 17
IR_VERSION = 8
DTYPE = np.dtype(np.float32)  # no runtime has recurrent operators in float64


def export(
    net: Network, path: str | os.PathLike[str], lengths: bool = False, softmax: bool = False
) -> Report:
    """Write a network as one ONNX file (operator set 17).

    The model takes ``x``, ``(T, B, F)`` numbers or ``(T, B)`` int64 ids, time-major as all here, and gives
    ``y``; T and B are free. Dropout is gone.

    Parameters
    ----------
    net
        The network; it is not changed.
    path
        The file; replaced atomically, and only once the model has been checked and has given the network's
        results on drawn inputs.
    lengths
        True for a second input ``lengths``, int32 ``(B,)``, the steps of each row.
    softmax
        True to end with a softmax over the last axis.

    Returns
    -------
    report
        The largest difference between the model's results and the network's.

    Raises
    ------
    ValueError
        If a layer cannot be expressed in ONNX, or the results differ.
    ModuleNotFoundError
        If the onnx package is not installed.
    """
    onnx = require_onnx()
    cells = [part for layer in net.layers for part in parts_of(layer) if directions(part)]
    if lengths and not cells:
        raise ValueError("lengths is True, but the network has no recurrent layer that they would matter to")
    writer = _Writer(onnx, net, lengths)
    for place, layer in enumerate(net.layers):
        writer.add(str(place), layer)
    if softmax:
        writer.node("Softmax", [writer.value], axis=-1)
    model = writer.finish()
    onnx.checker.check_model(model, full_check=True)
    report = _compare(net, model, lengths, softmax)
    if not report.difference <= TOLERANCE[DTYPE.name]:
        raise ValueError(
            f"{os.fspath(path)} is not written: {report.runtime}'s results differ by {report.difference:.2g} "
            f"of the largest{hint(report.runtime)}"
        )
    write_atomically(path, model.SerializeToString(deterministic=True))
    return report


class _Writer:
    """A graph under construction: nodes and weights in order, and the name of the last value."""

    def __init__(self, onnx: Any, net: Network, lengths: bool) -> None:
        self.onnx, self.net, self.lengths = onnx, net, lengths
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        self.value = "x"
        self.pooled = False
        self.features = net.in_features  # of the last value

    def node(self, operator: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node; its first output is the value that the next layer reads."""
        number = len(self.nodes)
        names = [f"{operator}_{number}_{k}" if k else f"{operator}_{number}" for k in range(outputs)]
        self.nodes.append(
            self.onnx.helper.make_node(operator, inputs, names, name=f"{operator}_{number}", **attributes)
        )
        self.value = names[0]
        return self.value

    def constant(self, name: str, array: Any, dtype: Any = np.int64) -> str:
        """A constant of the model; returns its name."""
        self.weights[name] = np.array(array, dtype, order="C")  # a scalar stays one
        return name

    def add(self, place: str, layer: Layer) -> None:
        """The nodes of one layer, whose weights have names that begin with ``place``."""
        self._add(place, layer)
        self.features = layer.gives(self.features)

    def _add(self, place: str, layer: Layer) -> None:
        if isinstance(layer, Dropout) or (isinstance(layer, Nested) and add_nested(self, place, layer)):
            return
        equations = [cell for cell, _ in directions(layer) if isinstance(cell, EquationLayer)]
        if equations and isinstance(layer, EquationLayer):
            add_equation(self, place, layer)
        elif equations:
            raise ValueError(f"layer {place}, {layer}, goes both ways, which a Scan over the steps does not")
        elif directions(layer):
            self._recurrent(place, layer)
        elif isinstance(layer, Embedding):
            self.node("Gather", [self._weight(place, "weight", layer.params["weight"]), self.value], axis=0)
        elif isinstance(layer, (Dense, Activation)):
            if isinstance(layer, Dense):
                self._dense(place, layer)
            slope = layer.params.get("slope")
            add_function(self, layer.function, None if slope is None else self._weight(place, "slope", slope))
        elif isinstance(layer, LastStep):
            self.pooled = True
            steps = self.value
            self._last_step(steps)
            if layer.bidirectional:
                self._both_ends(steps, self.value, (self.features or 0) // 2)
        elif isinstance(layer, MeanPool):
            self.pooled = True
            self._mean(self.value)
        else:
            raise ValueError(f"layer {place}, {layer}, cannot be expressed in ONNX: it has no such operator")

    def _weight(self, place: str, name: str, array: Array) -> str:
        return self.constant(f"{place}.{name}", array, DTYPE)

    def _dense(self, place: str, layer: Dense) -> None:
        bias = self._weight(place, "bias", layer.params["bias"])
        if self.pooled:
            self.node(
                "Gemm", [self.value, self._weight(place, "weight", layer.params["weight"]), bias], transB=1
            )
        else:
            weight = self._weight(place, "weight", layer.params["weight"].T)
            self.node("Add", [self.node("MatMul", [self.value, weight]), bias])

    def _recurrent(self, place: str, layer: Layer) -> None:
        cells = directions(layer)
        cell = cells[0][0]
        given = attributes(cell)
        for name in ("activations", "activation_alpha", "activation_beta"):
            if name in given:
                given[name] = given[name] * len(cells)
        halves = [to_onnx(part, layer.params, suffix) for part, suffix in cells]
        stacked = {name: np.stack([half[name] for half in halves]) for name in halves[0]}
        names = {name: self._weight(place, name, array) for name, array in stacked.items()}
        inputs = [self.value, names["W"], names["R"], names["B"], "lengths" if self.lengths else ""]
        if "P" in names:
            inputs += ["", "", names["P"]]
        while not inputs[-1]:
            inputs.pop()
        way = "bidirectional" if len(cells) == 2 else "forward"
        self.node(OPERATORS[type(cell)], inputs, hidden_size=cell.hidden_size, direction=way, **given)
        if len(cells) == 1:
            self.node("Squeeze", [self.value, self.constant("one", [1])])
        elif isinstance(layer, Bidirectional) and layer.merge == "sum":
            self.node("ReduceSum", [self.value, self.constant("one", [1])], keepdims=0)
        else:
            self.node("Transpose", [self.value], perm=[0, 2, 1, 3])
            self.node("Reshape", [self.value, self.constant("joined", [0, 0, -1])])

    def _last_step(self, x: str) -> None:
        if not self.lengths:
            self.node("Gather", [x, self.constant("last", -1)], axis=0)
            return
        longs = self.node("Cast", ["lengths"], to=self.onnx.TensorProto.INT64)
        steps = self.node("Sub", [longs, self.constant("one", [1])])
        rows = self.node("Range", [self.constant("first", 0), self.size(x, 1), self.constant("next", 1)])
        column = self.constant("column", [1])
        pairs = [self.node("Unsqueeze", [array, column]) for array in (steps, rows)]
        self.node("GatherND", [x, self.node("Concat", pairs, axis=1)])

    def _both_ends(self, x: str, last: str, half: int) -> None:
        """The first half of the features from the last step, the second from step 0."""
        first = self.node("Gather", [x, self.constant("first", 0)], axis=0)
        borders = [self.constant(f"border{size}", [size]) for size in (0, half, 2 * half)]
        axis = self.constant("features", [1])
        halves = [
            self.node("Slice", [source, *borders[k : k + 2], axis]) for k, source in enumerate((last, first))
        ]
        self.node("Concat", halves, axis=1)

    def _mean(self, x: str) -> None:
        if not self.lengths:
            self.node("ReduceMean", [x], axes=[0], keepdims=0)
            return
        longs = self.node("Cast", ["lengths"], to=self.onnx.TensorProto.INT64)
        steps = self.node("Range", [self.constant("first", 0), self.size(x, 0), self.constant("next", 1)])
        column = self.constant("column", [1])
        valid = self.node("Less", [self.node("Unsqueeze", [steps, column]), longs])
        valid = self.node("Unsqueeze", [valid, self.constant("third", [2])])
        kept = self.node("Where", [valid, x, self.constant("zero", 0, DTYPE)])
        total = self.node("ReduceSum", [kept, self.constant("time", [0])], keepdims=0)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(DTYPE)
        counts = self.node("Cast", [self.node("Unsqueeze", [longs, column])], to=kind)
        self.node("Div", [total, counts])

    def size(self, x: str, axis: int) -> str:
        """The size of an axis as a scalar."""
        place = self.constant(f"axis{axis}", axis)
        return self.node("Gather", [self.node("Shape", [x]), place], axis=0)

    def finish(self) -> Any:
        """The whole model."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        kind = helper.np_dtype_to_tensor_dtype(DTYPE)
        first = self.net.layers[0]
        features = next((takes for layer in self.net.layers if (takes := layer.features()[0])), None)
        if first.takes_ids:
            inputs = [helper.make_tensor_value_info("x", kinds.INT64, ["T", "B"])]
        else:
            inputs = [helper.make_tensor_value_info("x", kind, ["T", "B", features or "F"])]
        if self.lengths:
            inputs.append(helper.make_tensor_value_info("lengths", kinds.INT32, ["B"]))
        shape = ["T", "B", self.features or "F"][int(self.pooled) :]
        self.nodes.append(helper.make_node("Identity", [self.value], ["y"], name="y"))
        graph = helper.make_graph(
            self.nodes,
            "rnncore",
            inputs,
            [helper.make_tensor_value_info("y", kind, shape)],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="rnncore", ir_version=IR_VERSION)


def _compare(net: Network, model: Any, lengths: bool, softmax: bool) -> Report:
    """Run network and model on drawn inputs, of rows of different lengths where they are an input."""
    rng = np.random.default_rng(0)
    steps, rows = 7, 3
    runtime = runtimes(DTYPE)[0]
    first = net.layers[0]
    tables = [part.num_embeddings for part in parts_of(first) if isinstance(part, Embedding)]
    if tables:
        x = rng.integers(0, min(tables), (steps, rows))
    else:
        features = next((takes for layer in net.layers if (takes := layer.features()[0])), 4)
        x = rng.standard_normal((steps, rows, features)).astype(DTYPE)
    inputs: dict[str, Array] = {"x": x}
    if not tables:
        x = x.astype(net.dtype)
    given = None
    if lengths:  # onnx.reference does not look at them: all rows are full then
        given = np.array([steps, 1, 4] if runtime == "onnxruntime" else [steps] * rows, np.int32)
        inputs["lengths"] = given
    mode = net.training
    net.eval()
    try:
        y, _, _ = net.forward(x, lengths=given, record=False)
    finally:
        net.train(mode)
    if softmax:
        y = np.exp(y - y.max(axis=-1, keepdims=True))
        y /= y.sum(axis=-1, keepdims=True)
    (theirs,) = run(model, inputs, runtime)
    if given is not None and y.ndim == 3:  # what stands in the padding is nobody's result
        beyond = np.arange(steps)[:, None] >= given
        y, theirs = y.copy(), theirs.copy()
        y[beyond], theirs[beyond] = 0, 0
    return Report(difference([y], [theirs]), runtime)
