from typing import Any

from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

def dense_scratch_size(inputs: int, outputs: int, dtype: DTypeLike) -> int: ...
def dense_forward(
    x: Array, weight: Array, bias: Array, y: Array, scratch: Array, panels: Array | None = ...
) -> None: ...
def pack_dense(weight: Array, bias: Array, panels: Array) -> None: ...
def dense_backward(
    dy: Array,
    x: Array,
    weight: Array,
    dx: Array,
    dweight: Array,
    dbias: Array,
    scratch: Array,
) -> None: ...
