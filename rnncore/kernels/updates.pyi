from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def sgd_update(
    params: Array,
    grads: Array,
    velocity: Array | None,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None: ...
def rmsprop_update(
    params: Array,
    grads: Array,
    square: Array,
    velocity: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None: ...
def adam_update(
    params: Array,
    grads: Array,
    mean: Array,
    square: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    step: int,
) -> None: ...
def l1_penalty(params: Array, dparams: Array, strength: float) -> float: ...
def l2_penalty(params: Array, dparams: Array, strength: float) -> float: ...
