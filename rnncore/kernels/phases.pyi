from typing import Any

OPERATIONS: dict[str, int]
MAX_REGISTERS: int
MAX_MEANS: int

class StepProgram:
    def __init__(self, form: Any) -> None: ...
    def adopt(self, library: Any, addresses: list[int], is_double: bool) -> None: ...
