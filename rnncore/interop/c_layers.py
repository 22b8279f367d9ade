"""Layers of an exported file: the function of each, and its weights in the order in which it reads them.

Products go column by column: ``sums[j] += weight[k][j] * x[k]`` over all j at once, which a compiler
vectorises without being allowed to change the order of a sum. Rows are padded with zeros to a multiple of
`lanes` units, since GCC vectorises at -O2 only loops whose constant number of rounds fills whole vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layers.activation import FUNCTIONS as ACTIVATIONS
from ..stream import Stage
from .c_cells import OVER_ROWS, Cell, Product, applied, cell
from .c_equations import equation_cell
from .c_functions import FUNCTIONS, Count, operations

Array = NDArray[Any]

BLOCK = 8  # columns that are added in one pass over the sums
NAME = re.compile(r"(?<![\w{])[A-Za-z_]\w*")
SOFTMAX = """\
static void ${name}_softmax(${real} *y)
{
    ${real} top = y[0], sum = 0;
    for (int j = 1; j < ${width}; j++)
        top = y[j] > top ? y[j] : top;
    ${NAME}_LOOP for (int j = 0; j < ${padded}; j++)
        y[j] = ${name}_exp(y[j] - top);
    for (int j = 0; j < ${width}; j++)
        sum += y[j];
    ${NAME}_LOOP for (int j = 0; j < ${padded}; j++)
        y[j] = y[j] / sum;
}
"""
ROW_FUNCTIONS = {
    "softmax": """\
${real} top = x[0], sum = 0;
for (int j = 1; j < ${width}; j++)
    top = x[j] > top ? x[j] : top;
${NAME}_LOOP for (int j = 0; j < ${width}; j++)
    y[j] = ${name}_exp(x[j] - top);
for (int j = 0; j < ${width}; j++)
    sum += y[j];
${NAME}_LOOP for (int j = 0; j < ${width}; j++)
    y[j] = ${name}_flush(y[j] / sum);
""",
    "log_softmax": """\
${real} top = x[0], sum = 0;
for (int j = 1; j < ${width}; j++)
    top = x[j] > top ? x[j] : top;
for (int j = 0; j < ${width}; j++)
    sum += ${name}_exp(x[j] - top);
sum = log${f}(sum);
for (int j = 0; j < ${width}; j++)
    y[j] = ${name}_flush(x[j] - top - sum);
