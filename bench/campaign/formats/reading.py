"""What reading a file may end in: a value, a ValueError that names the file, or the system's OSError."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from campaign.isolation import Broken

Found = TypeVar("Found")


class Refused(ValueError):
    """The file was refused, in the way that is promised."""


def read(call: Callable[[], Found], path: Path) -> Found:
    """What ``call`` returns, or Refused; Broken where the error is not as promised."""
    try:
        return call()
    except ValueError as error:
        message = str(error)
        if os.fspath(path) not in message:
            raise Broken(f"the message does not name the file: {message[:200]}") from error
        if len(message) > 2000 or "\n" in message:
            raise Broken(
                f"the message has {len(message)} characters, or several lines: {message[:200]!r}"
            ) from error
        raise Refused(message) from error
