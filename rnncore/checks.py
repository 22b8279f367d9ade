"""The Python border: what comes from outside is checked here once, before anything is changed.

Behind these checks kernels trust their arguments. Every error names the argument, what came and what
is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels.clipping import all_finite

Array = NDArray[Any]

#: of a count, which kernels hold in 64 bits
LARGEST = 2**63 - 1
#: of a size, a delay or a period: BLAS counts in 32 bits, and products of two stay within 64
LARGEST_SIZE = 2**31 - 1


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error says, as far as it fits into a message: on one line, whatever it quotes of a file."""
    text = " ".join(str(error)[: 2 * most].split())[:most]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def check_array(name: str, value: Any, dtype: np.dtype[Any], axes: str, sizes: Sequence[int | None]) -> Array:
    """``value``, if it is a C-contiguous array of ``dtype`` with the wanted sizes; a copy if misaligned.

    Parameters
    ----------
    name
        The argument's name, for the message.
    axes
        Names of the axes, one letter each, such as ``"TBF"``.
    sizes
        The wanted size of each axis, None where any will do.

    Raises
    ------
    TypeError
        If it is not an array of this dtype.
    ValueError
        If its shape or memory order is another one.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, but a NumPy array is wanted")
    if value.dtype != dtype:
        cast = f"pass {name}.astype(np.{dtype})"
        raise TypeError(f"{name} is {value.dtype}, but this network computes in {dtype}: {cast}")
    shape = value.shape
    fits = len(shape) == len(axes)
    for size, got in zip(sizes, shape, strict=False):
        fits = fits and (size is None or size == got)
    if not fits:
        named = zip(axes, sizes, strict=True)
        wanted = ", ".join(axis if size is None else f"{axis}={size}" for axis, size in named)
        raise ValueError(f"{name} has shape {value.shape}, but ({wanted}) is wanted")
    if not value.flags.c_contiguous:
        raise ValueError(f"{name} is not C-contiguous: pass np.ascontiguousarray({name})")
    return value if value.flags.aligned else value.copy()


def take_array(name: str, value: Any) -> Any:
    """``value`` as a NumPy array on its own memory, where it has ``__array__`` or the buffer protocol.

    A misaligned array is copied. Nothing is converted: the dtype stays, and what is neither (a list, a
    number) comes back as it is, so that ``check_array`` refuses both. An array.array, a memoryview or a
    tensor on the CPU costs no copy.

    Raises
    ------
    TypeError
        If it offers an array but gives none, as a tensor does that requires a gradient, or is a masked array.
    """
    refuse_masked(name, value)
    if isinstance(value, np.ndarray):
        return value if value.flags.aligned else value.copy("K")
    if value is None or isinstance(value, (np.generic, type)):
        return value
    if not hasattr(value, "__array__"):
        try:
            value = memoryview(value)
        except TypeError:
            return value
    try:
        array = np.asarray(value)
        return array if array.flags.aligned else array.copy("K")
    except Exception as error:  # whatever another library's __array__ raises
        came, reason = type(value).__name__, str(error).partition("\n")[0][:200]
        raise TypeError(f"{name} is a {came} that gives no NumPy array: {reason}") from error


def refuse_masked(name: str, value: Any) -> None:
    """Raise TypeError for a masked array: the mask would be lost without a word."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask is not read: pass {name}.filled(...)")


def take_state(name: str, state: Any) -> Any:
    """A state with each of its parts as ``take_array`` gives it; tuples stay tuples."""
    if isinstance(state, tuple):
        return tuple(take_state(f"{name}[{place}]", part) for place, part in enumerate(state))
    return take_array(name, state)


def check_lengths(
    lengths: Any, steps: int, rows: int, of: str = "x", least: int = 1
) -> NDArray[np.intp] | None:
    """Lengths of the rows as ``intp (B,)``, or None when every row has all ``steps`` of the argument ``of``.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If there is not one per row, or one lies outside least..T.
    """
    if lengths is None:
        return None
    given = np.array(lengths)  # a copy, which nobody else can change between the check and the kernel
    if given.dtype.kind not in "iu":
        raise TypeError(f"lengths are {given.dtype}, but integers are wanted")
    if given.shape != (rows,):
        raise ValueError(f"lengths have shape {given.shape}, but one per row is wanted: ({rows},)")
    if rows and not (given.min() >= least and given.max() <= steps):
        bad = int(np.flatnonzero((given < least) | (given > steps))[0])
        raise ValueError(
            f"lengths[{bad}] is {given[bad]}, but {of} has {steps} steps (T). Lengths count steps from the "
            f"start of each row, from {least} to {steps}."
        )
    own = given.astype(np.intp, copy=False)
    own.flags.writeable = False  # a tape keeps it
    return own


def is_mask(lengths: Any) -> bool:
    """Whether what is given as lengths is a mask of steps instead: bool, or two axes."""
    array = np.asarray(lengths)
    return array.dtype == np.bool_ or array.ndim == 2


def check_mask(mask: Any, steps: int, rows: int, of: str = "x") -> NDArray[np.bool_]:
    """A mask ``bool (T, B)``; TypeError or ValueError otherwise."""
    given = np.asarray(mask)
    if given.dtype != np.bool_:
        raise TypeError(f"lengths are {given.dtype} {given.shape}; expected (B,), or as a mask bool (T, B)")
    if given.shape != (steps, rows):
        raise ValueError(
            f"lengths are a mask of shape {given.shape}, but {of} has T={steps} and B={rows}"
        )
    return given


