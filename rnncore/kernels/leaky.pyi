from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def leaky_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    leak: Array,
    noise: Array,
    activation: str,
    hidden: Array,
    gates: Array | None,
    scratch: Array,
    panels: Array | None = ...,
) -> None: ...
def leaky_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    leak: Array,
    activation: str,
    clip_step: float,
    hidden: Array,
    gates: Array | None,
    dh: Array,
    dx: Array,
    dweight_ih: Array,
    dweight_hh: Array,
    dbias: Array,
    dleak: Array,
    scratch: Array,
    dhidden: Array | None = ...,
    dgates: Array | None = ...,
    drecurrent: Array | None = ...,
) -> tuple[int, float]: ...
