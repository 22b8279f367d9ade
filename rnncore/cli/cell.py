"""``--cell``: a cell by its name, or a class in a file or module that the user names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from ..cells.choosing import Maker, choose_cell, named_cells
from ..layers.recurrent import Recurrent

Loaded = TypeVar("Loaded")


def cell_name(context: click.Context, option: click.Parameter, text: str) -> str:
    """A name of `named_cells`, in capitals or not; what names a file or module stays as it is."""
    if ":" in text:
        return text
    known = {name.lower(): name for name in named_cells()}
    if text.lower() not in known:
        names = ", ".join(known.values())
        raise click.BadParameter(f"{text!r} is none of {names}; a cell of your own is FILE.py:CLASS")
    return text.lower() if text.lower() in ("lstm", "gru", "elman") else known[text.lower()]


def chosen_cell(text: str) -> Maker:
    """What makes the layers that ``--cell`` asks for.

    Raises
    ------
    click.UsageError
        If there is no such file, module or cell, or the file ends with an error.
    """
    if ":" not in text:
        return choose_cell(text, "--cell")
    place, _, name = text.rpartition(":")
    module = _module(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None or not callable(found):
        cells = ", ".join(_cells(module)) or "none"
        raise click.UsageError(f"--cell is {text}, but {place} has no {name!r}; its cells: {cells}")
    try:
        return choose_cell(found, "--cell")
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def _module(place: str) -> ModuleType:
    """The file, if it ends with .py, or the module, which must be one that Python finds."""
    if not place.endswith(".py"):
        missing = place.partition(".")[0]
        try:
            return _run(place, lambda: importlib.import_module(place))
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != missing:
                raise
            file = Path(*place.split(".")).with_suffix(".py")
            hint = f"; write {file}:CLASS for the file" if file.exists() else ", or a file as FILE.py:CLASS"
            raise click.UsageError(
                f"--cell names the module {place}, which Python does not find{hint}"
            ) from None
    if not os.path.isfile(place):
        raise click.UsageError(f"--cell names the file {place}, which does not exist")
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None
    assert spec.loader is not None
    module, load = importlib.util.module_from_spec(spec), spec.loader.exec_module
    _run(place, lambda: load(module))
    return module


def _run(place: str, load: Callable[[], Loaded]) -> Loaded:
    """The result of loading; an error of the user's own code becomes one line that names its place."""
    try:
        return load()
    except ModuleNotFoundError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}, line {last.lineno}" if not isinstance(error, SyntaxError) else place
        raise click.UsageError(
            f"--cell: {place} ended with {type(error).__name__} at {where}: {error}"
        ) from error


def _cells(module: ModuleType) -> list[str]:
    """Recurrent layers that the module itself defines."""
    return [
        name for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, Recurrent) and kind.__module__ == module.__name__
    ]  # fmt: skip
