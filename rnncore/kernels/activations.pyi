from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def activate(kind: int, alpha: float, x: _Array, y: _Array, slopes: _Array | None = ...) -> None: ...
def activate_backward(
    kind: int,
    alpha: float,
    values: _Array,
    dy: _Array,
    dx: _Array,
    slopes: _Array | None = ...,
    dslopes: _Array | None = ...,
) -> None: ...
