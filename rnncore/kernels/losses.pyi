from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def softmax_cross_entropy(
    y: _Array,
    target: _Array,
    lengths: _Array | None,
    scale: float,
    dy: _Array,
    weights: _Array | None = ...,
) -> float: ...
def smoothed_cross_entropy(
    y: _Array,
    target: _Array,
    lengths: _Array | None,
    scale: float,
    dy: _Array,
    smoothing: float,
    weights: _Array | None = ...,
    class_weights: _Array | None = ...,
) -> float: ...
def first_class_outside(target: _Array, lengths: _Array | None, classes: int) -> int: ...
def sigmoid_cross_entropy(
    y: _Array,
    target: _Array,
    lengths: _Array | None,
    scale: float,
    dy: _Array,
    weights: _Array | None = ...,
    class_weights: _Array | None = ...,
) -> float: ...
def squared_error(
    y: _Array,
    target: _Array,
    lengths: _Array | None,
    scale: float,
    dy: _Array,
    weights: _Array | None = ...,
    class_weights: _Array | None = ...,
) -> float: ...