def check_weights(weights: Any, rows: int) -> NDArray[np.float64] | None:
    """Weights of the rows as ``float64 (B,)``, or None where all count alike.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If there is not one per row, or one is negative or not finite.
    """
    if weights is None:
        return None
    given = np.asarray(weights)
    if given.dtype.kind not in "iufb":
        raise TypeError(f"weights are {given.dtype}, but numbers are wanted")
    if given.shape != (rows,):
        raise ValueError(f"weights have shape {given.shape}, but one per row is wanted: ({rows},)")
    wrong = ~((given >= 0) & (given < np.inf))
    if wrong.any():
        place = int(wrong.argmax())
        raise ValueError(f"weights[{place}] is {given[place]}, but finite numbers from 0 are wanted")
    return np.require(given, np.float64, ["C", "A"])


def check_step_weights(weights: Any, steps: int, rows: int) -> NDArray[np.float64] | None:
    """Weights of the rows as ``float64 (1, B)``, of the steps as ``(T, B)``; None where all count alike.

    Raises
    ------
    TypeError, ValueError
        If they are not numbers from 0, or of another shape.
    """
    if weights is None:
        return None
    given = np.asarray(weights)
    if given.ndim != 2:
        of_rows = check_weights(given, rows)
        return None if of_rows is None else of_rows[None]
    if given.shape != (steps, rows):
        raise ValueError(
            f"weights have shape {given.shape}; expected one per row, ({rows},), or one per step, "
            f"({steps}, {rows})"
        )
    flat = check_weights(given.reshape(-1), given.size)
    return None if flat is None else flat.reshape(given.shape)


def check_finite(name: str, value: Array, lengths: NDArray[np.intp] | None = None) -> None:
    """Raise ValueError if ``value (T, B, ...)`` holds NaN or an infinity outside the padding."""
    if all_finite(value.reshape(-1)):
        return
    bad = ~np.isfinite(value)
    if lengths is not None:
        bad[padding_mask(lengths, value.shape[0])] = False
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        index = ", ".join(map(str, place))
        raise ValueError(f"{name}[{index}] is {value[place]}, but only finite numbers can be used")


def check_positive_integer(name: str, value: Any, most: int = LARGEST) -> int:
    """``value`` as an int of at least 1 and at most ``most``; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, but a whole number is wanted")
    if value < 1:
        raise ValueError(f"{name} is {_few_digits(int(value))}, but at least 1 is wanted")
    if value > most:
        raise ValueError(f"{name} is {_few_digits(int(value))}, but at most {most} can be used")
    return int(value)


def check_size(name: str, value: Any) -> int:
    """``value`` as an int from 1 to 2**31 - 1, for a size or a delay; TypeError or ValueError otherwise."""
    return check_positive_integer(name, value, LARGEST_SIZE)


def _few_digits(value: int) -> str:
    """A number for a message: Python refuses to write thousands of digits."""
    return str(value) if value.bit_length() < 128 else f"a number of {value.bit_length()} bits"


def check_ascending(name: str, values: Any, example: str) -> tuple[int, ...]:
    """Sizes, each once, in ascending order; ``name`` is that of one of them."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(listed, (str, bytes)) or not isinstance(listed, Sequence) or not listed:
        raise TypeError(f"{name}s are {values!r}, but whole numbers, such as {example}, are wanted")
    found = tuple(check_size(f"a {name}", value) for value in listed)
    if list(found) != sorted(set(found)):
        raise ValueError(f"{name}s are {found}, but each is wanted once, in ascending order")
    return found


def check_seed(value: Any, name: str = "seed") -> int:
    """A seed as an int of at least 0; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, but a whole number is wanted")
    if value < 0:
        raise ValueError(f"{name} is {_few_digits(int(value))}, but at least 0 is wanted")
    return int(value)


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64 as a dtype; TypeError for any other."""
    try:
        if dtype is None:  # which NumPy takes for float64
            raise TypeError
        checked: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype is {dtype!r}, but float32 or float64 is wanted") from None
    if checked not in (np.float32, np.float64):
        raise TypeError(f"dtype is {checked}, but float32 or float64 is wanted")
    return checked


def check_flag(name: str, value: Any) -> bool:
    """``value`` if it is True or False; TypeError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}, but True or False is wanted")
    return bool(value)


def check_real(name: str, value: Any) -> float:
    """``value`` as a float, which may be infinite or NaN; TypeError if it is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, but a number is wanted")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float") from None


def check_number(name: str, value: Any) -> float:
    """``value`` as a finite float; TypeError or ValueError otherwise."""
    if not math.isfinite(check_real(name, value)):
        raise ValueError(f"{name} is {value}, but a finite number is wanted")
    return float(value)


def padding_mask(lengths: NDArray[np.intp], steps: int) -> NDArray[np.bool_]:
    """True at ``[t, b]`` where step t lies beyond the length of row b: ``bool (T, B)``."""
    return np.arange(steps)[:, None] >= lengths


def zero_padding(value: Array, lengths: NDArray[np.intp] | None) -> Array:
    """``value (T, B, ...)`` with zeros in the padding: a copy, or itself when no row is padded."""
    if lengths is None or lengths.min(initial=len(value)) == len(value):
        return value
    value = value.copy()
    value[padding_mask(lengths, len(value))] = 0
    return value
