from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def pack_recurrent(
    weight_ih: Array, weight_hh: Array, bias: Array, reset_before: bool, panels: Array
) -> None: ...
