from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def gru_forward(
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    bias_hn: Array,
    hidden: Array,
    gates: Array | None,
    candidates: Array | None,
    scratch: Array,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
    panels: Array | None = ...,
) -> None: ...
def gru_backward(
    dy: Array,
    x: Array,
    lengths: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    clip_step: float,
    hidden: Array,
    gates: Array | None,
    candidates: Array | None,
    dh: Array,
    dx: Array,
    dweight_ih: Array,
    dweight_hh: Array,
    dbias: Array,
    dbias_hn: Array,
    scratch: Array,
    dhidden: Array | None = ...,
    dgates: Array | None = ...,
    drecurrent: Array | None = ...,
    gate_activation: str = ...,
    activation: str = ...,
    masks: Any = ...,
) -> tuple[int, float]: ...
