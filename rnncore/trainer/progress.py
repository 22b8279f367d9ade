"""What a person sees while a network trains: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

BAR_SECONDS = 0.2  # between two updates of the numbers beside the bar
LINE_SECONDS = 10.0  # between two plain lines
MODES = ("auto", "bar", "lines", "off")


class Progress:
    """Shows nothing; what the other two have in common.

    Parameters
    ----------
    done
        Updates made before, by a run that is resumed.

    Attributes
    ----------
    total : int or None
        Updates of the whole run; None until it is known.
    """

    #: seconds between two displays; infinite for none
    pause = float("inf")

    def __init__(self, done: int = 0) -> None:
        self.total: int | None = None
        self.shown = done
        self.last = time.monotonic()
        self.latest: tuple[int, float, float, float] | None = None

    def step(self, step: int, loss: float, norm: float, lr: float) -> None:
        """An update has been made."""
        self.latest = step, loss, norm, lr
        if time.monotonic() - self.last >= self.pause:
            self.show_latest()

    def show_latest(self) -> None:
        """Display the latest update, unless that has been done."""
        if self.latest is not None:
            step, loss, norm, lr = self.latest
            self.show(step, f"loss {loss:.4f}  gradient {norm:.3g}  lr {lr:.3g}")
            self.latest, self.last = None, time.monotonic()

    def show(self, step: int, numbers: str) -> None:
        """Display the numbers of an update."""

    def say(self, text: str) -> None:
        """Display a line of text."""

    def close(self) -> None:
        """End the display."""


class Lines(Progress):
    """Plain lines on standard error, one in ten seconds."""

    pause = LINE_SECONDS

    def show(self, step: int, numbers: str) -> None:
        rate = (step - self.shown) / max(time.monotonic() - self.last, 1e-9)
        self.shown = step
        of = f"/{self.total}" if self.total else ""
        self.say(f"step {step}{of}  {numbers}  {rate:.1f} steps/s")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar(Progress):
    """A tqdm bar on standard error."""

    pause = BAR_SECONDS

    def __init__(self, done: int = 0) -> None:
        super().__init__(done)
        from tqdm import tqdm  # only here: importing rnncore brings no display library

        self.bar: Any = tqdm(initial=done, unit="step", dynamic_ncols=True, file=sys.stderr)

    def show(self, step: int, numbers: str) -> None:
        self.bar.total = self.total
        self.bar.set_postfix_str(numbers, refresh=False)
        self.bar.update(step - self.shown)
        self.shown = step

    def say(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self.show_latest()
        self.bar.close()


def check_mode(mode: Any) -> None:
    """Raise ValueError if there is no such display, ModuleNotFoundError if what it needs is not installed."""
    if mode not in MODES:
        raise ValueError(f"progress is {mode!r}, but one of {', '.join(MODES)} is wanted")
    if mode == "bar" and not importlib.util.find_spec("tqdm"):
        raise ModuleNotFoundError('a bar wants tqdm: pip install "rnncore[cli]"', name="tqdm")


def make_progress(mode: str, done: int) -> Progress:
    """The display for a mode: ``"auto"``, ``"bar"``, ``"lines"`` or ``"off"``.

    ``"auto"`` is a bar if standard error is a terminal and tqdm is installed, otherwise lines.
    """
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() and importlib.util.find_spec("tqdm") else "lines"
    return {"bar": Bar, "lines": Lines, "off": Progress}[mode](done)
