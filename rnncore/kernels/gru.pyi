from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def gru_forward(
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    bias: _Array,
    bias_hn: _Array,
    hidden: _Array,
    gates: _Array | None,
    candidates: _Array | None,
    scratch: _Array,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
    panels: _Array | None = ...,
) -> None: ...
def gru_backward(
    dy: _Array,
    x: _Array,
    lengths: _Array | None,
    weight_ih: _Array,
    weight_hh: _Array,
    clip_step: float,
    hidden: _Array,
    gates: _Array | None,
    candidates: _Array | None,
    dh: _Array,
    dx: _Array | None,
    dweight_ih: _Array,
    dweight_hh: _Array,
    dbias: _Array,
    dbias_hn: _Array,
    scratch: _Array,
    dhidden: _Array | None = ...,
    dgates: _Array | None = ...,
    drecurrent: _Array | None = ...,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
) -> tuple[int, float]: ...
