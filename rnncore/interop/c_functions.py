"""The functions inside an exported file: of one number, without branches, so that loops vectorise."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any, NamedTuple

import numpy as np


class Real(NamedTuple):
    """A type of C, and the constants of its functions."""

    real: str
    f: str  # suffix of literals and of libm's names
    bits: str  # an integer of the same size
    shift: str  # to the exponent
    one: str  # the bits of 1
    magic: str  # adding it rounds to a whole number, which is then in the low bits
    magic_bits: str  # the low 32 bits of it
    log2e: str
    ln2_high: str
    ln2_low: str
    terms: int  # of the series of (e^r - 1) / r
    tanh_end: str  # tanh of it is 1
    sigmoid_end: str
    exp_low: str
    tiny: str
    fast_fma: str
    accuracy: str
    lowest: str  # where e^x of an equation stays as it is, as in a stream
    highest: str


FLOAT = Real(
    "float", "f", "uint32_t", "23", "0x3f800000u", "12582912.0f", "0x4b400000u", "0x1.715476p0f",
    "0x1.63p-1f", "-0x1.bd0106p-13f", 7, "10.0f", "34.6f", "-80.0f", "0x1p-60f", "FP_FAST_FMAF", "2.4e-7",
    "-87.0f", "88.0f",
)  # fmt: skip
DOUBLE = Real(
    "double", "", "uint64_t", "52", "0x3ff0000000000000u", "6755399441055744.0", "0u",
    "0x1.71547652b82fep0", "0x1.62e42feep-1", "0x1.a39ef35793c76p-33", 13, "20.0", "277.2", "-700.0",
    "0x1p-500", "FP_FAST_FMA", "4.7e-16", "-708.0", "709.0",
)  # fmt: skip

# ${name} begins all names of the file. Each entry of FUNCTIONS comes after those that it calls.
PREAMBLE = """\
#if defined(__GNUC__)
#define ${NAME}_INLINE static inline __attribute__((always_inline))
#define ${NAME}_ALIGNED __attribute__((aligned(64)))
#else
#define ${NAME}_INLINE static inline
#define ${NAME}_ALIGNED
#endif
#if defined(__clang__) /* which vectorises no loop that it has unrolled before */
#define ${NAME}_LOOP _Pragma("clang loop unroll(disable)")
#else
#define ${NAME}_LOOP
#endif
"""
LESS = """\
    return 0u - (${bits})(a < b);
"""
LESS_64 = """\
#if defined(__SSE2__) && !defined(__SSE4_2__) /* compilers do not vectorise the comparison; NaN is not less */
    const double below = a - b, above = b - a;
    uint64_t negative, other;
    memcpy(&negative, &below, sizeof negative);
    memcpy(&other, &above, sizeof other);
    return 0u - ((negative & ~other) >> 63);
#else
    return 0u - (uint64_t)(a < b);
#endif
"""
FUNCTIONS = {
    "multiply_add": """\
/* a b + c */
${NAME}_INLINE ${real} ${name}_multiply_add(${real} a, ${real} b, ${real} c)
{
#ifdef ${fast_fma}
    return fma${f}(a, b, c);
#else
    return a * b + c;
#endif
}
""",
    "less": """\
/* All bits where a < b, else none. */
${NAME}_INLINE ${bits} ${name}_less(${real} a, ${real} b)
{
${less}}
""",
    "choose": """\
/* a where the mask has its bits, else b. Of a ? b : c compilers make jumps, which do not vectorise. */
${NAME}_INLINE ${real} ${name}_choose(${bits} mask, ${real} a, ${real} b)
{
    ${bits} chosen, other;
    memcpy(&chosen, &a, sizeof chosen);
    memcpy(&other, &b, sizeof other);
    other ^= (chosen ^ other) & mask;
    memcpy(&b, &other, sizeof b);
    return b;
}
""",
    "flush": """\
