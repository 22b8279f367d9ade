"""The type stubs of the compiled modules say what is there: every function, every argument, in order."""

import ast
import re
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[1] / "rnncore" / "kernels"
MODULES = sorted(KERNELS.glob("*.pyx"))


def signatures(path):
    """Names of the arguments of each public function of a .pyx file."""
    found = {}
    for name, text in re.findall(r"^def ([a-z]\w*)\((.*?)\):$", path.read_text(), re.MULTILINE | re.DOTALL):
        bare = re.sub(r"\[[^]]*\]", "", text)
        arguments = [part.split("=")[0].split() for part in bare.split(",") if part.strip()]
        found[name] = [words[-1] for words in arguments]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_stub_and_module_agree(path):
    tree = ast.parse(path.with_suffix(".pyi").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {node.name: [a.arg for a in node.args.args] for node in functions} == signatures(path)


def test_signatures_are_found():
    assert signatures(KERNELS / "embedding.pyx")["embedding_forward"] == ["ids", "weight", "y"]
