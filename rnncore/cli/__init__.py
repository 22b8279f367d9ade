"""The command line ``rnncore`` (the extra ``cli``)."""

from __future__ import annotations

import sys
from typing import Any

try:
    from .commands import main
except ModuleNotFoundError as error:
    if error.name not in ("click", "tqdm"):
        raise
    missing = error.name

    def main(*_: Any, **__: Any) -> None:  # type: ignore[misc]
        """Say what is missing, and end."""
        print(f'rnncore: {missing} is not installed: pip install "rnncore[cli]"', file=sys.stderr)
        sys.exit(2)


__all__ = ["main"]
