from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def embedding_forward(ids: _Array, weight: _Array, y: _Array) -> None: ...
def embedding_backward(dy: _Array, ids: _Array, dweight: _Array) -> None: ...
