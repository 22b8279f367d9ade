from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def pack_recurrent(
    weight_ih: _Array, weight_hh: _Array, bias: _Array, reset_before: bool, panels: _Array
) -> None: ...
