"""Symbolic values: what a cell's ``step`` computes with while it is traced.

A value is an operation on other values. Equal operations on the same values are one value, and constants are
folded, so that derived equations stay as short as the traced ones.
"""

from __future__ import annotations

import linecache
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_HERE = Path(__file__).parent
#: the files of the language itself, in which no user's equation stands
_LANGUAGE = {
    str(_HERE / f"{name}.py") for name in ("values", "operations", "functions", "tracing", "cell", "passes")
}
_LANGUAGE |= {
    str(_HERE / f"{name}.py") for name in ("layout", "lowering", "programs", "rewriting", "hoisting")
}


class CellError(ValueError):
    """An equation cannot be traced, or not be run; the message quotes the line in question.

    ``place`` is that line, as code and number, where it is no longer running.
    """

    def __init__(self, problem: str, place: tuple[CodeType, int] | None = None) -> None:
        super().__init__(problem + _quoted(*(place or _innermost())))


def _innermost() -> tuple[CodeType | None, int]:
    """The innermost line outside the language and what uses it."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = Path(frame.f_code.co_filename)
        if str(name) not in _LANGUAGE and (name.parent == _HERE or _HERE.parent not in name.parents):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None, 0


def _quoted(code: CodeType | None, line: int) -> str:
    """The line as the end of a message."""
    if code is None:
        return ""
    text = linecache.getline(code.co_filename, line).strip()
    where = f"line {line}: {text}" if text else f"line {line} of {code.co_filename}"
    return f"\n  in {code.co_qualname}, {where}"


class Value:
    """A symbolic value of one step: one number for each of ``width`` units, or for all if ``uniform``."""

    __slots__ = ("args", "data", "graph", "op", "order", "uniform", "width")
    __hash__ = object.__hash__
    __array_priority__ = 1000

    def __init__(
        self, graph: Graph, op: str, args: tuple[Value, ...], data: Any, width: int, uniform: bool
    ) -> None:
        self.graph, self.op, self.args, self.data = graph, op, args, data
        self.width, self.uniform = width, uniform
        self.order = len(graph.values)
        graph.values.append(self)

    @property
    def constant(self) -> float | None:
        """The number of a constant, None of all else."""
        return self.data if self.op == "constant" else None

    def __add__(self, other: Any) -> Value:
        return self.graph.make("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.make("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.make("subtract", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.make("subtract", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.make("multiply", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.make("multiply", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.make("divide", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.graph.make("divide", other, self)

    def __neg__(self) -> Value:
        return self.graph.make("negate", self)

    def __pos__(self) -> Value:
        return self

    def __pow__(self, exponent: Any) -> Value:
        return self.graph.power(self, exponent)

    def __lt__(self, other: Any) -> Value:
        return self.graph.make("less", self, other)

    def __gt__(self, other: Any) -> Value:
        return self.graph.make("less", other, self)

    def __le__(self, other: Any) -> Value:
        return 1 - self.graph.make("less", other, self)

    def __ge__(self, other: Any) -> Value:
        return 1 - self.graph.make("less", self, other)

    def __eq__(self, other: object) -> Any:
        if self is other:
            return True
        raise CellError(
            "symbolic values cannot be compared with ==; write where(a < b, ...) for a choice by value"
        )

    def __ne__(self, other: object) -> Any:
        return not self == other

    def __rpow__(self, base: Any) -> Value:
        raise CellError(
            "a symbolic value cannot be an exponent; write exp(v * log(base)) with exp of rnncore.cells"
        )

    def __matmul__(self, other: Any) -> Value:
        raise CellError('matrices multiply by self.linear("name", value), which learns its matrix; got @')

    __rmatmul__ = __matmul__

    def __abs__(self) -> Value:
        return self.graph.make("abs", self)

    def __bool__(self) -> bool:
        raise CellError(
            "a symbolic value has no truth value while the cell is traced, so that if, while, and, or, not "
            "cannot "
            "ask for it; write where(condition, a, b), or decide by an option of the constructor"
        )

    def __float__(self) -> float:
        raise CellError(
            "a symbolic value is no number while the cell is traced; use the functions of rnncore.cells, "
            "such as "
            "rnncore.cells.tanh, instead of those of math"
        )

    __int__ = __index__ = __complex__ = __float__

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise CellError(
            "a symbolic value is no array while the cell is traced; use the functions of rnncore.cells "
            "instead of "
            "NumPy's"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if ufunc.__name__ == "matmul":
            return self.__matmul__(args)
        arithmetic = {"add", "subtract", "multiply", "divide"}
        if ufunc.__name__ in arithmetic and method == "__call__" and all(map(_is_number, args)):
            return self.graph.make(ufunc.__name__, *args)
        raise CellError(
            f"numpy.{ufunc.__name__} cannot be traced; use rnncore.cells.{ufunc.__name__} if there is such a "
            "function, or arithmetic with numbers and symbolic values"
        )

    def __getitem__(self, key: Any) -> Value:
        raise CellError(
            "a symbolic value cannot be indexed; self.split(value, parts) takes a linear map apart"
        )

    def __iter__(self) -> Any:
        raise CellError(
            "a symbolic value cannot be unpacked; self.split(value, parts) takes a linear map apart"
        )

    def __repr__(self) -> str:
        return f"<symbolic {self.op} of {self.width} units>"


def _is_number(value: Any) -> bool:
    return isinstance(value, Value) or getattr(value, "ndim", 0) == 0


class Graph:
    """All values of one trace, each made once."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.origins: dict[int, int] = {}  # of rewritten values: what they were
        self._made: dict[Any, Value] = {}

    def leaf(
        self, op: str, data: Any, width: int, uniform: bool = False, args: tuple[Value, ...] = ()
    ) -> Value:
        """A value that is no function of its arguments' units alone."""
        key = op, data, width, uniform, tuple(map(id, args))
        if key not in self._made:
            self._made[key] = Value(self, op, args, data, width, uniform)
        return self._made[key]

    def number(self, number: float) -> Value:
        """A constant."""
        return self.leaf("constant", float(number), 1, True)

    def lift(self, value: Any) -> Value:
        """A number or a value as a value."""
        if isinstance(value, Value):
            if value.graph is not self:
                raise CellError("a value of another trace is used; keep symbolic values inside of step")
            return value
        if isinstance(value, (bool, str, bytes)) or not _is_number(value):
            raise CellError(f"expected a symbolic value or a number, got {value!r}")
        try:
            return self.number(float(value))
        except (TypeError, ValueError):
            raise CellError(f"expected a symbolic value or a number, got {value!r}") from None

    def make(self, op: str, *given: Any) -> Value:
        """The operation on these values and numbers, simplified."""
        args = tuple(map(self.lift, given))
        simple = simplified(self, op, args)
        if simple is not None:
            return simple
        key = op, tuple(map(id, args))
        if key not in self._made:
            width, uniform = self._width(op, args)
            self._made[key] = Value(self, op, args, None, width, uniform)
        return self._made[key]

    def _width(self, op: str, args: tuple[Value, ...]) -> tuple[int, bool]:
        if op == "mean":
            return 1, True
        widths = {arg.width for arg in args if not arg.uniform}
        if len(widths) > 1:
            sizes = " and ".join(str(arg.width) for arg in args if not arg.uniform)
            raise CellError(
                f"{op} got values of {sizes} units, which have to be as many; self.linear(name, value, "
                "size=...) "
                "maps a value to another size"
            )
        return (widths.pop(), False) if widths else (1, True)

    def power(self, base: Value, exponent: Any) -> Value:
        """base to a constant power."""
        if isinstance(exponent, Value):
            raise CellError(
                "the exponent is a symbolic value, but has to be a number; write exp(v * log(base)) instead"
            )
        power = float(exponent)
        if power == 0.5:
            return self.make("sqrt", base)
        if power < 0:
            return 1 / self.power(base, -power)
        if power != int(power) or power > 16:
            return self.make("exp", power * self.make("log", base))
        result = self.number(1)
        for _ in range(int(power)):
            result = result * base
        return result


