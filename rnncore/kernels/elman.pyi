from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def elman_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    activation: str,
    hidden: Array,
    scratch: Array,
    masks: Any = ...,
    panels: Array | None = ...,
) -> None: ...
def elman_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    activation: str,
    clip_step: float,
    hidden: Array,
    dh: Array,
    dx: Array,
    dweight_ih: Array,
    dweight_hh: Array,
    dbias: Array,
    scratch: Array,
    dhidden: Array | None = ...,
    dgates: Array | None = ...,
    drecurrent: Array | None = ...,
    masks: Any = ...,
) -> tuple[int, float]: ...
