"""A network as one C99 file: weights, a state, ``step``, ``run`` and ``reset``, for hosts without Python.

The file needs no other one and no library but the C compiler's own and libm. It allocates nothing; a state
struct that the caller provides holds what one sequence leaves behind, so that states and threads share the
weights. These are constants of the file, as hexadecimal floats, or come from a block of memory. Results
differ from rnncore's in rounding only: the sums are taken in another order.

`c_cells` has the equations, `c_functions` sigmoid and its like, `c_layers` the products, `c_file` the rest.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..disk import write_atomically
from ..network import Network
from ..stream import Stage, stages
from .c_file import File, Options
from .c_functions import DOUBLE, FLOAT, counted
from .c_layers import layers as layers_of

Array = NDArray[Any]

FORMAT = 1  # of blocks of weights; part of the number that a block and its file share
LANES = (1, 2, 4, 8, 16)


class Report(NamedTuple):
    """What an exported network takes, in bytes, and what a step does, whatever the numbers are."""

    weights: int
    state: int
    stack: int  # local arrays of a step
    code: int  # an estimate for x86-64 at -O2, good to about a factor of two
    multiply_adds: int
    others: int  # other arithmetic operations, comparisons and shifts included

    def __str__(self) -> str:
        sizes = f"{self.weights:,} bytes of weights, {self.state:,} of state, {self.stack:,} of stack"
        code = f"some {self.code:,} of code"
        work = f"{self.multiply_adds:,} multiply-adds and {self.others:,} other operations a step"
        return f"{sizes}, {code}; {work}"


def export(
    network: Network,
    path: str | os.PathLike[str],
    name: str | None = None,
    softmax: bool = False,
    weights: str | os.PathLike[str] | None = None,
    lanes: int = 8,
) -> Report:
    """Write a network as one C99 file.

    Parameters
    ----------
    network
        Its layers must go step by step, as for `Network.stream`. Dropout and noise are off, zoneout gives its
        mean, and nobody looks whether states leave the ``limit`` of an `Elman` layer.
    path
        The file; replaced atomically.
    name
        What the names in the file begin with: letters, digits and ``_``. None for the file's name, in which
        all other characters become ``_``.
    softmax
        Whether y is the softmax of the last layer's numbers.
    weights
        A second file, for the weights, which the program then hands over as a block of memory. None for
        weights that are constants of the C file.
    lanes
        Rows are padded with zeros to a multiple of this many units: 1, 2, 4, 8 or 16. 8 suits processors with
        vectors, 1 those without.

    Returns
    -------
    Report
        The sizes in bytes, and the operations of a step.

    Raises
    ------
    ValueError
        If a layer cannot go step by step, a parameter is not finite, ``name`` is not a C identifier,
        ``lanes`` is another number, or ``weights`` is ``path``.
    OSError
        If a file cannot be written.

    Notes
    -----
    States, inputs and what layers hand on count as zero where they are smaller than 2^-60 (2^-500 in
    float64), and so do denormal weights: some processors take a hundred times as long for denormal numbers.
    """
    if weights is not None and os.path.realpath(weights) == os.path.realpath(path):
        same = f"weights is {os.fspath(weights)!r}, the C file itself"
        raise ValueError(f"{same}; give the weights a file of their own")
    file = _file(network, Path(path).name, name, softmax, lanes, weights is not None)
    if weights is not None:
        write_atomically(weights, file.block())
    write_atomically(path, "".join(file.text()).encode())
    return _report(file)


def identifier(text: str) -> str:
    """A C identifier made of ``text``: ``"2 gates.v1"`` becomes ``"model_2_gates_v1"``."""
    cleaned = re.sub(r"[^0-9A-Za-z_]", "_", text).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"model_{cleaned}".rstrip("_")


def _file(network: Network, file: str, name: str | None, softmax: bool, lanes: int, in_block: bool) -> File:
    """The file before it is text; what cannot be written is refused here."""
    if name is not None and not re.fullmatch(r"[A-Za-z][0-9A-Za-z_]*", name):
        raise ValueError(f"name is {name!r}; expected a letter, followed by letters, digits and _")
    if isinstance(lanes, bool) or lanes not in LANES:
        raise ValueError(f"lanes is {lanes!r}; expected one of {', '.join(map(str, LANES))}")
    chain = stages(network)
    for parameter, values in network.params.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{parameter} has entries that are not finite: C has no constants for them")
    real = FLOAT if network.dtype == np.float32 else DOUBLE
    counts = counted(real)
    layers = [entry for stage in chain for entry in layers_of(stage, lanes, counts)]
    tiny, normal = float.fromhex(real.tiny.rstrip("f")), np.finfo(network.dtype).tiny
    for entry in layers:
        least = tiny if entry.kind == "embedding" else normal
        for key, values in entry.arrays.items():
            entry.arrays[key] = values * (np.abs(values) >= least)  # zeros keep their sign
    title = ", ".join(map(repr, network.layers)) + (", softmax" if softmax else "")
    layout = _layout(chain, network.dtype, lanes)
    names = name or identifier(Path(file).stem), file
    return File(layers, real, Options(*names, softmax, lanes, in_block, layout, title))


def _layout(chain: list[Stage], dtype: np.dtype[Any], lanes: int) -> int:
    """A number of 64 bits for all that a file's text has of a network, and so a block must agree with."""
    facts: list[Any] = [FORMAT, dtype.name, lanes]
    for stage in chain:
        shapes = {name: array.shape for name, array in stage.arrays.items()}
        delays = stage.arrays["delays"].tolist() if "delays" in shapes else []
        functions = stage.gate_activation, stage.activation
        facts.append([stage.kind, shapes, delays, functions, tuple(stage.zoneout)])
        facts += [] if stage.equation is None else [str(stage.equation)]
        if stage.function or stage.kind == "activation":
            facts.append([stage.function, stage.alpha, stage.features])
    return int.from_bytes(hashlib.blake2b(repr(facts).encode(), digest_size=8).digest(), "little")


def _report(file: File) -> Report:
    sizes = file.weights_size(), file.state_size(), file.stack(), file.code()
    return Report(*sizes, *file.count())
