"""What a model file says about the data that its network wants."""

from __future__ import annotations

from typing import Any

from .labelled import Classification
from .series import Forecast

Task = Classification | Forecast

_TASKS: dict[str, type[Classification] | type[Forecast]] = {"classify": Classification, "forecast": Forecast}


def task_from_dict(data: Any) -> Task:
    """The task that ``to_dict`` described; ValueError if the description is anything else."""
    kind = data.get("task") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _TASKS:
        raise ValueError(f"the task is {str(kind)[:40]!r}, but one of {', '.join(_TASKS)} is wanted")
    return _TASKS[kind].from_dict(data)
