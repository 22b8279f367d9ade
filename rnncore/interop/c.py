"""A network as one C99 file: weights, a state, ``step`` and ``reset``, for devices and hosts without Python.

The file needs no other one and no library but the C compiler's own and libm. It allocates nothing; all that a
step writes lies in a state struct that the caller provides, so that several states and threads share the
weights. Weights are written as hexadecimal floats, which lose no bit. Results differ from rnncore's in
rounding only: the sums are taken in another order and the gate functions are libm's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..disk import write_atomically
from ..network import Network
from ..stream import Stage, stages
from ..version import __version__
from .c_functions import WORK, depth, functions, parameters

Array = NDArray[Any]

HEAD = Template("""\
/* ${title}
 *
 * Written by rnncore ${version}. C99; link with libm. Elsewhere, declare what is in here by
 *
 *     #define ${NAME}_DECLARATIONS
 *     #include "${file}"
 *
 * ${name}_reset sets all states to zero: call it before the first step. A state holds what one sequence has
 * left behind, and a step's working memory; steps on different states may run at the same time.
 */
#ifndef ${NAME}_DECLARED
#define ${NAME}_DECLARED

#define ${NAME}_INPUTS ${inputs} /* ${inputs_are} */
#define ${NAME}_OUTPUTS ${outputs}

typedef struct {
${fields}
} ${name}_state;

void ${name}_reset(${name}_state *state);

/* ${contract} */
${prototype};

#endif
#ifndef ${NAME}_DECLARATIONS

#include <math.h>
#include <string.h>
""")


def export(
    network: Network, path: str | os.PathLike[str], name: str | None = None, softmax: bool = False
) -> None:
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

    Raises
    ------
    ValueError
        If a layer cannot go step by step, a parameter is not finite, or ``name`` is no C identifier.
    OSError
        If ``path`` cannot be written.
    """
    write_atomically(path, "".join(source(network, Path(path).name, name, softmax)).encode())


def identifier(text: str) -> str:
    """A C identifier made of ``text``: ``"2 gates.v1"`` becomes ``"model_2_gates_v1"``."""
    cleaned = re.sub(r"[^0-9A-Za-z_]", "_", text).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"model_{cleaned}".rstrip("_")


def source(network: Network, file: str, name: str | None = None, softmax: bool = False) -> Iterator[str]:
    """The text of the file, piece by piece; see `export`."""
    if name is not None and not re.fullmatch(r"[A-Za-z][0-9A-Za-z_]*", name):
        raise ValueError(f"name is {name!r}, but a letter and then letters, digits and _ are wanted")
    chain = stages(network)
    for parameter, values in network.params.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{parameter} has entries that are not finite: C has no constants for them")
    single = network.dtype == np.float32
    names = {
        "name": name or identifier(Path(file).stem), "real": "float" if single else "double",
        "f": "f" if single else "",
    }  # fmt: skip
    yield _head(network, chain, file, names, softmax)
    text, called = functions(chain, softmax)
    yield Template(text).substitute(names)
    for place, stage in enumerate(chain):
        for parameter in parameters(stage):
            yield from _constant(f"{names['name']}_{place}_{parameter}", stage.arrays[parameter], names)
    yield from _step(chain, called, names, softmax)
    yield "\n#endif\n"


def _width(stage: Stage) -> int:
    """Features that a stage hands on."""
    weight = stage.arrays["weight_hh" if stage.kind in WORK else "weight"]
    return int(weight.shape[0 if stage.kind == "dense" else 1])


def _inputs(stage: Stage) -> int:
    """Features that it takes, or ids."""
    weight = stage.arrays["weight_ih" if stage.kind in WORK else "weight"]
    return int(weight.shape[0 if stage.kind == "embedding" else 1])


