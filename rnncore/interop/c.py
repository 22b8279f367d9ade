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

from ..files import write_atomically
from ..layers.recurrent import ACTIVATIONS
from ..network import Network
from ..stream import Stage, stages
from ..version import __version__

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

# What the steps are made of: each is written where a layer needs it. ${f} is the suffix of float's functions.
FUNCTIONS = {
    "dot": """\
static ${real} ${name}_dot(const ${real} *a, const ${real} *b, int n)
{
    ${real} sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}
""",
    "sigmoid": """\
static ${real} ${name}_sigmoid(${real} x)
{
    return 1 / (1 + exp${f}(-x));
}
""",
    "dense": """\
static void ${name}_dense(int inputs, int outputs, const ${real} *weight, const ${real} *bias,
                          const ${real} *x, ${real} *y)
{
    for (int i = 0; i < outputs; i++)
        y[i] = ${name}_dot(weight + (size_t)i * inputs, x, inputs) + bias[i];
}
""",
    "elman": """\
static void ${name}_elman_${activation}(int inputs, int units, const ${real} *weight_ih,
                                        const ${real} *weight_hh, const ${real} *bias, const ${real} *x,
                                        ${real} *h, ${real} *sums)
{
    for (int i = 0; i < units; i++) {
        const ${real} a = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs)
                          + ${name}_dot(weight_hh + (size_t)i * units, h, units) + bias[i];
        sums[i] = ${g};
    }
    memcpy(h, sums, units * sizeof *h);
}
""",
    "lstm": """\
static void ${name}_lstm(int inputs, int units, const ${real} *weight_ih, const ${real} *weight_hh,
                         const ${real} *bias, const ${real} *x, ${real} *h, ${real} *c, ${real} *sums)
{
    for (int i = 0; i < 4 * units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs)
                  + ${name}_dot(weight_hh + (size_t)i * units, h, units) + bias[i];
    for (int i = 0; i < units; i++) {
        const ${real} in = ${name}_sigmoid(sums[i]), forget = ${name}_sigmoid(sums[units + i]);
        const ${real} g = tanh${f}(sums[2 * units + i]), out = ${name}_sigmoid(sums[3 * units + i]);
        c[i] = forget * c[i] + in * g;
        h[i] = out * tanh${f}(c[i]);
    }
}
""",
    "gru": """\
static void ${name}_gru(int inputs, int units, const ${real} *weight_ih, const ${real} *weight_hh,
                        const ${real} *bias, const ${real} *bias_hn, const ${real} *x, ${real} *h,
                        ${real} *sums)
{
    /* Of the candidate, what comes from x and what from h are kept apart. */
    for (int i = 0; i < 3 * units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs) + bias[i];
    for (int i = 0; i < 2 * units; i++)
        sums[i] += ${name}_dot(weight_hh + (size_t)i * units, h, units);
    for (int i = 0; i < units; i++)
        sums[3 * units + i] = ${name}_dot(weight_hh + (size_t)(2 * units + i) * units, h, units) + bias_hn[i];
    for (int i = 0; i < units; i++) {
        const ${real} r = ${name}_sigmoid(sums[i]), z = ${name}_sigmoid(sums[units + i]);
        const ${real} n = tanh${f}(sums[2 * units + i] + r * sums[3 * units + i]);
        h[i] = n + z * (h[i] - n);
    }
}
""",
    "softmax": """\
static void ${name}_softmax(${real} *y, int n)
{
    ${real} top = y[0], sum = 0;
    for (int i = 1; i < n; i++)
        top = y[i] > top ? y[i] : top;
    for (int i = 0; i < n; i++)
        sum += y[i] = exp${f}(y[i] - top);
    for (int i = 0; i < n; i++)
        y[i] /= sum;
}
""",
}
G = {
    "tanh": "tanh${f}(a)",
    "sigmoid": "${name}_sigmoid(a)",
    "relu": "a < 0 ? 0 : a",
    "identity": "a",
}
PARAMETERS = {
    "embedding": ("weight",),
    "dense": ("weight", "bias"),
    "elman": ("weight_ih", "weight_hh", "bias"),
    "lstm": ("weight_ih", "weight_hh", "bias"),
    "gru": ("weight_ih", "weight_hh", "bias", "bias_hn"),
}
PLAIN = ACTIVATIONS.index("sigmoid"), ACTIVATIONS.index("tanh")
WORK = {"elman": 1, "lstm": 4, "gru": 4}  # numbers a unit


