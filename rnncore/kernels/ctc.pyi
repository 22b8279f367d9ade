from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def ctc_scratch_size(steps: int, labels: int) -> Any: ...
def ctc_loss(
    y: Array,
    labels: Array,
    offsets: Array,
    lengths: Array | None,
    blank: int,
    scales: Array,
    losses: Array,
    dy: Array,
    scratch: Array,
) -> None: ...
def ctc_search_sizes(steps: int, classes: int, width: int) -> Any: ...
def ctc_search(
    y: Array,
    lengths: Array | None,
    blank: int,
    width: int,
    found: Array,
    found_lengths: Array,
    scores: Array,
    scratch: Array,
    places: Array,
) -> None: ...