_FOLDED: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b if b else math.nan,
    "negate": lambda a: -a,
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else math.nan,
    "exp": math.exp,
    "tanh": math.tanh,
    "less": lambda a, b: float(a < b),
}


def _scaled(value: Value) -> tuple[Value, float] | None:
    """A value and its factor, if it is a product with a number."""
    if value.op != "multiply":
        return None
    for arg, other in (value.args, value.args[::-1]):
        if other.constant is not None:
            return arg, other.constant
    return None


def simplified(graph: Graph, op: str, args: tuple[Value, ...]) -> Value | None:
    """A shorter value for the operation, or None."""
    numbers = [arg.constant for arg in args]
    if op in _FOLDED and None not in numbers:
        return graph.number(_FOLDED[op](*numbers))
    if op == "mean" and args[0].uniform:
        return args[0]
    first, second = numbers[0], numbers[1] if len(numbers) > 1 else None
    match op:
        case "add":
            return args[1] if first == 0 else args[0] if second == 0 else None
        case "subtract":
            return args[0] if second == 0 else -args[1] if first == 0 else None
        case "multiply" if 0 in (first, second):
            return graph.number(0)
        case "multiply" if (second or first) is not None and _scaled(args[0 if first is None else 1]):
            number, value = (second, args[0]) if first is None else (first, args[1])
            inner = _scaled(value)
            assert inner is not None
            assert number is not None
            return graph.make("multiply", inner[0], inner[1] * number)
        case "multiply":
            return args[1] if first == 1 else args[0] if second == 1 else None
        case "divide" if second == 1:
            return args[0]
        case "negate" if args[0].op == "negate":
            return args[0].args[0]
        case "where" if first is not None:
            return args[1] if first else args[2]
        case "where" if args[1] is args[2]:
            return args[1]
    return None
