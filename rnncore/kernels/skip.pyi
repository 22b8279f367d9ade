from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def skip_forward(
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    weight_skip: _Array | None,
    bias: _Array,
    delays: _Array,
    activation: str,
    hidden: _Array,
    scratch: _Array,
) -> None: ...
def skip_backward(
    dy: _Array,
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    weight_skip: _Array | None,
    delays: _Array,
    activation: str,
    clip_step: float,
    hidden: _Array,
    dh: _Array,
    dx: _Array | None,
    dweight_ih: _Array,
    dweight_hh: _Array,
    dweight_skip: _Array | None,
    dbias: _Array,
    scratch: _Array,
    dhidden: _Array | None = ...,
    dgates: _Array | None = ...,
    drecurrent: _Array | None = ...,
) -> tuple[int, float]: ...
