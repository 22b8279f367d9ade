from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def leaky_forward(
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    bias: _Array,
    leak: _Array,
    noise: _Array,
    activation: str,
    hidden: _Array,
    gates: _Array | None,
    scratch: _Array,
    masks: Any = ...,
    panels: _Array | None = ...,
) -> None: ...
def leaky_backward(
    dy: _Array,
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    leak: _Array,
    activation: str,
    clip_step: float,
    hidden: _Array,
    gates: _Array | None,
    dh: _Array,
    dx: _Array | None,
    dweight_ih: _Array,
    dweight_hh: _Array,
    dbias: _Array,
    dleak: _Array,
    scratch: _Array,
    dhidden: _Array | None = ...,
    dgates: _Array | None = ...,
    drecurrent: _Array | None = ...,
    masks: Any = ...,
) -> tuple[int, float]: ...
