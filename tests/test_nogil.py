"""Loops of the kernels run without the GIL and never call CPython: read from ``cython -a``.

Cython refuses most such calls itself. What it lets pass are the ones it adds: an exception that may be raised
(bounds, division by zero, ``except *``), a ``with gil`` block, a memoryview's reference count. Each would
take the GIL inside a loop, or be checked for after every call.
"""

import ast
import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("Cython")

ROOT = Path(__file__).resolve().parents[1]
KERNELS = sorted((ROOT / "rnncore" / "kernels").glob("*.pyx"))


def directives() -> list[str]:
    """The compiler directives of setup.py, as arguments of ``cython``."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "directives":
            found = eval(compile(ast.Expression(node.value), "setup.py", "eval"), {"CHECKED": False})
            return [argument for name, value in found.items() for argument in ("-X", f"{name}={value}")]
    raise AssertionError("setup.py has no directives")


def nogil_lines(source: str) -> set[int]:
    """Numbers of the lines inside ``with nogil:`` blocks and the bodies of nogil functions."""
    inside, depth = set(), None
    for number, line in enumerate(source.splitlines(), start=1):
        code = line.split("#")[0].rstrip()
        if not code:
            continue
        indent = len(code) - len(code.lstrip())
        if depth is not None and indent <= depth:
            depth = None
        if depth is not None:
            inside.add(number)
        elif re.match(r"\s*with nogil\b.*:$", code) or re.match(r"(?!.*\bextern\b).*\bnogil:$", code):
            depth = indent
    return inside


def annotate(paths: list[Path], folder: Path) -> dict[str, list[str]]:
    """Calls of CPython inside the nogil regions, ``line: call``, for each of these files."""
    command = [sys.executable, "-m", "cython", "-a", *directives(), "-o", str(folder), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pages = {path.name: marked_lines(folder / f"{path.stem}.html") for path in paths}
    return {path.name: violations(path.read_text(), pages[path.name]) for path in paths}


def marked_lines(page: Path) -> dict[int, list[str]]:
    """What ``cython -a`` marks below each line of a file: calls into CPython and Cython's helpers for it."""
    number, calls = 0, {}
    for block in re.findall(r"<pre class=['\"]cython (.*?)</pre>", page.read_text(), re.DOTALL):
        if block.startswith("line"):
            number = int(re.search(r"<span class=\"\">\s*(\d+)</span>", block)[1])
        else:
            marks = r"<span class='(?:py_c_api|pyx_c_api|error_goto)'>(.*?)</span>"
            spans = re.findall(marks, block, re.DOTALL)
            calls.setdefault(number, []).extend(html.unescape(re.sub("<.*?>", "", span)) for span in spans)
    assert calls, f"{page} is no page of cython -a that we can read"
    return calls


def violations(source: str, marked: dict[int, list[str]]) -> list[str]:
    inside = nogil_lines(source)
    return [f"{number}: {call}" for number in sorted(inside) for call in sorted(set(marked.get(number, [])))]


def loops_with_gil(source: str) -> list[int]:
    """Lines with a ``for ... in range`` outside the nogil regions."""
    inside = nogil_lines(source)
    return [
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if re.match(r"\s*for .* in p?range\(", line) and number not in inside
    ]


@pytest.fixture(scope="module")
def found_in_kernels(tmp_path_factory):
    return annotate(KERNELS, tmp_path_factory.mktemp("annotated"))


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_nogil_regions_never_call_cpython(path, found_in_kernels):
    assert found_in_kernels[path.name] == []


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_loops_run_without_the_gil(path):
    assert loops_with_gil(path.read_text()) == []


GOOD = """
cdef double total(double *x, Py_ssize_t n) noexcept nogil:
    cdef double s = 0
    cdef Py_ssize_t i
    for i in range(n):
        s += x[i]
    return s

def mean(double[::1] x):
    cdef double s
    with nogil:
        s = total(&x[0], x.shape[0])
    return s / x.shape[0]
"""

BOUNDS = """
cimport cython

@cython.boundscheck(True)
def clear(double[::1] x):
    cdef Py_ssize_t i
    with nogil:
        for i in range(3):
            x[i] = 0
"""

DIVISION = """
cimport cython

@cython.cdivision(False)
def divide(int n, int k):
    with nogil:
        n = n // k
    return n
"""

EXAMPLES = {
    "good": GOOD,
    "bounds": BOUNDS,
    "division_by_zero": DIVISION,
    "exception_after_each_call": GOOD.replace("noexcept nogil", "except * nogil"),
    "with_gil": GOOD.replace("        s = total(&", "        with gil: print(1)\n        s = total(&"),
}


@pytest.fixture(scope="module")
def found_in_examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for name, source in EXAMPLES.items():
        (folder / f"{name}.pyx").write_text(source)
    return annotate([folder / f"{name}.pyx" for name in EXAMPLES], folder)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_check_sees_what_is_wrong_and_nothing_else(name, found_in_examples):
    assert bool(found_in_examples[f"{name}.pyx"]) == (name != "good")


def test_lines_without_the_gil_are_found():
    assert nogil_lines(GOOD) == {3, 4, 5, 6, 7, 12}


def test_the_check_sees_a_loop_that_holds_the_gil():
    assert loops_with_gil(GOOD) == []
    assert loops_with_gil(GOOD.replace("    with nogil:", "    for i in range(3):")) == [11]