/* x, or 0 where x is tiny: products of what is left with weights are no denormal numbers, which are slow. */
${NAME}_INLINE ${real} ${name}_flush(${real} x)
{
    return ${name}_choose(${name}_less(fabs${f}(x), ${tiny}), 0, x);
}
""",
    "reduce": """\
/* x is n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1, and 2^n in power. */
${NAME}_INLINE ${real} ${name}_reduce(${real} x, ${real} *power)
{
    const ${real} shifted = ${name}_multiply_add(x, ${log2e}, ${magic});
    ${bits} bits;
    memcpy(&bits, &shifted, sizeof bits);
#ifdef __FAST_MATH__ /* which would simplify the subtraction below */
    const ${real} n = (${real})(int32_t)((uint32_t)bits - ${magic_bits});
#else
    const ${real} n = shifted - ${magic};
#endif
    bits = (bits << ${shift}) + ${one};
    memcpy(power, &bits, sizeof bits);
    const ${real} r = ${name}_multiply_add(n, -(${ln2_low}), ${name}_multiply_add(n, -${ln2_high}, x));
    ${real} p = ${last};
${series}
    return r * ${name}_multiply_add(p, r, 1);
}
""",
    "clamp": """\
${NAME}_INLINE ${real} ${name}_clamp(${real} x, ${real} low, ${real} high)
{
    x = ${name}_choose(${name}_less(x, low), low, x);
    return ${name}_choose(${name}_less(high, x), high, x);
}
""",
    "exp": """\
/* e^x for x <= 0; below ${exp_low} as there. */
${NAME}_INLINE ${real} ${name}_exp(${real} x)
{
    ${real} power;
    const ${real} e = ${name}_reduce(${name}_clamp(x, ${exp_low}, 0), &power);
    return ${name}_multiply_add(e, power, power);
}
""",
    "exponential": """\
/* e^x within ${lowest} and ${highest}, and what it is there beyond. */
${NAME}_INLINE ${real} ${name}_exponential(${real} x)
{
    return exp${f}(${name}_clamp(x, ${lowest}, ${highest}));
}
""",
    "sigmoid": """\
/* 1 / (1 + e^-x) */
${NAME}_INLINE ${real} ${name}_sigmoid(${real} x)
{
    ${real} power;
    const ${real} e = ${name}_reduce(-${name}_clamp(x, -${sigmoid_end}, ${sigmoid_end}), &power);
    return 1 / (1 + ${name}_multiply_add(e, power, power));
}
""",
    "tanh": """\
/* e / (e + 2) with e = e^2x - 1 */
${NAME}_INLINE ${real} ${name}_tanh(${real} x)
{
    ${real} power;
    const ${real} y = ${name}_clamp(x, -${tanh_end}, ${tanh_end}), e = ${name}_reduce(y + y, &power);
    const ${real} all = ${name}_multiply_add(e, power, power - 1);
    return all / (all + 2);
}
""",
    "relu": """\
${NAME}_INLINE ${real} ${name}_relu(${real} x)
{
    return ${name}_choose(${name}_less(x, 0), 0, x);
}
""",
    "leaky_relu": """\
${NAME}_INLINE ${real} ${name}_leaky_relu(${real} x, ${real} slope)
{
    return ${name}_choose(${name}_less(x, 0), slope * x, x);
}
""",
    "elu": """\
/* x, or below 0 height (e^x - 1) */
${NAME}_INLINE ${real} ${name}_elu(${real} x, ${real} height)
{
    ${real} power;
    const ${real} e = ${name}_reduce(${name}_clamp(x, ${exp_low}, 0), &power);
    return ${name}_choose(${name}_less(x, 0), height * ${name}_multiply_add(e, power, power - 1), x);
}
""",
    "gelu": """\
${NAME}_INLINE ${real} ${name}_gelu(${real} x)
{
    return x * 0.5${f} * erfc${f}(x * -0.70710678118654752440${f});
}
""",
    "gelu_tanh": """\
${NAME}_INLINE ${real} ${name}_gelu_tanh(${real} x)
{
    return x * ${name}_sigmoid(1.59576912160573071176${f} * (x + 0.044715${f} * x * x * x));
}
""",
    "silu": """\
