"""Ctrl-C, held back until it does no harm."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any


class CtrlC:
    """While the context lasts, the first Ctrl-C sets ``pressed``, and the second raises KeyboardInterrupt.

    Python lets only the main thread listen, and a handler that someone else has set is left in place:
    elsewhere ``pressed`` stays False.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None  # the handler to go back to

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back."""
        if self.pressed:
            raise KeyboardInterrupt

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT)
        if main and _is_ours(before):
            self._before = before
            signal.signal(signal.SIGINT, self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _listen(self, number: int, frame: Any) -> None:
        self.check()
        self.pressed = True


def _is_ours(handler: Any) -> bool:
    """Whether it is Python's own, or that of a `CtrlC` which a second Ctrl-C kept from removing it."""
    return handler is signal.default_int_handler or getattr(handler, "__func__", None) is CtrlC._listen
