from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def softmax_cross_entropy(
    y: Array,
    target: Array,
    lengths: Array | None,
    scale: float,
    dy: Array,
    weights: Array | None = ...,
) -> float: ...
def first_class_outside(target: Array, lengths: Array | None, classes: int) -> int: ...
def sigmoid_cross_entropy(
    y: Array,
    target: Array,
    lengths: Array | None,
    scale: float,
    dy: Array,
    weights: Array | None = ...,
) -> float: ...
def squared_error(
    y: Array,
    target: Array,
    lengths: Array | None,
    scale: float,
    dy: Array,
    weights: Array | None = ...,
) -> float: ...
