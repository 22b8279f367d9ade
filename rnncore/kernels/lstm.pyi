from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def lstm_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    hidden: Array,
    cells: Array,
    gates: Array | None,
    scratch: Array,
    weight_ci: Array | None = ...,
    weight_cf: Array | None = ...,
    weight_co: Array | None = ...,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
) -> None: ...
def lstm_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    clip_step: float,
    hidden: Array,
    cells: Array,
    gates: Array | None,
    dh: Array,
    dc: Array,
    dx: Array,
    dweight_ih: Array,
    dweight_hh: Array,
    dbias: Array,
    scratch: Array,
    dhidden: Array | None = ...,
    dcells: Array | None = ...,
    dgates: Array | None = ...,
    drecurrent: Array | None = ...,
    weight_ci: Array | None = ...,
    weight_cf: Array | None = ...,
    weight_co: Array | None = ...,
    dweight_ci: Array | None = ...,
    dweight_cf: Array | None = ...,
    dweight_co: Array | None = ...,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
) -> int: ...