${NAME}_INLINE ${real} ${name}_silu(${real} x)
{
    return x * ${name}_sigmoid(x);
}
""",
    "softplus": """\
${NAME}_INLINE ${real} ${name}_softplus(${real} x)
{
    return ${name}_relu(x) + log1p${f}(${name}_exp(-fabs${f}(x)));
}
""",
    "softsign": """\
${NAME}_INLINE ${real} ${name}_softsign(${real} x)
{
    return x / (1 + fabs${f}(x));
}
""",
    "hard_sigmoid": """\
${NAME}_INLINE ${real} ${name}_hard_sigmoid(${real} x, ${real} slope)
{
    return ${name}_clamp(${name}_multiply_add(x, slope, 0.5${f}), 0, 1);
}
""",
}
CALL = re.compile(r"\$\{name\}_(\w+)\(")
INDEX = re.compile(r"\[[^]]*\]")
OPERATOR = re.compile(r" (?:[-+*/&^<>]|<<|\^=) |= -\$|fabs")


class Count(NamedTuple):
    """Arithmetic operations."""

    multiply_adds: int = 0
    others: int = 0

    def times(self, number: int) -> Count:
        return Count(self.multiply_adds * number, self.others * number)

    def plus(self, other: Count) -> Count:
        return Count(self.multiply_adds + other.multiply_adds, self.others + other.others)


def operations(text: str, counts: Mapping[str, Count]) -> Count:
    """Arithmetic operations of straight-line C; ``counts`` has those of the functions that it calls."""
    found = Count(0, len(OPERATOR.findall(INDEX.sub("", text))))
    for function in CALL.findall(text):
        found = found.plus(counts[function])
    return found


def counted(real: Real) -> dict[str, Count]:
    """The operations of one call of each function."""
    counts, filled = {"multiply_add": Count(1)}, fillings(real)
    for function in FUNCTIONS:
        if function not in counts:
            text = _with_pieces(function, filled)
            body = re.sub(r"#if.*?#else\n", "", text[text.index("{\n") :], flags=re.DOTALL)
            counts[function] = operations(body, counts)
    return counts


def needed(texts: Iterable[str]) -> list[str]:
    """Names of the functions that texts call, directly or through others, in order of definition."""
    found: set[str] = set()
    left = list(texts)
    while left:
        called = {function for function in CALL.findall(left.pop()) if function in FUNCTIONS}
        left += [FUNCTIONS[function] for function in called - found]
        found |= called
    return [function for function in FUNCTIONS if function in found]


def hexadecimal(value: Any) -> str:
    """A constant's digits, which lose no bit."""
    return re.sub(r"\.?0*p", "p", float(value).hex())


def definition(function: str, names: Mapping[str, str]) -> str:
    """A function's text; ``names`` are the file's, with `fillings`."""
    return Template(_with_pieces(function, names)).substitute(names)


def _with_pieces(function: str, names: Mapping[str, str]) -> str:
    pieces = {piece: names[piece] for piece in ("less", "series")}
    return Template(FUNCTIONS[function]).safe_substitute(pieces)


def fillings(real: Real) -> dict[str, str]:
    """What the names in the templates stand for, but for the file's own name."""
    number = np.float32 if real is FLOAT else np.float64
    last, *others = (hexadecimal(number(1 / math.factorial(n))) + real.f for n in range(real.terms, 1, -1))
    series = "\n".join(f"    p = ${{name}}_multiply_add(p, r, {coefficient});" for coefficient in others)
    strings = {field: value for field, value in real._asdict().items() if isinstance(value, str)}
    tiny, end = real.tiny.removesuffix(real.f), real.sigmoid_end.removesuffix(real.f)
    words = {"tiny_in_words": tiny.replace("0x1p", "2^"), "end": end}
    return strings | words | {"less": LESS if real is FLOAT else LESS_64, "last": last, "series": series}
