"""One of Keras's layers as the layers that it is here, or the reason why it is none.

Keras runs batch-first, we time-major. A kernel is (in, out) there.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ...layers import Activation, Bidirectional, Dense, Dropout, Embedding, LastStep, Layer, MeanPool
from .attributes import Attributes
from .cells import RECURRENT, Direction, read_direction
from .graph import Graph, Step, Tensor

Array = NDArray[Any]
Arrays = Mapping[str, Array]

# Layers that act in training only, and their attributes.
IDLE = {"SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization"}
IDLE_ATTRIBUTES = ("rate", "p", "stddev", "sigma", "noise_shape", "l1", "l2", "data_format")
DISTRIBUTED = ("Dense", "Activation", "Dropout")
LOGITS = ("softmax", "sigmoid")  # what a loss has inside
# Keras's names for activations, and ours.
FUNCTIONS = {
    "linear": "identity", "swish": "silu", "silu": "silu", **{name: name for name in (
        "sigmoid", "tanh", "relu", "softmax", "log_softmax", "elu", "softplus", "softsign", "gelu",
    )},
}  # fmt: skip
MASKED = (
    "leaves out masked steps, which are an argument of the call here: pass masked=True, and give each call "
    "lengths=mask, bool (T, B), True where a step counts, or the rows' lengths if only their ends are masked"
)


@dataclass
class Line:
    """The chain as far as it is built.

    Attributes
    ----------
    graph
        What the layers are part of.
    version
        The major version of the Keras that wrote the file, None if it is not known.
    masked
        Whether masks are taken, which the caller gives to each call then.
    logits
        Whether a softmax or sigmoid at the end is left out.
    layers, weights
        What is built, and for each of its layers with parameters the plain arrays.
    """

    graph: Graph
    version: int | None
    masked: bool
    logits: bool = True
    layers: list[Layer] = field(default_factory=list)
    weights: list[list[list[Array]]] = field(default_factory=list)
    masks: list[tuple[Tensor | None, float]] = field(default_factory=list)  # input and number that masks it
    axes: int | None = None  # of the input, where it is known
    last: bool = False  # whether only activations come after this layer

    def add(self, step: Step, arrays: Arrays) -> None:
        """Append what one layer of Keras is; ``arrays`` are its weights by name."""
        kind, own, label = step.node.kind, step.node.own, step.node.label
        if kind == "TimeDistributed":
            around = Attributes(label, own)
            kind, own = inner(around.take("layer"), label)
            around.close()
            if kind not in DISTRIBUTED:
                known = ", ".join(DISTRIBUTED)
                raise ValueError(f"{label} distributes a {kind[:80]}, and only {known} are known")
        build = BUILDERS.get(kind)
        if build is None:
            raise ValueError(f"{label} has no counterpart here")
        self._check_call(step, kind)
        given = Attributes(label, own)
        build(self, step, kind, given, arrays)
        given.close()

    def _check_call(self, step: Step, kind: str) -> None:
        """What the layer is called with besides its input, and which of its results is read."""
        label = step.node.label
        for name, value in step.call.options.items():
            if value is None:
                continue
            if name == "mask":
                if self.graph.masked_by(value) not in self.masks:
                    raise ValueError(f"{label} is given a mask of its own, which no layer here takes")
            elif name == "initial_state":
                raise ValueError(f"{label} starts from states that another layer gives (initial_state)")
            elif name != "training":
                raise ValueError(f"{label} is called with {name[:80]}={reprlib.repr(value)}")
            elif value and kind in TRAINED:
                raise ValueError(f"{label} is always in training (training=True), which no layer here is")
        if step.result and kind not in RECURRENT:
            raise ValueError(f"{label} is read for its result {step.result}, which is not known here")

    def _mask(self, step: Step, value: float) -> None:
        """Note that steps of this value are masked from here on."""
        if not self.masked:
            raise ValueError(f"{step.node.label} {MASKED}")
        self.masks.append((step.call.inputs[0] if step.call.inputs else None, value))

    def _append(self, layer: Layer, *arrays: list[Array]) -> None:
        self.layers.append(layer)
        if arrays:
            self.weights.append([*arrays])

    # Layers.

    def _input(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        shape = given.take("batch_shape", default=step.node.own.get("batch_input_shape"))
        if shape is not None and (not isinstance(shape, list) or len(shape) not in (2, 3)):
            raise ValueError(
                f"{given.label} has shape {reprlib.repr(shape)}, but rows, steps and features are expected"
            )
        given.expect("sparse", False)
        given.expect("ragged", False)
        given.take("optional", default=None)
        self.axes = None if shape is None else len(shape)

    def _embedding(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        (table,) = need(arrays, given.label, 1)
        if self.axes == 3 or self.layers:
            raise ValueError(f"{given.label} does not read ids, one a step, that are the model's input")
        claimed = (step.node.own.get("input_dim"), given.size("output_dim", default=None))
        check_sizes(given.label, table.shape, claimed)
        given.expect("quantization_config", None)
        if given.flag("mask_zero", False):
            self._mask(step, 0.0)
        self._append(Embedding(*table.shape), [table])

    def _masking(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        value = given.take("mask_value", default=0.0)
        if type(value) not in (int, float):
            raise ValueError(f"{given.label} has mask_value={reprlib.repr(value)}")
        self._mask(step, float(value))

    def _dropout(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        given.take("noise_shape", default=None)
        self._append(Dropout(given.take("rate", "p", default=0.0)))

    def _idle(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        for name in IDLE_ATTRIBUTES:
            given.take(name, default=None)

    def _dense(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        kernel, *bias = need(arrays, given.label, 2)
        check_sizes(given.label, kernel.shape[1:], (given.size("units", "output_dim", default=None),))
        uses = given.flag("use_bias", given.flag("bias", bool(bias)))
        if uses != bool(bias):
            raise ValueError(f"{given.label} has use_bias={uses}, but {len(arrays)} arrays")
        for name in ("quantization_config", "lora_rank", "lora_alpha"):
            given.expect(name, None)
        function = self._function(given.label, given.take("activation", default="linear"))
        self._append(Dense(*kernel.shape, **function), [kernel, *bias])

    def _activation(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        name: Any = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Softmax": "softmax"}.get(kind)
        if name is None:
            name = given.take("activation")
        alpha = None
        if kind == "ReLU":
            given.expect("max_value", None)
            given.expect("threshold", 0, 0.0)
            given.expect("negative_slope", 0, 0.0)
        elif kind == "LeakyReLU":
            alpha = float(given.take("negative_slope", "alpha", default=0.3))
        elif kind == "ELU":
            alpha = float(given.take("alpha", default=1.0))
        elif kind == "Softmax":
            given.expect("axis", -1)
        function = self._function(given.label, name, alpha)
        if function["activation"] != "identity":
            self._append(Activation(**function))

    def _function(self, label: str, name: Any, alpha: float | None = None) -> dict[str, Any]:
        """The arguments of `Activation` and `Dense` for one of Keras's activations."""
        if name == "leaky_relu":
            return {"activation": name, "alpha": 0.2 if alpha is None else alpha}
        if name == "hard_sigmoid" and self.version is not None:
            return {"activation": name, "alpha": 0.2 if self.version < 3 else 1 / 6}
        if not isinstance(name, str) or name not in FUNCTIONS:
            raise ValueError(f"{label} has activation {reprlib.repr(name)}, which no layer here has")
        if self.logits and self.last and name in LOGITS:
            return {"activation": "identity"}
        return {"activation": FUNCTIONS[name]} | ({} if alpha is None else {"alpha": alpha})

    def _mean(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        given.expect("data_format", "channels_last", None)
        given.expect("keepdims", False)
        self._append(MeanPool())

    def _cell(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        one = read_direction(kind, given, arrays, self.version)
        if step.result > 1 or (step.result and not one.states):
            what = "cell state" if step.result == 2 and kind.endswith("LSTM") else f"result {step.result}"
            raise ValueError(f"{given.label} is read for its {what}, which no layer here gives on")
        self._append(one.cell, one.arrays)
        if not one.steps or step.result == 1:
            self._append(LastStep())

    def _both(self, step: Step, kind: str, given: Attributes, arrays: Arrays) -> None:
        label = given.label
        described = [given.take("layer"), given.take("backward_layer", default=None)]
        merge = given.take("merge_mode", default="concat")
        halves: list[Direction] = []
        for number, (layer, own) in enumerate(zip(described, split(arrays, label), strict=True)):
            if layer is None:  # the same options as the other one's, the other way round
                layer = {**described[0], "config": {**described[0]["config"], "go_backwards": True}}
            kind, config = inner(layer, label)
            if kind not in RECURRENT or merge not in ("concat", "sum"):
                raise ValueError(f"{label} has {kind[:80]} and merge_mode {merge!r:.80}, which is not known")
            halves.append(read_direction(kind, Attributes(label, config), own, self.version, number == 1))
        first, second = halves
        if repr(first.cell) != repr(second.cell) or first.steps != second.steps:
            raise ValueError(
                f"{label} has a backward_layer {second.cell} that differs from its layer {first.cell}, and "
                "both directions are alike here"
            )
        self._append(Bidirectional(first.cell, merge), first.arrays, second.arrays)
        if first.steps:
            return
        if merge == "sum":
            raise ValueError(f"{label} adds the final states of both directions, which no layer here does")
        self._append(LastStep(bidirectional=True))


BUILDERS: dict[str, Callable[[Line, Step, str, Attributes, Arrays], None]] = {
    "InputLayer": Line._input,
    "Embedding": Line._embedding,
    "Masking": Line._masking,
    "Dropout": Line._dropout,
    "Dense": Line._dense,
    "TimeDistributedDense": Line._dense,
    **dict.fromkeys(("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"), Line._activation),
    "GlobalAveragePooling1D": Line._mean,
    "Bidirectional": Line._both,
    **dict.fromkeys(RECURRENT, Line._cell),
    **dict.fromkeys(IDLE, Line._idle),
}
TRAINED = {"Dropout", "Bidirectional", *RECURRENT, *IDLE}


def inner(layer: Any, label: str) -> tuple[str, dict[str, Any]]:
    """Class and configuration of the layer that another one wraps."""
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        raise ValueError(f"{label} has no layer inside")
    kind = str(layer.get("class_name"))
    return kind if kind.isidentifier() else repr(kind), layer["config"]


def need(arrays: Arrays, label: str, most: int) -> list[Array]:
    """The arrays of a layer, one to ``most`` of them, of which the first is a matrix."""
    found = list(arrays.values())
    if not 1 <= len(found) <= most or found[0].ndim != 2 or not found[0].size:
        raise ValueError(f"{label} has arrays with {[array.ndim for array in found]} axes")
    return found


def split(arrays: Arrays, label: str) -> list[Arrays]:
    """The arrays of both directions."""
    names = list(arrays)
    if len(names) % 2:
        raise ValueError(f"{label} has {len(names)} arrays for two directions")
    half = len(names) // 2
    return [{name: arrays[name] for name in part} for part in (names[:half], names[half:])]


def check_sizes(label: str, shape: tuple[int, ...], claimed: tuple[Any, ...]) -> None:
    """Raise ValueError unless the sizes that a configuration claims are those of the array."""
    if any(size not in (None, real) for size, real in zip(claimed, shape, strict=True)):
        raise ValueError(f"{label} claims sizes {claimed}, but its array has {shape}")
