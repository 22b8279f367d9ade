"""The processor's floating-point state in this thread, as C's <fenv.h> sees it: read, set, and put back."""

import contextlib
import ctypes
import ctypes.util
import gc
import platform

_LIBRARY = ctypes.CDLL(ctypes.util.find_library("m"))
_ENVIRONMENT = ctypes.c_ubyte * 64  # more than fenv_t takes anywhere
_X86 = platform.machine().lower() in {"x86_64", "amd64"}

# Bits of the word that says how to compute (x86's MXCSR, which also bears what has happened; ARM's FPCR).
UPWARD, FLUSHING = (0x4000, 0x8040) if _X86 else (0x400000, 0x1000000)
HAPPENED = 0x3F if _X86 else 0
# Unmasked, the first denormal operand and the first number that underflows would kill the process.
TRAPPED = 0x900 if _X86 else 0


def _words():
    """fenv_t, and where in it the words are: how to compute, and what has happened."""
    environment = _ENVIRONMENT()
    _LIBRARY.fegetenv(environment)
    places = (28, 28) if _X86 else (8, 0) if platform.system() == "Darwin" else (0, 4)
    return environment, places


def float_state():
    """How this thread computes, and which exceptions it has seen."""
    environment, places = _words()
    return tuple(ctypes.c_uint32.from_buffer(environment, place).value for place in places)


@contextlib.contextmanager
def computing(set_bits=0, cleared_bits=0):
    """With these bits set, and those cleared, in the word that says how to compute; without the garbage
    collector, whose callbacks (hypothesis adds one, JAX another) compute, and so change what has happened."""
    collecting = gc.isenabled()
    gc.disable()
    environment, (place, _) = _words()
    before = bytes(environment)
    word = ctypes.c_uint32.from_buffer(environment, place)
    word.value = word.value & ~cleared_bits | set_bits
    _LIBRARY.fesetenv(environment)
    try:
        yield
    finally:
        _LIBRARY.fesetenv(_ENVIRONMENT.from_buffer_copy(before))
        if collecting:
            gc.enable()
