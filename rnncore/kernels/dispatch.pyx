"""Which instruction set the kernels use: the processor's best, or the one that RNNCORE_LEVEL names."""

import os

cdef const Kernels *chosen_float = rnncore_level(0, 0)
cdef const Kernels *chosen_double = rnncore_level(0, 1)


cdef const Kernels *kernels(bint is_double) noexcept nogil:
    return chosen_double if is_double else chosen_float


def levels():
    """Names of the levels this processor has, best first, of "avx512", "avx2" and "baseline"."""
    names = []
    cdef int index = 0
    while rnncore_level(index, 0) != NULL:
        names.append(rnncore_level(index, 0).name.decode())
        index += 1
    return names


def level():
    """Name of the level in force."""
    return chosen_float.name.decode()


def set_level(name):
    """Put another level in force, for tests and comparisons.

    Raises
    ------
    ValueError
        If this processor lacks the level.
    """
    global chosen_float, chosen_double
    names = levels()
    if name not in names:
        raise ValueError(f"level is {name!r}, but this processor has {', '.join(names)}")
    chosen_float = rnncore_level(names.index(name), 0)
    chosen_double = rnncore_level(names.index(name), 1)


if os.environ.get("RNNCORE_LEVEL"):
    set_level(os.environ["RNNCORE_LEVEL"])
