from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def skip_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    weight_skip: Array | None,
    bias: Array,
    delays: Array,
    activation: str,
    hidden: Array,
    scratch: Array,
) -> None: ...
def skip_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    weight_skip: Array | None,
    delays: Array,
    activation: str,
    clip_step: float,
    hidden: Array,
    dh: Array,
    dx: Array,
    dweight_ih: Array,
    dweight_hh: Array,
    dweight_skip: Array | None,
    dbias: Array,
    scratch: Array,
    dhidden: Array | None = ...,
    dgates: Array | None = ...,
    drecurrent: Array | None = ...,
) -> tuple[int, float]: ...
