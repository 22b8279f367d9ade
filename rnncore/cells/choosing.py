"""A cell by its name, its class or a function: what the estimators and the command line take."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from typing import Any

from ..layers.recurrent import Recurrent
from ..layers.registry import KNOWN

Maker = Callable[[int, int], Recurrent]


def named_cells() -> dict[str, type[Recurrent]]:
    """By name, the recurrent layers that two sizes alone make: built in, of the gallery, registered."""
    found = {name: kind for name, kind in KNOWN.items() if issubclass(kind, Recurrent) and _sizes_do(kind)}
    return dict(sorted(found.items(), key=lambda entry: entry[0].lower()))


def _sizes_do(kind: type[Recurrent]) -> bool:
    """Whether no option of a class must be given; `LeakyElman` checks that one of two is."""
    try:
        return not needs(kind) and bool(kind(4, 4))
    except (TypeError, ValueError):
        return False


def needs(make: Callable[..., Any]) -> list[str]:
    """Arguments without a default that ``make(input_size, hidden_size)`` would lack."""
    parameters = list(inspect.signature(make).parameters.values())
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for place, p in enumerate(plain)
            if p.default is p.empty and (place >= 2 or p.kind is p.KEYWORD_ONLY)]  # fmt: skip


def choose_cell(cell: Any, argument: str = "cell") -> Maker:
    """What makes a recurrent layer of two sizes, ``(input_size, hidden_size)``.

    Parameters
    ----------
    cell
        A name of `named_cells`, in capitals or not; a class of recurrent layers, such as a `Cell` of one's
        own; or a function of the two sizes, such as ``functools.partial(LEM, dt=0.5)``.
    argument
        What errors call it.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or needs more than the two sizes.
    """
    if isinstance(cell, str):
        return _by_name(cell, argument)
    if isinstance(cell, Recurrent):
        kind = type(cell).__name__
        raise TypeError(f"{argument} is a layer, {cell!r}; expected its class, {kind}, which is made anew")
    if isinstance(cell, type) and not issubclass(cell, Recurrent):
        raise TypeError(f"{argument} is the class {cell.__name__}; expected a subclass of rnncore.cells.Cell")
    if not callable(cell):
        raise TypeError(
            f"{argument} is {reprlib.repr(cell)}; expected the name of a cell, its class, or a function of "
            "input_size and hidden_size"
        )
    _check_needs(cell, argument)
    return cell if isinstance(cell, type) else _checked(cell, argument)


def _by_name(name: str, argument: str) -> Maker:
    exact = KNOWN.get(name)
    alike = [kind for known, kind in KNOWN.items() if known.lower() == name.lower()]
    kind = exact or (alike[0] if len(alike) == 1 else None)
    if kind is None or not issubclass(kind, Recurrent):
        known = ", ".join(named_cells())
        raise ValueError(
            f"{argument} is {reprlib.repr(name)}; expected the class of a cell or one of {known}"
        )
    _check_needs(kind, argument)
    return kind


def _check_needs(make: Callable[..., Any], argument: str) -> None:
    lacking = needs(make)
    if lacking:
        name = getattr(make, "__name__", repr(make))
        given = ", ".join(f"{each}=..." for each in lacking)
        raise ValueError(
            f"{argument} is {name}, which needs {' and '.join(lacking)} beside its two sizes; write "
            f"functools.partial({name}, {given})"
        )
    try:
        inspect.signature(make).bind(1, 1)
    except TypeError as error:
        name = getattr(make, "__name__", repr(make))
        raise TypeError(
            f"{argument} is {name}, which cannot be called with input_size and hidden_size: {error}"
        ) from None


def _checked(make: Callable[[int, int], Any], argument: str) -> Maker:
    def checked(input_size: int, hidden_size: int) -> Recurrent:
        made = make(input_size, hidden_size)
        if not isinstance(made, Recurrent):
            raise TypeError(
                f"{argument} made {reprlib.repr(made)} of the sizes {input_size} and {hidden_size}; expected "
                "a recurrent layer"
            )
        return made

    return checked
