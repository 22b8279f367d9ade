"""Batches made ready by a thread while the network learns from those before."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

from ..checks import check_positive_integer
from .batch import Source

_POLL = 0.05  # seconds after which a thread that waits for room looks whether it is still wanted


class Prefetch:
    """A source whose batches are made in a thread, at most ``depth`` ahead.

    The batches are those of the source, in its order. An error in the source is raised where its batch would
    have come. The thread ends when the epoch does, or when whoever reads stops reading.

    Parameters
    ----------
    source
        Has ``len`` and ``batches(epoch, start)``.
    depth
        Batches that wait, at most.
    """

    def __init__(self, source: Source, depth: int = 2) -> None:
        if not callable(getattr(source, "batches", None)) or not hasattr(source, "__len__"):
            raise TypeError(f"source is a {type(source).__name__}, but a data source is wanted")
        self.source = source
        self.depth = check_positive_integer("depth", depth)

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from number ``start`` on."""
        ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(self.depth)
        stop = threading.Event()
        arguments = (self.source, epoch, start, ready, stop)
        thread = threading.Thread(target=_fill, args=arguments, name="rnncore-prefetch", daemon=True)
        thread.start()
        process = os.getpid()
        try:
            while True:
                if os.getpid() != process:
                    raise RuntimeError(
                        "these batches are made by a thread of the process that began the epoch, which a "
                        "forked one does not have: call batches again in it"
                    )
                batch, end = ready.get()
                if isinstance(end, StopIteration):
                    return
                if end is not None:
                    raise end
                yield batch
        finally:
            stop.set()
            thread.join()

    def __repr__(self) -> str:
        return f"Prefetch({self.source!r}, depth={self.depth})"


def _fill(source: Source, epoch: int, start: int, ready: queue.Queue[Any], stop: threading.Event) -> None:
    """Hand over each batch, and at last why there are no more: StopIteration or what went wrong."""
    end: BaseException = StopIteration()
    try:
        for batch in source.batches(epoch, start):
            if not _put(ready, (batch, None), stop):
                return
    except BaseException as error:  # whatever it is, it belongs to the reader
        end = error
    _put(ready, (None, end), stop)


def _put(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Wait for room; False if nobody reads any more."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL)
            return True
        except queue.Full:
            continue
    return False
