"""Constants of an ONNX file, and the small arithmetic on them: shapes that exporters compute in the graph.

Nothing here trusts the file: a tensor's claimed shape is compared with its bytes, a result's size with a
budget, before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Constant:
    """A value known before the model runs; ``sampled`` if it follows from the shape of the drawn input."""

    array: Array
    sampled: bool = False


def read_tensor(onnx: Any, tensor: Any) -> Array:
    """A TensorProto's array; ValueError unless it is a plain one of its claimed size, inside the file."""
    name = repr(str(tensor.name)[:80])
    kinds = onnx.TensorProto
    types = {
        kinds.FLOAT: (np.float32, "float_data"),
        kinds.DOUBLE: (np.float64, "double_data"),
        kinds.INT64: (np.int64, "int64_data"),
        kinds.INT32: (np.int32, "int32_data"),
        kinds.BOOL: (np.bool_, "int32_data"),
    }
    if tensor.data_location == kinds.EXTERNAL or tensor.external_data:
        raise ValueError(
            f"tensor {name} lies in another file, and only the one named is read: save it as one file"
        )
    if tensor.data_type not in types:
        raise ValueError(
            f"tensor {name} is of type {tensor.data_type}, but float, double, int or bool is wanted"
        )
    dtype, field = types[tensor.data_type]
    shape = tuple(tensor.dims)
    if len(shape) > 8 or any(size < 0 for size in shape):
        raise ValueError(f"tensor {name} claims shape {shape[:9]}")
    size = math.prod(shape)
    raw = tensor.raw_data
    have = len(raw) // np.dtype(dtype).itemsize if raw else len(getattr(tensor, field))
    if have != size or (raw and len(raw) % np.dtype(dtype).itemsize):
        raise ValueError(f"tensor {name} claims {size} numbers, but holds {have}")
    if raw:
        return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)
    return np.array(getattr(tensor, field), dtype).reshape(shape)


def axes_of(inputs: list[Array], attributes: dict[str, Any]) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an input since operator set 13, an attribute before."""
    if len(inputs) > 1:
        return [int(axis) for axis in inputs[1].reshape(-1)]
    given = attributes.get("axes")
    return None if given is None else [int(axis) for axis in given]


def slices(inputs: list[Array], attributes: dict[str, Any], rank: int) -> list[slice]:
    """The slice of each axis that Slice asks for."""
    if len(inputs) > 1:
        parts = [[int(number) for number in part.reshape(-1)] for part in inputs[1:]]
        starts, ends = parts[0], parts[1]
        axes = parts[2] if len(parts) > 2 and parts[2] else list(range(len(starts)))
        steps = parts[3] if len(parts) > 3 and parts[3] else [1] * len(starts)
    else:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes", list(range(len(starts)))), [1] * len(starts)
    found = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        backwards_to_the_start = step < 0 and end < -(2**31)
        found[axis] = slice(start, None if backwards_to_the_start else end, step)
    return found


def target_shape(shape: tuple[int, ...], wanted: Array, allowzero: int) -> tuple[int, ...]:
    """What Reshape's second input means for an array of ``shape``."""
    sizes = [int(size) for size in wanted.reshape(-1)]
    if not allowzero:
        sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if sizes.count(-1) == 1:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // rest if rest else 0
    return tuple(sizes)


