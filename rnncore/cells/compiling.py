"""Builds a cell's printed programs with a C compiler, and puts them in place of the interpreter."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from ..kernels import get_include
from ..kernels.dispatch import level
from .directions import Direction
from .printing import printed

#: the compiler's options and the bytes of a vector at each level; those of rnncore/kernels/levels
_LEVELS = {
    "avx512": (["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"], 64),
    "avx2": (["-mavx2", "-mfma"], 32),
    "baseline": ([], 16),
}
_OPTIONS = ["-O3", "-shared", "-fPIC", "-w", "-fno-trapping-math", "-fno-math-errno"]
_OPTIONS += ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"]  # as setup.py builds the interpreter

# A text is built once in a process, however many cells it serves.
_built: dict[tuple[str, ...], ctypes.CDLL] = {}


def compile_directions(directions: list[Direction], is_double: bool) -> None:
    """Have these directions run compiled functions at the level in force, for one type.

    Raises
    ------
    OSError
        If there is no C compiler, or it fails.
    """
    forms = [direction.form for direction in directions]
    library = _library(printed(forms), is_double)
    for i, direction in enumerate(directions):
        addresses = [
            ctypes.cast(library[f"phase_{i}_{k}"], ctypes.c_void_p).value or 0 if phase.blocks else 0
            for k, phase in enumerate(direction.form.phases)
        ]
        direction.program.adopt(library, addresses, is_double)
        direction.made_for = level(), is_double


def _compiler() -> list[str]:
    """The command of the C compiler: CC's, else that which Python was built with."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def _library(text: str, is_double: bool) -> ctypes.CDLL:
    """The text, compiled and loaded; its file is gone once it is loaded."""
    options, size = _LEVELS[level()]
    macros = [f"-DVECTOR_BYTES={size}", f"-DREAL={'double' if is_double else 'float'}"]
    macros.append(f"-DREAL_IS_DOUBLE={int(is_double)}")
    command = [*_compiler(), *_OPTIONS, *options, *macros, f"-I{get_include()}"]
    key = *command, text
    if key not in _built:
        with tempfile.TemporaryDirectory(prefix="rnncore-") as folder:
            source, target = Path(folder, "cell.c"), Path(folder, "cell.so")
            source.write_text(text, "utf-8")
            _run([*command, str(source), "-o", str(target), "-lm"])
            _built[key] = ctypes.CDLL(str(target))
    return _built[key]


def _run(command: list[str]) -> None:
    """Run the compiler."""
    advice = "set CC to a C compiler, or leave compile() out: the cell runs without it"
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise OSError(f"compile() cannot run the C compiler {command[0]!r} ({error}); {advice}") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[:5])
        raise OSError(f"the C compiler {command[0]!r} failed with code {done.returncode}: {said}\n{advice}")
