"""The text of an exported file around its layers: declarations, weights, step and run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..version import __version__
from .c_functions import PREAMBLE, Count, Real, counted, definition, fillings, hexadecimal, needed, operations
from .c_layers import SOFTMAX, Layer, padded
from .c_templates import HEAD, LOAD, RESET, STEP, STEP_OF_IDS, WEIGHTS_TYPE

Array = NDArray[Any]

PASSING = "dense", "activation"  # layers whose y is an array of the step
HEADER_WORDS = 16  # 32-bit words in front of a block's weights

CONTRACT = {
    False: "One step: x and y must not overlap.",
    True: "One step of the id x; returns 0, or -1 for one not below ${NAME}_INPUTS: nothing has changed.",
}


class Options(NamedTuple):
    """What an export was asked for, beside the network."""

    name: str
    file: str
    softmax: bool
    lanes: int
    in_block: bool
    layout: int  # the number that a block and its file share
    title: str


class File:
    """An exported file before it is text."""

    def __init__(self, layers: list[Layer], real: Real, options: Options) -> None:
        self.layers = layers
        self.real = real
        self.options = options
        self.itemsize = 4 if real.real == "float" else 8
        self.ids = layers[0].kind == "embedding"
        self._counts = counted(real)
        # Each function once, and the name under which each layer calls its own.
        self._functions: dict[str, str] = {}
        for entry in layers:
            if entry.text and entry.text not in self._functions:
                number = sum(name.split("_")[0] == entry.kind for name in self._functions.values())
                self._functions[entry.text] = f"{entry.kind}_{number + 1}" if number else entry.kind

    def text(self) -> Iterator[str]:
        """The file, piece by piece."""
        names = self._names()
        once = "".join(self._once())
        yield Template(HEAD + PREAMBLE).substitute(names)
        for function in needed([*self._functions, once, *([SOFTMAX] if self.options.softmax else [])]):
            yield "\n" + definition(function, names)
        for text, function in self._functions.items():
            yield "\n" + Template(text).substitute(names, function=function)
        if self.options.softmax:
            last = self.layers[-1]
            yield "\n" + Template(SOFTMAX).substitute(names, width=last.width, padded=last.padded)
        yield from self._weights(names)
        step = STEP_OF_IDS if self.ids else STEP
        yield Template(RESET + once + step).substitute(names)
        yield "\n#endif\n"

    def block(self) -> bytes:
        """The weights as a block of memory: little-endian, a header of 64 bytes in front."""
        data = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for _, array in self._fields())
        words = np.frombuffer(data, "<u4").astype(np.uint64)
        checksum = int((words * np.arange(len(words), 0, -1, dtype=np.uint64)).sum(dtype=np.uint64))
        header = np.zeros(HEADER_WORDS, "<u4")
        header[:2] = np.frombuffer(b"rnncore\0", "<u4")
        header[2:4] = 0x01020304, self.itemsize
        header[4:8] = *_halves(self.options.layout), *_halves(checksum)
        return header.tobytes() + data

    def count(self) -> Count:
        """Operations of a step."""
        total = Count()
        for entry in self.layers:
            total = total.plus(entry.work)
        if not self.ids:
            total = total.plus(self._counts["flush"].times(self.layers[0].inputs))
        if self.options.softmax:
            last = self.layers[-1]
            total = total.plus(self._counts["exp"].times(last.padded))
            total = total.plus(Count(0, 2 * last.padded + 2 * last.width))
        return total

    def stack(self) -> int:
        """Bytes of the local arrays of a step."""
        handed = sum(entry.padded for entry in self.layers if entry.kind in PASSING)
        given = 0 if self.ids else self.layers[0].inputs
        last = self.layers[-1].padded if self._copies_last() else 0
        return self.itemsize * (handed + given + last + max(entry.stack for entry in self.layers))

    def state_size(self) -> int:
        """Bytes of a state."""
        numbers = sum(sum(entry.states.values()) for entry in self.layers)
        places = 4 * sum(entry.depth > 1 for entry in self.layers)
        return max(1, self.itemsize * (numbers - (-places // self.itemsize)))

    def weights_size(self) -> int:
        """Bytes of the weights, of a block's header too."""
        header = 4 * HEADER_WORDS if self.options.in_block else 0
        return header + self.itemsize * sum(array.size for _, array in self._fields())

    def code(self) -> int:
        """Bytes of code, estimated: a fit to what GCC 12 and Clang 14 make at -O2 for x86-64."""
        text = "".join(self._functions)
        return 700 + 90 * text.count("_LOOP for") + 11 * sum(operations(text, self._counts))

    def _copies_last(self) -> bool:
        """Whether the last layer's numbers are copied for a softmax."""
        return self.options.softmax and self.layers[-1].kind not in PASSING

    def _fields(self) -> Iterator[tuple[str, Array]]:
        """The arrays of weights, filled up so that all of them start at multiples of 64 bytes."""
        unit = 64 // self.itemsize if self.options.lanes > 1 else 1
        for place, entry in enumerate(self.layers):
            for name, array in entry.arrays.items():
                flat = array.ravel()
                yield f"{name}_{place}", np.pad(flat, (0, padded(flat.size, unit) - flat.size))

    def _names(self) -> dict[str, str]:
        """What all templates of the file are filled with."""
        name, options, count = self.options.name, self.options, self.count()
        contract = Template(CONTRACT[self.ids]).substitute(NAME=name.upper())
        low, high = _halves(options.layout)
        names = fillings(self.real) | {
            "name": name, "NAME": name.upper(), "version": __version__, "header": str(4 * HEADER_WORDS),
            "title": options.title.replace("*/", "* /"),
            "file": re.sub(r"[^ -~]|[\"\\*?]", "_", options.file),
            "inputs": str(self.layers[0].inputs), "inputs_are": "ids" if self.ids else "numbers in x",
            "outputs": str(self.layers[-1].width), "contract": contract, "itemsize": str(self.itemsize),
            "layout_low": hex(low), "layout_high": hex(high), "weights": f"{self.weights_size():,}",
            "state": f"{self.state_size():,}", "stack": f"{self.stack():,}",
            "multiply_adds": f"{count.multiply_adds:,}", "others": f"{count.others:,}",
            "fields": "\n".join(self._state_fields()), "weights_size": "", "weights_type": "", "given": "",
        }  # fmt: skip
        if options.in_block:
            size = f"#define ${{NAME}}_WEIGHTS_SIZE {self.weights_size()} /* bytes of a block */\n"
            names |= {"weights_size": Template(size).substitute(names), "given": "weights, "}
            names["weights_type"] = Template(WEIGHTS_TYPE).substitute(names)
        taken = f"const {name}_weights *weights, " if options.in_block else ""
        result, x = ("int", "long ") if self.ids else ("void", f"const {self.real.real} *")
        many = x if x.endswith("*") else "const long *"
        y = f"{self.real.real} *y"
        names["step"] = f"{result} {name}_step({name}_state *state, {taken}{x}x, {y})"
        names["run"] = f"{result} {name}_run({name}_state *state, {taken}size_t n, {many}x, {y})"
        return names

    def _state_fields(self) -> Iterator[str]:
        for place, entry in enumerate(self.layers):
            for state, numbers in entry.states.items():
                yield f"    {self.real.real} {state}{place}[{numbers}];"
        for place, entry in enumerate(self.layers):
            if entry.depth > 1:
                yield f"    int at{place}; /* the oldest step in h{place}, the next to be written */"
        if not any(entry.states for entry in self.layers):
            yield "    char none; /* no layer has a state */"

    def _weights(self, names: dict[str, str]) -> Iterator[str]:
        """The struct of the weights; then its constants, or how a block becomes one."""
        name, in_block = names["name"], self.options.in_block
        yield f"\nstruct {name}_weights {{\n" if in_block else "\nstatic const struct {\n"
        yield f"    uint32_t head[{HEADER_WORDS}];\n" if in_block else ""
        for field, array in self._fields():
            yield f"    {names['real']} {field}[{array.size}];\n"
        if in_block:
            yield "};\n" + Template(LOAD).substitute(names)
            return
        yield f"}} {names['NAME']}_ALIGNED {name}_weights = {{\n"
        for field, array in self._fields():
            yield f"    .{field} = {{\n"
            for start in range(0, array.size, 6):
                values = (f" {hexadecimal(v)}{names['f']}," for v in array[start : start + 6])
                yield "       " + "".join(values) + "\n"
            yield "    },\n"
        yield "};\n"

    def _once(self) -> Iterator[str]:
        """The function of one step, for step and run."""
        taken = "const ${name}_weights *restrict weights, " if self.options.in_block else ""
        x = "long x" if self.ids else "const ${real} *restrict x"
        yield f"\nstatic void ${{name}}_once(${{name}}_state *restrict state, {taken}{x},\n"
        yield "                ${real} *restrict y)\n{\n"
        weights = "weights->" if self.options.in_block else "${name}_weights."
        given = "given"
        if not self.ids:
            inputs = self.layers[0].inputs
            yield f"    ${{real}} given[{inputs}] ${{NAME}}_ALIGNED;\n"
            yield f"    for (int k = 0; k < {inputs}; k++)\n"
            yield "        given[k] = ${name}_flush(x[k]);\n"
        for place, entry in enumerate(self.layers):
            if entry.kind == "embedding":
                given = f"({weights}weight_{place} + {entry.width} * x)"
                continue
            arguments = [f"{weights}{array}_{place}" for array in entry.arrays] + [given]
            given = f"state->h{place}"
            if entry.kind in PASSING:
                given = f"y{place}"
                yield f"    ${{real}} {given}[{entry.padded}] ${{NAME}}_ALIGNED;\n"
                arguments.append(given)
            arguments += [f"state->{state}{place}" for state in entry.states]
            if entry.depth > 1:
                arguments.append(f"state->at{place}")
                given += f" + {entry.padded} * state->at{place}"
            yield f"    ${{name}}_{self._functions[entry.text]}({', '.join(arguments)});\n"
        last = self.layers[-1]
        if self._copies_last():
            yield f"    ${{real}} last[{last.padded}] ${{NAME}}_ALIGNED;\n"
            yield f"    memcpy(last, {given}, sizeof last);\n"
            given = "last"
        if self.options.softmax:
            yield f"    ${{name}}_softmax({given});\n"
        yield f"    memcpy(y, {given}, {last.width} * sizeof *y);\n"
        for place, entry in enumerate(self.layers):
            if entry.depth > 1:
                yield f"    state->at{place} = (state->at{place} + 1) % {entry.depth};\n"
        if not any(entry.states for entry in self.layers):
            yield "    (void)state;\n"
        yield "}\n"


def _halves(number: int) -> tuple[int, int]:
    """The lower and the upper 32 bits."""
    return number & 0xFFFFFFFF, number >> 32
