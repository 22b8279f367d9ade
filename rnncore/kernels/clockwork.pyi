from typing import Any

from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

def clockwork_scratch_size(
    steps: int, rows: int, inputs: int, units: int, periods: Array, dtype: DTypeLike
) -> int: ...
def clockwork_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    periods: Array,
    hidden: Array,
    scratch: Array,
) -> None: ...
def clockwork_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    periods: Array,
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
) -> tuple[int, float]: ...
