"""A step's programs as C: one function for each phase, with the bits of the interpreter.

The text includes interpreter.h, whose vector functions it calls. Where the interpreter walks a strip of
vectors for each operation, a function here walks the operations for each vector.
"""

from __future__ import annotations

import math

from .kernel_form import BlockOfUnits, Instruction, KernelForm, Phase

#: what an operation computes from registers a, b and c
_VALUES = {
    "add": "{a} + {b}",
    "subtract": "{a} - {b}",
    "multiply": "{a} * {b}",
    "divide": "{a} / {b}",
    "negate": "-{a}",
    "multiply_add": "{a} * {b} + {c}",
    "multiply_subtract": "{a} * {b} - {c}",
    "subtract_product": "{c} - {a} * {b}",
    "add_constant": "{a} + {number}",
    "multiply_constant": "{number} * {a}",
    "constant_minus": "{number} - {a}",
    "constant_over": "{number} / {a}",
    "sigmoid_back": "{a} * ({b} - {b} * {b})",
    "tanh_back": "{a} - {a} * ({b} * {b})",
    "maximum": "choose({a} < {b}, {b}, {a})",
    "minimum": "choose({a} > {b}, {b}, {a})",
    "less": "choose({a} < {b}, splat(1), splat(0))",
    "where": "choose({a} != 0, {b}, {c})",
    "constant": "splat({number})",
    "take_mean": "splat(mean_{column})",
    "load": "load_first(row_{array} + {column} + unit, left)",
    "load_one": "splat(row_{array}[{column}])",
} | {
    name: f"v{name}({{a}})"
    for name in ("sigmoid", "tanh", "relu", "exp", "log", "log1p", "sqrt", "abs", "sin", "cos", "erf")
}
_EFFECTS = {
    "store": "store_first(row_{array} + {column} + unit, {a}, left);",
    "add_store": "{{ real *p = row_{array} + {column} + unit; "
    "store_first(p, load_first(p, left) + {a}, left); }}",
    "store_one": "row_{array}[{column}] = {a}[0];",
    "mean": "sum_{column} += left < LANES ? first_lanes({a}, left) : {a};",
}
# Where a compiler joins a product with a sum, the result is rounded once. It must do so where the interpreter
# does, and nowhere else. The results of these end in a product, which is kept apart from what follows:
_PRODUCTS = {"multiply", "multiply_constant", "sigmoid_back"}
# These take one register, under another name, to a product of their own, not to one that is kept apart.
_JOINED = {
    "multiply_add": "a",
    "multiply_subtract": "a",
    "subtract_product": "a",
    "tanh_back": "a",
    "sigmoid_back": "b",
}
_ARRAYS = {"load", "load_one", "store", "add_store", "store_one"}

_HEAD = """\
#include "interpreter.h"

#if defined(__x86_64__) || defined(__i386__)
#define APART(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define APART(x) __asm__("" : "+w"(x))
#else
#define APART(x) __asm__("" : "+m"(x))
#endif

INLINE vec first_lanes(vec x, ptrdiff_t n)
{
    real kept[LANES];
    store(kept, x);
    return load_first(kept, n);
}
"""


def printed(forms: list[KernelForm]) -> str:
    """The text of a library whose function ``phase_i_k`` is phase k of form i, where that has a program."""
    parts = [_HEAD]
    for i, form in enumerate(forms):
        parts += [_phase(f"phase_{i}_{k}", phase) for k, phase in enumerate(form.phases) if phase.blocks]
    return "\n".join(parts)


def _phase(name: str, phase: Phase) -> str:
    """The function of one phase."""
    arrays = sorted({o.array for o in phase.operations if o.op in _ARRAYS})
    lines = [
        f"void {name}(const Program *program, ptrdiff_t n, const ptrdiff_t *rows, const Rows *arrays)",
        "{",
        "    (void)program;",
        "    for (ptrdiff_t i = 0; i < n; i++) {",
        *(f"        real *const row_{a} = row_at(&arrays[{a}], i, rows);" for a in arrays),
    ]
    for block in phase.blocks:
        lines += _block(block, phase.operations[block.first : block.last])
    return "\n".join([*lines, "    }", "}", ""])


def _block(block: BlockOfUnits, operations: list[Instruction]) -> list[str]:
    """The loop over the units of one block, and the means that it takes."""
    means = range(block.first_mean, block.last_mean)
    registers = sorted({o.to for o in operations if o.op in _VALUES})
    return [
        *(f"        vec sum_{m} = {{0}};" for m in means),
        f"        for (ptrdiff_t unit = 0; unit < {block.width}; unit += LANES) {{",
        f"            const ptrdiff_t left = {block.width} - unit;",
        f"            vec {', '.join(['own', *(f'r{register}' for register in registers)])};",
        *(f"            {_operation(o)}" for o in operations),
        "        }",
        *(f"        const real mean_{m} = sum_lanes(sum_{m}) / (real){block.width};" for m in means),
    ]


def _operation(o: Instruction) -> str:
    """One operation as a line."""
    names = {
        "a": f"r{o.a}",
        "b": f"r{o.b}",
        "c": f"r{o.c}",
        "array": o.array,
        "column": o.column,
        "number": f"(real){_literal(o.constant)}",
    }
    if o.op in _EFFECTS:
        return _EFFECTS[o.op].format(**names)
    before = after = ""
    if o.op in _JOINED:
        factor = _JOINED[o.op]
        before, names[factor] = f"own = {names[factor]}; APART(own); ", "own"
    if o.op in _PRODUCTS:
        after = f" APART(r{o.to});"
    return f"{before}r{o.to} = {_VALUES[o.op].format(**names)};{after}"


def _literal(number: float) -> str:
    """A number that C reads as the same number."""
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return f"({number.hex()})"
