"""The chain of layers that a graph turns out to be, as far as it has been followed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers import Activation, LastStep, Layer
from .flows import Flow, Given, Stacked, bare
from .folding import Constant, Folder

Array = NDArray[Any]
MAX_INPUT = 1 << 22  # numbers in a drawn input

Value = Constant | Flow | Stacked | Given | None


class Chain:
    """Values by name, and each layer with its parameters.

    Parameters
    ----------
    onnx
        The onnx package.
    inputs
        The shapes that the inputs of the file are tried with.
    states
        Those of the inputs that only states come from.
    budget
        How many numbers constants may have.
    opset
        The version of the operators.
    """

    def __init__(
        self, onnx: Any, inputs: Mapping[str, tuple[int, ...]], states: set[str], budget: int, opset: int
    ) -> None:
        self.onnx, self.opset = onnx, opset
        self.folder = Folder(onnx, budget)
        self.chain: list[tuple[Layer, dict[str, Array]]] = []
        self.values: dict[str, Value] = {}
        self.main: str | None = None
        self.lengths: str | None = None
        self.order = ""  # the input's first two axes, "TB" or "BT"
        self.open_bias: str | None = None  # what a Dense layer without a bias yet gives
        self.strange: dict[str, int] = {}  # inputs with more axes than a layer reads, and how many
        for name, shape in inputs.items():
            if name in states:
                self.values[name] = Given(name, np.arange(math.prod(shape)).reshape(shape))
            elif 1 <= len(shape) <= 3:
                atoms = ("0", "1", "F")[: len(shape)]
                axes = tuple((atom,) for atom in atoms)
                self.values[name] = Flow(axes, dict(zip(atoms, shape, strict=True)), name)
            else:
                self.strange[name] = len(shape)

    # Values on the way.

    def flow(self, value: Value) -> Flow:
        """A value that goes into the next layer: at the end of the chain, and no state."""
        if not isinstance(value, Flow):
            raise ValueError("its input is a constant, where one that depends on the model's input is wanted")
        if self.main not in (None, value.origin):
            raise ValueError(f"it reads the input {value.origin!r}, but the chain begins at {self.main!r}")
        if value.layers != len(self.chain):
            raise ValueError("its input has been read before or goes round a layer, but a network is a chain")
        if value.head:  # it is not at the end, so it is a layer
            return self.append(dataclasses.replace(value, head=None), Activation("softmax"), {})
        if value.half is not None:
            raise ValueError("its input is one direction alone")
        if value.state is None:
            return value
        both = value.sizes["D"] == 2
        if value.state or (both and value.axes[-1] != ("D", "F")):
            what = "the cell state" if value.state else "the final state of both directions"
            raise ValueError(f"its input is {what}, which no layer here gives on")
        self.chain.append((LastStep(bidirectional=both), {}))
        return dataclasses.replace(value, layers=len(self.chain), state=None)

    def append(self, flow: Flow, layer: Layer, values: dict[str, Array], **changes: Any) -> Flow:
        self.main = flow.origin
        self.chain.append((layer, values))
        return dataclasses.replace(flow, layers=len(self.chain), **changes)

    def features(self, flow: Flow) -> int:
        """Size of the last axis, which must be that of the features."""
        if bare(flow)[-1] not in (("F",), ("D", "F")):
            raise ValueError("it does not act on the features")
        return flow.shape[-1]
