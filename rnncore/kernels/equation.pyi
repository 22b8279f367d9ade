from typing import Any

class Equation:
    def __init__(
        self,
        program: Any,
        weights: list[Any],
        biases: list[Any],
        sources: list[tuple[str, int, Any]],
        sizes: list[tuple[int, int]],
        input_size: int,
    ) -> None: ...
