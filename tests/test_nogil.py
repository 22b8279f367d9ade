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
# A parallel region asks at its entry, once, whether its caller holds the GIL, and gives it up for the time.
ENTRY = {"SaveUnknownThread", "RestoreUnknownThread", "FastGIL_Remember", "FastGIL_Forget"}

KERNELS = sorted((ROOT / "rnncore" / "kernels").glob("*.pyx"))


def directives() -> list[str]:
    """The compiler directives of setup.py, as arguments of ``cython``."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "directives":
            found = eval(compile(ast.Expression(node.value), "setup.py", "eval"), {"checked": False})
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


def annotated_lines(path: Path, folder: Path) -> dict[int, list[str]]:
    """What ``cython -a`` marks below each line of a file: calls into CPython and Cython's helpers for it."""
    target = folder / f"{path.stem}.c"
    command = [sys.executable, "-m", "cython", "-a", *directives(), "-o", str(target), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    page = target.with_suffix(".html").read_text()
    number, calls = 0, {}
    for block in re.findall(r"<pre class=['\"]cython (.*?)</pre>", page, re.DOTALL):
        if block.startswith("line"):
            number = int(re.search(r"<span class=\"\">\s*(\d+)</span>", block)[1])
        else:
            marks = r"<span class='(?:py_c_api|pyx_c_api|error_goto)'>(.*?)</span>"
            spans = re.findall(marks, block, re.DOTALL)
            calls.setdefault(number, []).extend(html.unescape(re.sub("<.*?>", "", span)) for span in spans)
    return calls


def violations(path: Path, folder: Path) -> list[str]:
    """Calls of CPython inside the nogil regions of a file, as ``line: call``."""
    lines = path.read_text().splitlines()
    inside = nogil_lines(path.read_text())
    found = []
    for number, calls in annotated_lines(path, folder).items():
        allowed = {f"__Pyx_{name}" for name in ENTRY} if " in prange(" in lines[number - 1] else set()
        if number in inside:
            found += [f"{number}: {call}" for call in sorted(set(calls) - allowed)]
    return found


def loops_with_gil(source: str) -> list[int]:
    """Lines with a ``for ... in range`` outside the nogil regions."""
    inside = nogil_lines(source)
    return [
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if re.match(r"\s*for .* in p?range\(", line) and number not in inside
    ]


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_nogil_regions_never_call_cpython(path, tmp_path):
    assert violations(path, tmp_path) == []


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

BAD = {
    "bounds": BOUNDS,
    "division by zero": DIVISION,
    "an exception checked for after each call": GOOD.replace("noexcept nogil", "except * nogil"),
    "with gil": GOOD.replace("        s = total(&", "        with gil: print(1)\n        s = total(&"),
}


def test_a_clean_file_passes(tmp_path):
    path = tmp_path / "good.pyx"
    path.write_text(GOOD)
    assert nogil_lines(GOOD) == {3, 4, 5, 6, 7, 12}
    assert violations(path, tmp_path) == []
    assert loops_with_gil(GOOD) == []


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_the_check_sees(source, tmp_path):
    path = tmp_path / "bad.pyx"
    path.write_text(source)
    assert violations(path, tmp_path)


def test_the_check_sees_a_loop_that_holds_the_gil():
    assert loops_with_gil(GOOD.replace("    with nogil:", "    for i in range(3):")) == [11]