def _head(network: Network, chain: list[Stage], file: str, names: dict[str, str], softmax: bool) -> str:
    real, ids = names["real"], chain[0].kind == "embedding"
    fields = []
    for place, stage in enumerate(chain):
        if stage.kind in WORK:
            fields.append(f"    {real} h{place}[{depth(stage) * _width(stage)}];")
        if stage.kind == "lstm":
            fields.append(f"    {real} c{place}[{_width(stage)}];")
    # Each stage but a recurrent one, whose h is its result, and the last one hands on through `between`.
    handed = [_width(stage) for stage in chain[:-1] if stage.kind == "dense"]
    work = [WORK[stage.kind] * _width(stage) for stage in chain if stage.kind in WORK]
    fields += [f"    {real} between[2][{max(handed)}];"] if handed else []
    fields += [f"    {real} work[{max(work)}];"] if work else []
    title = ", ".join(map(repr, network.layers)) + (", softmax" if softmax else "")
    inputs = _inputs(chain[0])
    contract = (
        f"One step of the id x, 0 to {inputs - 1}; returns 0, or -1, and nothing has changed, for another."
        if ids
        else "One step: x and y must not overlap."
    )
    return HEAD.substitute(
        names, NAME=names["name"].upper(), version=__version__, title=title.replace("*/", "* /"),
        file=re.sub(r"[^ -~]|[\"\\*?]", "_", file), inputs=inputs, outputs=_width(chain[-1]),
        inputs_are="ids" if ids else "numbers in x", contract=contract, prototype=_prototype(names, ids),
        fields="\n".join(fields) or "    char none; /* no layer has a state */",
    )  # fmt: skip


def _prototype(names: dict[str, str], ids: bool) -> str:
    result, x = ("int", "long x") if ids else ("void", f"const {names['real']} *x")
    return f"{result} {names['name']}_step({names['name']}_state *state, {x}, {names['real']} *y)"


def _constant(name: str, values: Array, names: dict[str, str]) -> Iterator[str]:
    """An array of hexadecimal floats, which stand for the very bits."""
    yield f"\nstatic const {names['real']} {name}[{values.size}] = {{\n"
    flat = values.ravel()
    for start in range(0, flat.size, 6):
        yield "    " + " ".join(f"{_hex(v)}{names['f']}," for v in flat[start : start + 6]) + "\n"
    yield "};\n"


def _hex(value: Any) -> str:
    return re.sub(r"\.?0*p", "p", float(value).hex())


def _step(chain: list[Stage], called: list[str], names: dict[str, str], softmax: bool) -> Iterator[str]:
    """The two functions of the file."""
    name, ids = names["name"], chain[0].kind == "embedding"
    yield f"\nvoid {name}_reset({name}_state *state)\n{{\n    memset(state, 0, sizeof *state);\n}}\n"
    yield f"\n{_prototype(names, ids)}\n{{\n"
    if ids:
        yield f"    if (x < 0 || x >= {_inputs(chain[0])})\n        return -1;\n"
    if not {stage.kind for stage in chain} & {*WORK}:
        yield "    (void)state;\n" if len(chain) - ids < 2 else ""
    given = "x"
    for place, (stage, function) in enumerate(zip(chain, called, strict=True)):
        kind, last, width = stage.kind, place == len(chain) - 1, _width(stage)
        weights = ", ".join(f"{name}_{place}_{parameter}" for parameter in parameters(stage))
        sizes = f"{_inputs(stage)}, {width}"
        result = f"state->h{place}"
        if kind == "embedding":
            result = f"({weights} + x * {width})"
        elif kind == "dense":
            result = "y" if last else f"state->between[{place % 2}]"
            yield f"    {name}_{function}({sizes}, {weights}, {given}, {result});\n"
        else:
            states = f"{result}, state->c{place}" if kind == "lstm" else result
            yield f"    {name}_{function}({sizes}, {weights}, {given}, {states}, state->work);\n"
            result += f" + {(depth(stage) - 1) * width}" if kind == "skip" else ""
        if last and result != "y":
            yield f"    memcpy(y, {result}, {width} * sizeof *y);\n"
        given = result
    if softmax:
        yield f"    {name}_softmax(y, {_width(chain[-1])});\n"
    yield "    return 0;\n}\n" if ids else "}\n"
