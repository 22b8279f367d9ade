from typing import Any

from numpy.typing import NDArray

from .phases import StepProgram

_Array = NDArray[Any]

def program_forward(
    program: StepProgram,
    x: _Array,
    lengths: _Array | None,
    arrays: list[_Array | None],
    weights: list[_Array],
    biases: list[_Array],
) -> None: ...
def program_backward(
    program: StepProgram,
    x: _Array,
    lengths: _Array | None,
    arrays: list[_Array | None],
    weights: list[_Array],
    dx: _Array | None,
    dweights: list[_Array],
    dvectors: list[_Array],
    clip_step: float,
) -> tuple[int, float]: ...
