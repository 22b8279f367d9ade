"""What the documents print runs: Python blocks, doctests, commands, links."""

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


def blocks(path: Path, *languages: str) -> list[tuple[int, str]]:
    """Line number and text of each fenced block of these languages."""
    text = path.read_text()
    fence = rf"^```(?:{'|'.join(languages)})\n(.*?)^```$"
    found = re.finditer(fence, text, re.DOTALL | re.MULTILINE)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


def modules() -> list[str]:
    """Every module of the package that can be imported here."""
    found = ["rnncore"]
    for module in pkgutil.walk_packages(rnncore.__path__, "rnncore."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            if error.name.startswith("rnncore"):
                raise
        else:
            found.append(module.name)
    return found


def identifier(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "python")], ids=identifier)
def test_python_blocks_run_as_printed(path, tmp_path, monkeypatch):
    """From top to bottom, in one namespace and an empty folder, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for line, source in blocks(path, "python"):
        # Blank lines in front make a traceback point into the document.
        exec(compile("\n" * line + source, str(path), "exec"), namespace)


def test_the_first_example_is_short_and_complete():
    _, source = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 10


def test_doctests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempted = 0
    for name in modules():
        module = importlib.import_module(name)
        failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
        assert not failed, f"{failed} examples of {name} fail"
        attempted += tried
    assert attempted


@pytest.mark.parametrize("path", DOCUMENTS, ids=identifier)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_what_pages_link_to_goes_into_the_site():
    """``make docs`` copies it: the site has docs/ alone."""
    copied = re.search(r"^LINKED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    pages = "".join(path.read_text() for path in ROOT.glob("docs/*.md"))
    assert {*copied} == {*re.findall(r"\]\(\.\./([^)#\s]+)", pages)}


def commands(path: Path) -> list[list[str]]:
    """Words of each line in the shell blocks of a document."""
    lines = "\n".join(text for _, text in blocks(path, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "sh")], ids=identifier)
def test_printed_commands_exist(path):
    """``make`` has the target, the file of ``python FILE`` is there, ``rnncore`` takes the options."""
    makefile = (ROOT / "Makefile").read_text()
    for words in commands(path):
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if words[0] == "make":
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:]), words
        elif words[0] == "python" and words[1] != "-m":
            assert (ROOT / words[1]).exists(), words
        elif words[0] == "rnncore":
            parse_command(words[1:])


def parse_command(words: list[str]) -> None:
    """Raise click.UsageError if the command line has no such command or option; nothing is run."""
    click = pytest.importorskip("click")
    command = importlib.import_module("rnncore.cli").main
    context = click.Context(command, info_name="rnncore", **command.context_settings)  # commands keep its -h
    while isinstance(command, click.Group):
        _, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context)
    command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("words", [["train", "--nonsense"], ["train", "--hidden"], ["tarin"]])
def test_a_command_that_does_not_exist_is_seen(words):
    with pytest.raises(pytest.importorskip("click").UsageError):
        parse_command(words)
