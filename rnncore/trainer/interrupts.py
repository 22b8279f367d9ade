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
        self._listening = False

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back."""
        if self.pressed:
            raise KeyboardInterrupt

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._listen)
            self._listening = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._listening = False

    def _listen(self, number: int, frame: Any) -> None:
        self.check()
        self.pressed = True
