from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def ctc_scratch_size(steps: int, labels: int) -> Any: ...
def ctc_loss(
    y: _Array,
    labels: _Array,
    offsets: _Array,
    lengths: _Array | None,
    blank: int,
    scales: _Array,
    losses: _Array,
    dy: _Array,
    scratch: _Array,
) -> None: ...
def ctc_search_sizes(steps: int, classes: int, width: int) -> Any: ...
def ctc_search(
    y: _Array,
    lengths: _Array | None,
    blank: int,
    width: int,
    found: _Array,
    found_lengths: _Array,
    scores: _Array,
    scratch: _Array,
    places: _Array,
) -> None: ...