class Folder:
    """Computes nodes whose inputs are all constants, within a budget of numbers."""

    def __init__(self, onnx: Any, budget: int) -> None:
        self.onnx, self.budget = onnx, budget
        self.known: dict[str, Callable[[list[Array], dict[str, Any]], Array]] = {
            "Add": lambda x, a: np.add(x[0], x[1]),
            "Cast": self._cast,
            "Concat": lambda x, a: np.concatenate(x, axis=a["axis"]),
            "Constant": self._constant,
            "ConstantOfShape": self._constant_of_shape,
            "Div": lambda x, a: x[0] // x[1] if x[0].dtype.kind == "i" else x[0] / x[1],
            "Equal": lambda x, a: np.equal(x[0], x[1]),
            "Expand": lambda x, a: np.broadcast_to(x[0], np.broadcast_shapes(x[0].shape, tuple(x[1]))).copy(),
            "Gather": lambda x, a: np.take(x[0], x[1], axis=a.get("axis", 0)),
            "Identity": lambda x, a: x[0],
            "Mul": lambda x, a: np.multiply(x[0], x[1]),
            "ReduceProd": self._product,
            "Reshape": lambda x, a: x[0].reshape(target_shape(x[0].shape, x[1], a.get("allowzero", 0))),
            "Shape": lambda x, a: np.array(x[0].shape[a.get("start", 0) : a.get("end")], np.int64),
            "Slice": lambda x, a: x[0][tuple(slices(x, a, x[0].ndim))],
            "Squeeze": self._squeeze,
            "Sub": lambda x, a: np.subtract(x[0], x[1]),
            "Transpose": lambda x, a: np.transpose(x[0], a.get("perm")),
            "Unsqueeze": lambda x, a: np.expand_dims(x[0], tuple(axes_of(x, a) or ())),
            "Where": lambda x, a: np.where(x[0], x[1], x[2]),
        }

    def fold(self, operator: str, inputs: list[Constant], attributes: dict[str, Any]) -> Constant:
        """The value of a node; ValueError if it is not known how, impossible, or too large."""
        if operator not in self.known:
            raise ValueError("it is not known here")
        arrays = [value.array for value in inputs]
        self._spend(operator, arrays, attributes)
        try:
            with np.errstate(all="ignore"):  # the comparison at the end says what such numbers are worth
                array = self.known[operator](arrays, attributes)
        except (IndexError, KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(
                f"its inputs are impossible: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        return Constant(array, any(value.sampled for value in inputs))

    def _spend(self, operator: str, arrays: list[Array], attributes: dict[str, Any]) -> None:
        """Take the size of a result from the budget before it is computed."""
        if operator == "ConstantOfShape":
            size = math.prod(int(n) for n in arrays[0].reshape(-1)) if arrays else 0
        elif operator == "Expand":
            size = math.prod(
                np.broadcast_shapes(arrays[0].shape, tuple(int(n) for n in arrays[1].reshape(-1)))
            )
        elif operator in {"Add", "Sub", "Mul", "Div", "Equal", "Where"}:
            size = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
        elif operator == "Gather":
            size = arrays[0].size * max(arrays[1].size, 1)
        else:
            size = sum(array.size for array in arrays)
        self.budget -= abs(size) + 1
        if self.budget < 0:
            raise ValueError("its constants would be larger than the file gives reason for")

    def _constant(self, inputs: list[Array], attributes: dict[str, Any]) -> Array:
        if "value" in attributes:
            return read_tensor(self.onnx, attributes["value"])
        for name, dtype in [("value_int", np.int64), ("value_float", np.float32)]:
            for key in (name, f"{name}s"):
                if key in attributes:
                    return np.array(attributes[key], dtype)
        raise ValueError("it holds no tensor")

    def _constant_of_shape(self, inputs: list[Array], attributes: dict[str, Any]) -> Array:
        filler = read_tensor(self.onnx, attributes["value"]) if "value" in attributes else np.zeros(1, "f4")
        return np.full(tuple(int(n) for n in inputs[0].reshape(-1)), filler.reshape(-1)[0])

    def _cast(self, inputs: list[Array], attributes: dict[str, Any]) -> Array:
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
        if dtype.kind not in "iufb":
            raise ValueError(f"it casts to {dtype}")
        return inputs[0].astype(dtype)

    def _product(self, inputs: list[Array], attributes: dict[str, Any]) -> Array:
        axes = axes_of(inputs, attributes)
        keep = bool(attributes.get("keepdims", 1))
        return np.asarray(np.prod(inputs[0], None if axes is None else tuple(axes), keepdims=keep))

    def _squeeze(self, inputs: list[Array], attributes: dict[str, Any]) -> Array:
        axes = axes_of(inputs, attributes)
        return np.squeeze(inputs[0], None if axes is None else tuple(axes))