""",
}


class Layer(NamedTuple):
    """A stage as the file has it."""

    kind: str
    text: str  # its function, whose name is ${function}; none for an embedding
    arrays: dict[str, Array]  # as the function reads them, in the order in which it takes them
    inputs: int  # features, or ids
    width: int  # features that it hands on
    padded: int  # length of the array that holds them
    states: dict[str, int]  # numbers of each
    depth: int  # steps that the first state holds
    work: Count  # operations of a step
    stack: int  # numbers in its function's own arrays


def padded(units: int, lanes: int) -> int:
    """The next multiple of ``lanes``."""
    return -(-units // lanes) * lanes


def layers(stage: Stage, lanes: int, counts: Mapping[str, Count]) -> Iterator[Layer]:
    """A stage, its rows padded to multiples of ``lanes``; ``counts`` has what the file's functions cost. The
    softmax of a dense stage is a second layer."""
    width = stage.features
    if stage.kind == "embedding":
        table = stage.arrays["weight"]
        ids, width = table.shape
        yield Layer("embedding", "", {"weight": table}, ids, width, width, {}, 1, Count(), 0)
    elif stage.kind == "dense":
        width = len(stage.arrays["bias"])
        few = width < lanes
        yield _rows(stage, lanes, counts) if few else _columns("dense", cell(stage), lanes, counts)
    elif stage.kind == "equation":
        yield _columns("equation", equation_cell(stage), lanes, counts)
    elif stage.kind != "activation":
        yield _columns(stage.kind, cell(stage), lanes, counts)
    if ACTIVATIONS[stage.function] in OVER_ROWS or stage.kind == "activation":
        yield _activation(stage, width, lanes, counts)


def _columns(kind: str, cell: Cell, lanes: int, counts: Mapping[str, Count]) -> Layer:
    """A layer whose products go column by column."""
    units = len(cell.biases[0])
    wide, sums = padded(units, lanes), len(cell.biases)
    arrays = {"bias": _filled(np.array(cell.biases), wide).ravel()}
    vectors = {product.vector for passed in cell.passes for product in passed.products}
    local = vectors - {"x", *cell.states}
    lines = [_array("sums", sums * wide), *(_array(name, wide) for name in sorted(local))]
    if cell.depth > 1:
        lines.append(_array("next", wide))
    # Clang has entries of h at hand from the products, and then vectorises no loop that reads and writes h.
    values = [line.split(" = ")[1] for passed in cell.passes for line in passed.lines]
    read = {name for value in values for name in NAME.findall(value)}
    copied = [state for state in cell.states if state in vectors & read]
    lines += [_array(f"{state}_before", wide) for state in copied]
    lines += [f"memcpy({state}_before, {state}, sizeof {state}_before);" for state in copied]
    names = _names(cell, local, wide) | {state: f"{state}_before[j]" for state in copied}
    started: set[int] = set()
    count = Count()
    for passed in cell.passes:
        for product in passed.products:
            entered = range(product.first, product.first + len(product.matrix) // units)
            fresh = [number for number in entered if number not in started]
            from_bias = len(fresh) == len(entered)
            if not from_bias:
                lines += _started(fresh, wide)
            started.update(entered)
            arrays[product.name] = _turned(product.matrix, units, wide)
            lines += _product(product, cell, wide, from_bias)
            count = count.plus(Count(arrays[product.name].size))
        loop = list(_loop(passed.lines, cell, names, wide))
        lines += loop
        count = count.plus(operations("\n".join(loop[1:]), counts).times(wide))
    if cell.depth > 1:
        lines.append(f"memcpy(h + {wide} * at, next, sizeof next);")
    arrays |= {name: _filled(vector, wide) for name, vector in cell.vectors.items()}
    arguments = [f"const ${{real}} *restrict {name}" for name in [*arrays, "x"]]
    arguments += [f"${{real}} *restrict {state}" for state in cell.states]
    arguments += ["int at"] if cell.depth > 1 else []
    stack = (sums + len(local) + len(copied) + (cell.depth > 1)) * wide
    states = {} if kind == "dense" else dict.fromkeys(cell.states, wide)
    if states:
        states[cell.states[0]] *= cell.depth
    inputs = cell.passes[0].products[0].matrix.shape[1]
    text = _function(arguments, lines)
    return Layer(kind, text, arrays, inputs, units, wide, states, cell.depth, count, stack)


def _rows(stage: Stage, lanes: int, counts: Mapping[str, Count]) -> Layer:
    """A dense layer of a few outputs: their sums are taken ``lanes`` entries of x at a time."""
    weight, bias = stage.arrays["weight"], stage.arrays["bias"]
    outputs, inputs = weight.shape
    row, whole = padded(inputs, lanes), inputs // lanes
    sums = [f"sums[{lane}]" for lane in range(lanes)] if whole else []
    inner = [f"const ${{real}} *const row = weight + {row} * i;"]
    if whole:
        inner += [_array("sums", lanes)]
        inner += _accumulate(Sums("row", "x", lanes, "sums[j]", True), whole, "")
    inner.append("${real} rest = bias[i];")
    rest = range(whole * lanes, inputs)
    inner += [f"rest = ${{name}}_multiply_add(row[{k}], x[{k}], rest);" for k in rest]
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [f"({a} + {b})" for a, b in zip(sums[:half], sums[half:], strict=True)]
    names = {"s0": " + ".join(["rest", *sums]), "slope": "slope[i]"} | _functions()
    inner.append(f"y[i] = ${{name}}_flush({_named(applied(stage, 's0'), names)});")
    lines = [f"for (int i = 0; i < {outputs}; i++) {{", *_indented(inner), "}"]
    count = operations(inner[-1], counts).plus(Count(inputs)).times(outputs)
    arrays = {"bias": bias, "weight": _filled(weight, row).ravel()}
    arrays |= {"slope": stage.arrays["slope"]} if "slope" in stage.arrays else {}
    arguments = [f"const ${{real}} *restrict {name}" for name in (*arrays, "x")]
    text = _function([*arguments, "${real} *restrict y"], lines)
    return Layer("dense", text, arrays, inputs, outputs, padded(outputs, lanes), {}, 1, count, lanes)


def _activation(stage: Stage, width: int, lanes: int, counts: Mapping[str, Count]) -> Layer:
    """An activation alone: what it is given may have no more than ``width`` entries."""
    wide, function = padded(width, lanes), ACTIVATIONS[stage.function]
    arrays = {"slope": stage.arrays["slope"]} if "slope" in stage.arrays else {}
    if function in OVER_ROWS:
        names = {"width": str(width), "padded": str(wide)}
        lines = Template(ROW_FUNCTIONS[function]).safe_substitute(names).splitlines()
        each = counts["exp"].plus(Count(0, 3))
    else:
        value = _named(applied(stage, "s0"), {"s0": "x[j]", "slope": "slope[j]"} | _functions())
        lines = [f"${{NAME}}_LOOP for (int j = 0; j < {width}; j++)", f"    y[j] = ${{name}}_flush({value});"]
        each = operations(lines[1], counts)
    if wide > width:
        lines.append(f"memset(y + {width}, 0, {wide - width} * sizeof *y);")
    arguments = [f"const ${{real}} *restrict {name}" for name in (*arrays, "x")]
    text = _function([*arguments, "${real} *restrict y"], lines)
    return Layer("activation", text, arrays, width, width, wide, {}, 1, each.times(width), 0)


def _array(name: str, size: int) -> str:
    """A local array, which starts a cache line."""
    return f"${{real}} {name}[{size}] ${{NAME}}_ALIGNED;"


def _filled(array: Array, wide: int) -> Array:
    """The last axis padded with zeros."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, wide - array.shape[-1])])


