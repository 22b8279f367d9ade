from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def crf_scratch_size(steps: int, tags: int) -> int: ...
def crf_loss(
    y: _Array,
    target: _Array,
    lengths: _Array | None,
    tags: int,
    scales: _Array,
    losses: _Array,
    dy: _Array,
    scratch: _Array,
) -> None: ...
def crf_best(
    y: _Array, lengths: _Array | None, tags: int, best: _Array, scores: _Array, scratch: _Array
) -> None: ...
