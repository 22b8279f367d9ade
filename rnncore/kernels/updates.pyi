from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def sgd_update(
    params: _Array,
    grads: _Array,
    velocity: _Array | None,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None: ...
def rmsprop_update(
    params: _Array,
    grads: _Array,
    square: _Array,
    velocity: _Array | None,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None: ...
def adam_update(
    params: _Array,
    grads: _Array,
    mean: _Array,
    square: _Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    step: int,
) -> None: ...
def l1_penalty(params: _Array, dparams: _Array, strength: float) -> float: ...
def l2_penalty(params: _Array, dparams: _Array, strength: float) -> float: ...
