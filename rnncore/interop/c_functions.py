"""The C functions that an exported step is made of: one for each variant of a layer that a network has."""

from __future__ import annotations

from collections.abc import Iterable
from string import Template
from typing import Any

from ..layers.recurrent import ACTIVATIONS
from ..stream import Stage

# Beside what a layer's variant fills in: ${name} begins all names of the file, ${real} is its type, ${f} the
# suffix of the type's functions.
DOT = """\
static ${real} ${name}_dot(const ${real} *a, const ${real} *b, int n)
{
    ${real} sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}
"""
SIGMOID = """\
static ${real} ${name}_sigmoid(${real} x)
{
    return 1 / (1 + exp${f}(-x));
}
"""
RELU = """\
static ${real} ${name}_relu(${real} x)
{
    return x < 0 ? 0 : x;
}
"""
SOFTMAX = """\
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
"""
BODIES = {
    "dense": """\
    for (int i = 0; i < units; i++)
        y[i] = ${name}_dot(weight + (size_t)i * inputs, x, inputs) + bias[i];
""",
    "elman": """\
    for (int i = 0; i < units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs)
                  + ${name}_dot(weight_hh + (size_t)i * units, h, units) + bias[i];
    for (int i = 0; i < units; i++)
        h[i] = ${keep_h};
""",
    "skip": """\
    /* h holds the states of the last ${depth} steps, the latest last. */
    for (int i = 0; i < units; i++) {
        const ${real} a = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs) + bias[i]
                          + ${products};
        sums[i] = ${new};
    }
    memmove(h, h + units, (size_t)${passed} * units * sizeof *h);
    memcpy(h + ${passed} * units, sums, units * sizeof *h);
""",
    "lstm": """\
    for (int i = 0; i < ${gates} * units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs)
                  + ${name}_dot(weight_hh + (size_t)i * units, h, units) + bias[i];
    for (int i = 0; i < units; i++) {
        const ${real} in = ${in};
        const ${real} forget = ${forget};
        const ${real} next = forget * c[i] + in * ${g};
        const ${real} out = ${out};
        h[i] = ${keep_h};
        c[i] = ${keep_c};
    }
""",
    "gru": """\
    /* Of the candidate, what comes from x and what from h are kept apart. */
    for (int i = 0; i < 3 * units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs) + bias[i];
    for (int i = 0; i < 2 * units; i++)
        sums[i] += ${name}_dot(weight_hh + (size_t)i * units, h, units);
    for (int i = 0; i < units; i++)
        sums[3 * units + i] = ${name}_dot(weight_hh + (size_t)(2 * units + i) * units, h, units) + bias_hn[i];
    for (int i = 0; i < units; i++) {
        const ${real} r = ${r}, z = ${z};
        const ${real} n = ${n};
        h[i] = ${keep_h};
    }
""",
    "gru_before": """\
    for (int i = 0; i < 3 * units; i++)
        sums[i] = ${name}_dot(weight_ih + (size_t)i * inputs, x, inputs) + bias[i];
    for (int i = 0; i < 2 * units; i++)
        sums[i] += ${name}_dot(weight_hh + (size_t)i * units, h, units);
    /* r h, which the candidate's product takes, in the place of r. */
    for (int i = 0; i < units; i++)
        sums[i] = ${r} * h[i];
    for (int i = 0; i < units; i++)
        sums[2 * units + i] += ${name}_dot(weight_hh + (size_t)(2 * units + i) * units, sums, units);
    for (int i = 0; i < units; i++) {
        const ${real} z = ${z};
        const ${real} n = ${n};
        h[i] = ${keep_h};
    }
""",
}
CALLS = {
    "tanh": "tanh${f}(%s)",
    "sigmoid": "${name}_sigmoid(%s)",
    "relu": "${name}_relu(%s)",
    "identity": "(%s)",
}
WORK = {"elman": 1, "leaky": 1, "skip": 1, "lstm": 4, "gru": 4}  # numbers a unit, of the recurrent kinds


def depth(stage: Stage) -> int:
    """How many steps of h the state of a recurrent stage holds."""
    return int(stage.arrays["delays"][-1]) if stage.kind == "skip" else 1


def parameters(stage: Stage) -> list[str]:
    """Names of the arrays that are constants of the file, in the order in which functions take them."""
    return [parameter for parameter in stage.arrays if parameter != "delays"]


