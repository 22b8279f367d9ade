"""Text: where it comes from, how it is split, and how it becomes a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..checks import check_positive_integer
from ..disk import named_errors
from .batch import Batch

Part = TypeVar("Part", str, NDArray[Any])


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file's content: UTF-8, a byte-order mark dropped, every line end as ``"\\n"``.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    ValueError
        If it is empty or not UTF-8; the message names the file, and the place and value of the byte.
    """
    name = os.fspath(path)
    with named_errors(path), open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x} ({error.reason})"
        ) from None
    if not text:
        raise ValueError(f"{name} is empty, but at least one character is wanted")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def builtin_text() -> str:
    """The English text that comes with every CPython: the topics of ``help()``, about 465,000 characters.

    The topics are joined in the order of their names; Python versions differ in their content.
    """
    from pydoc_data.topics import topics  # half a megabyte, which only those who ask for it shall load

    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"


def split(sequence: Part, validation: float = 0.05, test: float = 0.0) -> tuple[Part, Part, Part]:
    """Cut a sequence in order: what comes first is to train on, then a part to validate, the last to test.

    Parameters
    ----------
    sequence
        A text, or an array along its first axis.
    validation, test
        Their shares, each at least 0, together below 1; lengths are rounded down.

    Returns
    -------
    train, validation, test
        Nothing is lost, nothing stands in two of them.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}, but a share of at least 0 and below 1 is wanted")
    if validation + test >= 1:
        raise ValueError(f"validation and test take {validation + test} of all: nothing is left to train on")
    last = len(sequence) - int(len(sequence) * test)
    first = last - int(len(sequence) * validation)
    return sequence[:first], sequence[first:last], sequence[last:]


class TextStream:
    """A text laid out in parallel streams, to predict each next character: one long batch per epoch.

    Row b holds the b-th part of the text, in reading order; the rows' lengths differ by at most 1. Every
    character but the first of each document is a target exactly once. ``Trainer(bptt=k)`` cuts the batch
    into segments and carries the state along each row.

    Parameters
    ----------
    ids
        Integers ``(N,)``, such as ``vocabulary.encode(text)``.
    batch_size
        Rows B. There must be at least one prediction for each.
    documents
        Indices into ids where documents begin, ascending; None where all is one. No character is predicted
        from another document: the state is reset at each beginning.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as wanted, or the text is too short for so many rows.
    """

    def __init__(self, ids: Any, batch_size: int, documents: Sequence[int] | None = None) -> None:
        ids = check_ids("ids", ids)
        rows = check_positive_integer("batch_size", batch_size)
        begins = document_begins(len(ids), documents)
        # A prediction leads from one character to the next, but from no document's last one.
        sources = np.flatnonzero(~begins[1:])
        if len(sources) < rows:
            raise ValueError(
                f"ids hold {len(sources)} characters with one before them, but batch_size {rows} wants at "
                f"least {rows}"
            )
        self.predictions = len(sources)
        steps, longer = -(-len(sources) // rows), len(sources) % rows
        lengths = np.full(rows, steps, np.intp)
        if longer:
            lengths[longer:] -= 1
        index = np.arange(steps)[:, None] + (np.cumsum(lengths) - lengths)
        # Behind a shorter row's end stands the next row's first character: padding, but a valid id.
        places = sources[np.minimum(index, len(sources) - 1)]
        self._batch = Batch(
            np.ascontiguousarray(ids[places]),
            np.ascontiguousarray(ids[places + 1]),
            lengths if longer else None,
            begins[places] if documents is not None else None,
        )

    def __len__(self) -> int:
        return 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The one batch, the same in every epoch; none if ``start`` is not 0."""
        if start == 0:
            yield self._batch

    def __repr__(self) -> str:
        steps, rows = self._batch.x.shape
        return f"<TextStream of {self.predictions} predictions: {steps} steps of {rows} rows>"


def check_ids(name: str, ids: Any) -> NDArray[Any]:
    """``ids`` as they are, if they are an integer array ``(N,)``; TypeError or ValueError otherwise."""
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu":
        came = ids.dtype if isinstance(ids, np.ndarray) else type(ids).__name__
        raise TypeError(f"{name} are {came}, but integers are wanted, as vocabulary.encode(text) returns")
    if ids.ndim != 1:
        raise ValueError(f"{name} have shape {ids.shape}, but (N,) is wanted")
    return ids


def document_begins(size: int, documents: Sequence[int] | None) -> NDArray[np.bool_]:
    """True at the first character of each document, ``bool (N,)``; the first character always begins one.

    Raises
    ------
    ValueError
        If the places are not ascending or lie outside the text.
    """
    begins = np.zeros(size, np.bool_)
    begins[:1] = True
    places = np.asarray(() if documents is None else documents)
    if not places.size:
        return begins
    if places.ndim != 1 or places.dtype.kind not in "iu":
        raise ValueError(f"documents are {places.dtype} of shape {places.shape}, but indices (D,) are wanted")
    if places[0] < 0 or places[-1] >= size or (np.diff(places) <= 0).any():
        raise ValueError(f"documents begin at {_ends(places)}, but ascending indices below {size} are wanted")
    begins[places] = True
    return begins


def _ends(places: NDArray[Any]) -> str:
    shown = places.tolist() if len(places) <= 4 else [*places[:2].tolist(), "...", *places[-2:].tolist()]
    return ", ".join(map(str, shown))
