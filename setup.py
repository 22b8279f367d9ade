"""The extensions; everything else about the package stands in pyproject.toml.

RNNCORE_BOUNDSCHECK=1 builds with Cython's bounds checks, apart from the other build; `make test-checked` adds
the compiler's sanitizers, which see the C code as well. RNNCORE_SYMBOLS=1 keeps the names of functions for a
profiler.
"""

import os
import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = "rnncore/kernels"
# Cython's own code for memoryviews, written once, for all modules: else 150 kB in each of fifteen.
SHARED = "rnncore.kernels._shared"

CHECKED = os.environ.get("RNNCORE_BOUNDSCHECK") == "1"
# Branch-free loops vectorise only without traps and errno; -ffast-math would drop the NaN tests as well.
CFLAGS = ["-fno-trapping-math", "-fno-math-errno"]
# Line numbers for the sanitizers' reports; else they would take a third of the build and most of the wheel.
CFLAGS += ["-O1", "-g"] if CHECKED else ["-g0"]
KEPT = CHECKED or bool(os.environ.get("RNNCORE_SYMBOLS"))  # names, for sanitizers and for profilers
# The C kernels say themselves what is a vector. What the compiler adds is vectors of pointers, stored whole
# and read one by one, or the other way round, which stalls: 10% of an Elman step at B32 H32.
INNER = ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"] + ([] if CHECKED else ["-O3"])
# Everything else is the border and the loops over time: as fast with -O2, and an eighth smaller.
BORDER = [] if CHECKED else ["-O2"]
# A seventh of the installed size: names, tables for unwinding, functions nobody calls, pages filled up.
SMALL = sys.platform.startswith("linux") and not KEPT
CFLAGS += ["-ffunction-sections", "-fno-asynchronous-unwind-tables"] if SMALL else []
LINK = ["-s", "-Wl,--gc-sections", "-Wl,-z,noseparate-code"] if SMALL else []
# What overruns a buffer must find no return address and no table of functions to write to. The arrays of
# the C kernels are vectors of constant length, which the weaker protector leaves alone, and so their time.
HARDENED = sys.platform.startswith("linux")
LINK += ["-Wl,-z,relro", "-Wl,-z,now"] if HARDENED else []
INNER += ["-fstack-protector"] if HARDENED else []
BORDER += ["-fstack-protector-strong"] if HARDENED else []
THREADS = [] if sys.platform == "win32" else ["-pthread"]


def extension(path: str) -> Extension:
    """One compiled module; dispatch alone carries the C kernels, the others reach them through its table."""
    name = os.path.splitext(path)[0].replace("/", ".")
    levels = sorted(glob(f"{KERNELS}/levels/*.c")) if name.endswith(".dispatch") else []
    flags = CFLAGS + (INNER if levels else BORDER) + THREADS
    return Extension(
        name,
        [path, *levels],
        depends=glob(f"{KERNELS}/*.h"),
        include_dirs=[KERNELS, numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=flags,
        extra_link_args=THREADS + LINK,
    )


class Build(build_ext):
    """Without the search path for libraries that some Pythons were built with: it is of no use elsewhere."""

    def build_extensions(self) -> None:
        linker = getattr(self.compiler, "linker_so", None)
        if linker:
            self.compiler.linker_so = [part for part in linker if not part.startswith("-Wl,-rpath")]
        super().build_extensions()


directives = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": True,
    "freethreading_compatible": True,
}

# Where processes are not forked, as since CPython 3.14, Cython's workers read this file again.
if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            [extension(path) for path in [*sorted(glob(f"{KERNELS}/*.pyx")), f"{KERNELS}/_shared.c"]],
            shared_utility_qualified_name=SHARED,
            compiler_directives=directives,
            nthreads=os.cpu_count() or 1,
            build_dir="build/checked" if CHECKED else None,
        ),
        cmdclass={"build_ext": Build},
        options={
            "build": {"build_base": "build/checked" if CHECKED else "build"},
            "build_ext": {"parallel": os.cpu_count()},
        },
    )
