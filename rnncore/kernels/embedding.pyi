from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def embedding_forward(ids: Array, weight: Array, y: Array) -> None: ...
def embedding_backward(dy: Array, ids: Array, dweight: Array) -> None: ...