def export(
    network: Network, path: str | os.PathLike[str], name: str | None = None, softmax: bool = False
) -> None:
    """Write a network as one C99 file.

    Parameters
    ----------
    network
        Its layers must go step by step: no pooling, no `Bidirectional`. Dropout is off, and nobody looks
        whether states leave the ``limit`` of an `Elman` layer.
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
    for stage in chain:
        plain = stage.kind == "elman" or (stage.gate_activation, stage.activation) == PLAIN
        plain = plain and not stage.zoneout
        known = {*stage.arrays} == {*PARAMETERS.get(stage.kind, ())}
        if not known or (stage.kind in WORK and not plain):
            raise ValueError(f"there is no C of this variant of {stage.kind}")
    for parameter, values in network.params.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{parameter} has entries that are not finite: C has no constants for them")
    single = network.dtype == np.float32
    names = {
        "name": name or identifier(Path(file).stem), "real": "float" if single else "double",
        "f": "f" if single else "",
    }  # fmt: skip
    yield _head(network, chain, file, names, softmax)
    for text in _functions(chain, softmax):
        yield "\n" + Template(Template(text).safe_substitute(names)).substitute(names)
    for place, stage in enumerate(chain):
        for parameter, values in stage.arrays.items():
            yield from _constant(f"{names['name']}_{place}_{parameter}", values, names)
    yield from _step(chain, names, softmax)
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
            fields.append(f"    {real} h{place}[{_width(stage)}];")
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


def _functions(chain: list[Stage], softmax: bool) -> list[str]:
    """The functions that this chain calls, each once, in the order in which C wants them."""
    kinds = {stage.kind for stage in chain}
    activations = sorted({ACTIVATIONS[stage.activation] for stage in chain if stage.kind == "elman"})
    found = [FUNCTIONS["dot"]] if kinds - {"embedding"} else []
    if kinds & {"lstm", "gru"} or "sigmoid" in activations:
        found.append(FUNCTIONS["sigmoid"])
    found += [
        Template(FUNCTIONS["elman"]).safe_substitute(activation=activation, g=G[activation])
        for activation in activations
    ]
    found += [FUNCTIONS[kind] for kind in ("dense", "lstm", "gru") if kind in kinds]
    return [*found, FUNCTIONS["softmax"]] if softmax else found


def _constant(name: str, values: Array, names: dict[str, str]) -> Iterator[str]:
    """An array of hexadecimal floats, which stand for the very bits."""
    yield f"\nstatic const {names['real']} {name}[{values.size}] = {{\n"
    flat = values.ravel()
    for start in range(0, flat.size, 6):
        yield "    " + " ".join(f"{_hex(v)}{names['f']}," for v in flat[start : start + 6]) + "\n"
    yield "};\n"


def _hex(value: Any) -> str:
    return re.sub(r"\.?0*p", "p", float(value).hex())


def _step(chain: list[Stage], names: dict[str, str], softmax: bool) -> Iterator[str]:
    """The two functions of the file."""
    name, ids = names["name"], chain[0].kind == "embedding"
    yield f"\nvoid {name}_reset({name}_state *state)\n{{\n    memset(state, 0, sizeof *state);\n}}\n"
    yield f"\n{_prototype(names, ids)}\n{{\n"
    if ids:
        yield f"    if (x < 0 || x >= {_inputs(chain[0])})\n        return -1;\n"
    if not {stage.kind for stage in chain} & {*WORK}:
        yield "    (void)state;\n" if len(chain) - ids < 2 else ""
    given = "x"
    for place, stage in enumerate(chain):
        kind, last, width = stage.kind, place == len(chain) - 1, _width(stage)
        weights = ", ".join(f"{name}_{place}_{parameter}" for parameter in PARAMETERS[kind])
        sizes = f"{_inputs(stage)}, {width}"
        result = f"state->h{place}"
        if kind == "embedding":
            result = f"({weights} + x * {width})"
        elif kind == "dense":
            result = "y" if last else f"state->between[{place % 2}]"
            yield f"    {name}_dense({sizes}, {weights}, {given}, {result});\n"
        else:
            function = f"{kind}_{ACTIVATIONS[stage.activation]}" if kind == "elman" else kind
            states = f"{result}, state->c{place}" if kind == "lstm" else result
            yield f"    {name}_{function}({sizes}, {weights}, {given}, {states}, state->work);\n"
        if last and result != "y":
            yield f"    memcpy(y, {result}, {width} * sizeof *y);\n"
        given = result
    if softmax:
        yield f"    {name}_softmax(y, {_width(chain[-1])});\n"
    yield "    return 0;\n}\n" if ids else "}\n"
