"""The shape of the house: what may import what, how long things may grow, what an import brings along."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rnncore"

# From the top down: a module imports from its own floor and from those below, never from one above. The two
# halves of the lowest floor, kernels and reference, know nothing of each other.
FLOORS = [
    {"cli", "__main__"},
    {"sklearn", "interop", "torch", "jax"},
    {"trainer", "diagnostics", "pictures"},
    {"summary", "objective"}
    | {"network", "modes", "inference", "stream", "data", "files", "problems", "reservoir"},
    {"cells"},
    {"layers", "losses", "ctc", "crf", "metrics", "optimizers", "schedules", "clipping", "regularizers"}
    | {"initializers", "params", "checks", "masking", "flat", "blas", "brief", "disk", "late"},
    {"kernels", "reference", "version"},
]  # fmt: skip
FLOOR = {name: height for height, names in enumerate(reversed(FLOORS)) for name in names}

SOURCES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".h"})
PYTHON = [path for path in SOURCES if path.suffix == ".py"]


def subject(path: Path) -> str:
    """The floor's entry that a file belongs to: ``layers`` for rnncore/layers/lstm.py."""
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def inner(name: str) -> str | None:
    """The subject that a full module name belongs to; None if it is not ours, or the package itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "rnncore" and len(parts) > 1 else None


def python_imports(path: Path) -> set[str]:
    """Full names of all that a Python file imports, anywhere in it."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            names |= {".".join([*module, alias.name]) for alias in node.names}
    return names


def cython_imports(path: Path) -> set[str]:
    """Full names of all that a Cython file imports or cimports."""
    package = list(path.relative_to(ROOT).parts[:-1])
    names = set()
    pattern = r"^\s*(?:from\s+(\.*)([\w.]*)\s+c?import\s+\(?\s*(\w+)|c?import\s+([\w.]+))"
    for dots, module, first, whole in re.findall(pattern, path.read_text(), re.MULTILINE):
        base = package[: len(package) + 1 - len(dots)] if dots else []
        names.add(whole or ".".join([*base, *filter(None, module.split(".")), first]))
    return names


def imports(path: Path) -> set[str]:
    return python_imports(path) if path.suffix == ".py" else cython_imports(path)


def violation(of: str, imported: str) -> bool:
    sideways = {of, imported} == {"kernels", "reference"}
    return sideways or FLOOR[imported] > FLOOR[of]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_source_stands_on_a_floor(path):
    assert subject(path) in FLOOR or subject(path) == "__init__"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.suffix != ".h" and subject(path) != "__init__"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_imports_run_downward(path):
    of = subject(path)
    ours = {inner(name) for name in imports(path)} - {None}
    front_door = sorted(ours - set(FLOOR))
    assert not front_door or of in FLOORS[0], f"imports {front_door} through the front door"
    wrong = sorted(name for name in ours & set(FLOOR) if violation(of, name))
    assert not wrong, f"imports {', '.join(wrong)}, which stands no lower than {of}"


def test_the_import_check_can_fail():
    """The check sees relative, absolute and compiled imports for what they are."""
    layer = PACKAGE / "layers" / "lstm.py"
    assert "rnncore.initializers" in python_imports(PACKAGE / "layers" / "recurrent.py")
    assert any(inner(name) == "kernels" for name in python_imports(layer))
    assert any(inner(name) == "kernels" for name in cython_imports(PACKAGE / "kernels" / "updates.pyx"))
    assert violation("layers", "network")
    assert violation("kernels", "reference")
    assert not violation("network", "layers")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_60_lines(path):
    """The docstring is not counted: that one may be as long as it needs to be."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            first = node.body[0].end_lineno + 1 if documented else node.lineno
            assert node.end_lineno - first < 60, f"{node.name} has {node.end_lineno - first + 1} lines"


def test_kernel_headers_know_no_python():
    """C that cannot see Python.h cannot call into it."""
    for path in [*PACKAGE.glob("kernels/*.h"), *PACKAGE.glob("kernels/levels/*.c")]:
        assert not re.search(r'#\s*include\s*[<"](Python|numpy)', path.read_text()), path.name


def test_import_brings_no_heavy_library():
    """Pictures, the command line's libraries and PyTorch load when they are used, or never."""
    heavy = {"matplotlib", "torch", "click", "tqdm", "scipy.stats", "tensorflow", "jax"}
    script = f"import sys, rnncore; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    """Every name that the package promises can be had, is documented, and comes from one place."""
    import rnncore

    for name in rnncore.__all__:
        assert getattr(rnncore, name).__doc__, name
    assert set(rnncore.__all__) <= set(dir(rnncore))
    modules = ["data", "diagnostics", "metrics", "pictures", "problems", "regularizers", "schedules"]
    script = f"import rnncore; [getattr(rnncore, name).__doc__[0] for name in {modules}]"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="nonsense"):
        rnncore.nonsense  # noqa: B018
