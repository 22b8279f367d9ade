"""What a record of arrays says of itself: names, types and shapes, and no numbers by the thousand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

Record = TypeVar("Record")
FEW = 8  # numbers that are shown


def brief(cls: type[Record]) -> type[Record]:
    """A dataclass whose representation has arrays as ``float32 (T, B, H)``."""

    def __repr__(self: Any) -> str:
        shown = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.repr}
        entries = ", ".join(f"{name}={_short(value)}" for name, value in shown.items())
        return f"{type(self).__name__}({entries})"

    cls.__repr__ = __repr__  # type: ignore[method-assign]
    return cls


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size <= FEW:
        return np.array2string(value, precision=4, separator=", ")
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name!r}: {_short(part)}' for name, part in value.items())}}}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_short, value))}]"
    return repr(value)
