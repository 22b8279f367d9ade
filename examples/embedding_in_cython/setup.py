"""The extension: Cython finds rnncore's declarations by itself, the C compiler is told its headers."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import rnncore

extension = Extension(
    "surprise._forecast",
    ["surprise/_forecast.pyx"],
    include_dirs=[rnncore.get_include()],
    extra_compile_args=["-O3", "-g0"],
)
setup(ext_modules=cythonize([extension], compiler_directives={"language_level": 3}))
