from typing import Any

from numpy.typing import DTypeLike, NDArray

_Array = NDArray[Any]

def dense_scratch_size(inputs: int, outputs: int, dtype: DTypeLike) -> int: ...
def dense_forward(
    x: _Array, weight: _Array, bias: _Array, y: _Array, scratch: _Array, panels: _Array | None = ...
) -> None: ...
def pack_dense(weight: _Array, bias: _Array, panels: _Array) -> None: ...
def dense_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    dx: _Array | None,
    dweight: _Array,
    dbias: _Array,
    scratch: _Array,
) -> None: ...