def functions(chain: Iterable[Stage], softmax: bool) -> tuple[str, list[str]]:
    """All functions that a chain calls, each once and before its first call, and each stage's function."""
    written: dict[str, str] = {}  # a function with its name still open, to that name
    called = []
    for stage in chain:
        text = "" if stage.kind == "embedding" else _function(stage)
        if text and text not in written:
            number = sum(name.split("_")[0] == stage.kind for name in written.values())
            written[text] = f"{stage.kind}_{number + 1}" if number else stage.kind
        called.append(written.get(text, ""))
    texts = [Template(text).safe_substitute(function=name) for text, name in written.items()]
    needed = [DOT] if texts else []
    for text, call in ((SIGMOID, "_sigmoid("), (RELU, "_relu(")):
        if any(call in other for other in texts):
            needed.append(text)
    return "\n" + "\n".join([*needed, *texts, *([SOFTMAX] if softmax else [])]), called


def _function(stage: Stage) -> str:
    """The function of a stage, but for its name."""
    weights = [f"const ${{real}} *{parameter}" for parameter in parameters(stage)]
    states = {"dense": ("y",), "lstm": ("h", "c", "sums")}.get(stage.kind, ("h", "sums"))
    written = (f"${{real}} *{array}" for array in states)
    arguments = ["int inputs", "int units", *weights, "const ${real} *x", *written]
    kind = {"leaky": "elman"}.get(stage.kind, stage.kind)
    if kind == "gru" and "bias_hn" not in stage.arrays:
        kind = "gru_before"
    lines = [", ".join(arguments[start : start + 4]) for start in range(0, len(arguments), 4)]
    opening = "static void ${name}_${function}(" + ",\n                ".join(lines) + ")\n{\n"
    return opening + Template(BODIES[kind]).safe_substitute(_pieces(stage)) + "}\n"


def _pieces(stage: Stage) -> dict[str, Any]:
    """What a variant fills into the body of its kind."""
    if stage.kind == "dense":
        return {}

    def gate(sum: str) -> str:
        return CALLS[ACTIVATIONS[stage.gate_activation]] % sum

    def state(sum: str) -> str:
        return CALLS[ACTIVATIONS[stage.activation]] % sum

    if stage.kind == "skip":
        return _skip_pieces(stage) | {"new": state("a")}
    if stage.kind == "gru":
        reset = " + r * sums[3 * units + i]" if "bias_hn" in stage.arrays else ""
        return {
            "r": gate("sums[i]"),
            "z": gate("sums[units + i]"),
            "n": state("sums[2 * units + i]" + reset),
            "keep_h": _mixed(stage, 0, "h[i]", "n + z * (h[i] - n)"),
        }
    if stage.kind != "lstm":
        new = state("sums[i]")
        if stage.kind == "leaky":
            new = f"h[i] + leak[i] * ({new} - h[i])"
        return {"keep_h": _mixed(stage, 0, "h[i]", new)}
    gates = len(stage.arrays["bias"]) // stage.arrays["weight_hh"].shape[1]
    peepholes = "weight_ci" in stage.arrays

    def seen(cell: str, weight: str) -> str:
        return f" + {weight}[i] * {cell}" if peepholes else ""

    forget = gate("sums[units + i]" + seen("c[i]", "weight_cf"))
    return {
        "gates": gates,
        "in": gate("sums[i]" + seen("c[i]", "weight_ci")),
        "forget": "1 - in" if gates == 3 else forget,
        "g": state(f"sums[{gates - 2} * units + i]"),
        "out": gate(f"sums[{gates - 1} * units + i]" + seen("next", "weight_co")),
        "keep_h": _mixed(stage, 0, "h[i]", f"out * {state('next')}"),
        "keep_c": _mixed(stage, 1, "c[i]", "next"),
    }


def _skip_pieces(stage: Stage) -> dict[str, Any]:
    """The products with the states of all delays."""
    latest, products = depth(stage), []
    for place, delay in enumerate(stage.arrays["delays"]):
        rows = "weight_hh + (size_t)i * units"
        if place:
            rows = f"weight_skip + ((size_t){place - 1} * units + i) * units"
        products.append(f"${{name}}_dot({rows}, h + {latest - delay} * units, units)")
    joined = "\n                          + ".join(products)
    return {"depth": latest, "passed": latest - 1, "products": joined}


def _mixed(stage: Stage, place: int, before: str, new: str) -> str:
    """The expression of a state, of which zoneout keeps a part of the one before."""
    if not stage.zoneout:
        return new
    keep = f"(${{real}}){float(1 - stage.zoneout[place]).hex()}"
    return f"{keep} * ({new}) + (1 - {keep}) * {before}"
