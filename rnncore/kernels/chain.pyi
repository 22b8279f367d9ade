from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Stage = tuple[str, dict[str, _Array], int, int, tuple[float, ...], float, int, float, int, Any]
_Watched = list[tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...], int]]

class Layers:
    def __init__(self, watched: _Watched) -> None: ...
    def follows(self, locked: bool) -> bool: ...
    def run(self, x: Any, lengths: Any, locked: bool) -> _Array | None: ...

class Chain(Layers):
    def __init__(
        self,
        watched: _Watched,
        links: Sequence[tuple[str, int]],
        stages: Sequence[_Stage],
        table: _Array | None,
        weights: _Array,
        least_steps: int,
        is_double: bool,
    ) -> None: ...