def _turned(matrix: Array, units: int, wide: int) -> Array:
    """Column after column of a matrix (sums * units, K): (K * sums * wide,)."""
    columns = matrix.T.reshape(matrix.shape[1], -1, units)
    return _filled(columns, wide).ravel()


def _place(array: str, first: int) -> str:
    """Entry j from ``first`` on."""
    return f"{array}[{first} + j]" if first else f"{array}[j]"


def _started(numbers: list[int], wide: int) -> Iterator[str]:
    """Sums of which a product has only some start from their biases."""
    for number in numbers:
        yield f"memcpy(sums + {number * wide}, bias + {number * wide}, {wide} * sizeof *sums);"


def _product(product: Product, cell: Cell, wide: int, from_bias: bool) -> Iterator[str]:
    """The product's sums, which begin from the biases or go on from what they are."""
    vector, (rows, features) = product.vector, product.matrix.shape
    if vector == cell.states[0] and cell.depth > 1:
        vector = f"{vector}_{product.delay}"
        back = f"(at + {cell.depth - product.delay}) % {cell.depth}"
        yield f"const ${{real}} *const {vector} = h + {wide} * ({back});"
    first, width = product.first * wide, rows // len(cell.biases[0]) * wide
    sums = Sums(product.name, vector, width, _place("sums", first), False)
    yield from _accumulate(sums, features, _place("bias", first) if from_bias else sums.entry)


class Sums(NamedTuple):
    """For all j below ``width``: the sum over k of ``weights[k * width + j] * vector[k]``."""

    weights: str
    vector: str
    width: int
    entry: str  # sum j
    pairs: bool  # each j has an entry of its own, vector[k * width + j]


