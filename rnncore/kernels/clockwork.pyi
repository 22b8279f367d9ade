from typing import Any

from numpy.typing import DTypeLike, NDArray

_Array = NDArray[Any]

def clockwork_scratch_size(
    steps: int, rows: int, inputs: int, units: int, periods: _Array, dtype: DTypeLike
) -> int: ...
def clockwork_forward(
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    bias: _Array,
    periods: _Array,
    hidden: _Array,
    scratch: _Array,
) -> None: ...
def clockwork_backward(
    dy: _Array,
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    periods: _Array,
    clip_step: float,
    hidden: _Array,
    dh: _Array,
    dx: _Array | None,
    dweight_ih: _Array,
    dweight_hh: _Array,
    dbias: _Array,
    scratch: _Array,
    dhidden: _Array | None = ...,
    dgates: _Array | None = ...,
    drecurrent: _Array | None = ...,
) -> tuple[int, float]: ...