def _accumulate(sums: Sums, number: int, start: str) -> Iterator[str]:
    """Add the terms k below ``number``; the first ones to ``start``, or to nothing."""
    done = 0
    if start != sums.entry:
        done = min(BLOCK, number)
        yield from _block(sums, "0", done, start)
    rounds, rest = divmod(number - done, BLOCK)
    if rounds > 1:
        yield f"for (int k = {done}; k < {done + rounds * BLOCK}; k += {BLOCK})"
    if rounds:
        yield from _block(sums, "k" if rounds > 1 else str(done), BLOCK, sums.entry)
    if rest:
        yield from _block(sums, str(number - rest), rest, sums.entry)


def _block(sums: Sums, k: str, number: int, start: str) -> Iterator[str]:
    """Terms k to k + number - 1 of all sums."""
    moved = "" if k == "0" else f" + {sums.width} * {k}"
    yield "{"
    yield f"    const ${{real}} *const w = {sums.weights}{moved};"
    if sums.pairs:
        yield f"    const ${{real}} *const v = {sums.vector}{moved};"
        entries = [_place("v", n * sums.width) for n in range(number)]
    else:
        entries = [f"x{n}" for n in range(number)]
        places = [str(int(k) + n) if k != "k" else f"k + {n}" if n else k for n in range(number)]
        given = (f"x{n} = {sums.vector}[{place}]" for n, place in enumerate(places))
        yield f"    const ${{real}} {', '.join(given)};"
    yield f"    ${{NAME}}_LOOP for (int j = 0; j < {sums.width}; j++) {{"
    factors = [(_place("w", n * sums.width), entry) for n, entry in enumerate(entries)]
    yield from (f"        {line}" for line in _chains(factors, start))
    yield f"        {sums.entry} = {'a + b' if number > 1 else 'a'};"
    yield "    }"
    yield "}"


def _chains(factors: list[tuple[str, str]], start: str) -> Iterator[str]:
    """The terms by turns in a and in b, which do not wait for each other."""
    for n, (weight, entry) in enumerate(factors):
        chain = "ab"[n % 2]
        before = chain if n > 1 else "" if n else start
        value = f"${{name}}_multiply_add({weight}, {entry}, {before})" if before else f"{weight} * {entry}"
        yield f"{'${real} ' if n < 2 else ''}{chain} = {value};"


def _names(cell: Cell, local: set[str], wide: int) -> dict[str, str]:
    """What the names in a cell's lines stand for."""
    names = {f"s{number}": _place("sums", number * wide) for number in range(len(cell.biases))}
    names |= {name: f"{name}[j]" for name in (*cell.states, *cell.vectors, *local)}
    return names | _functions()


def _functions() -> dict[str, str]:
    """The file's functions, as a cell's lines name them."""
    return {function: f"${{name}}_{function}" for function in FUNCTIONS}


def _named(value: str, names: Mapping[str, str]) -> str:
    """An expression with its names replaced."""
    return NAME.sub(lambda found: names.get(found[0], found[0]), value)


def _loop(lines: list[str], cell: Cell, names: Mapping[str, str], wide: int) -> Iterator[str]:
    """A cell's lines over all units; what stays, or enters a product, is flushed."""
    yield f"${{NAME}}_LOOP for (int j = 0; j < {wide}; j++) {{"
    for line in lines:
        target, value = line.split(" = ")
        value = _named(value, names)
        if target not in names:
            yield f"    const ${{real}} {target} = {value};"
            continue
        to = "next[j]" if cell.depth > 1 and target == cell.states[0] else f"{target}[j]"
        yield f"    {to} = ${{name}}_flush({value});"
    yield "}"


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _function(arguments: list[str], lines: list[str]) -> str:
    """A function whose name is still open."""
    rows = [", ".join(arguments[start : start + 4]) for start in range(0, len(arguments), 4)]
    opening = "static void ${name}_${function}(" + ",\n                ".join(rows) + ")\n{\n"
    return opening + "\n".join(_indented(lines)) + "\n}\n"
