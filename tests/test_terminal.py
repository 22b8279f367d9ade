"""Text of strangers on its way out: no control characters on terminals, no formulas in spreadsheets."""

import os
import pty
import subprocess
import sys

import pytest

import rnncore as rc
from rnncore.cli.predict import escaped
from rnncore.cli.terminal import shown
from rnncore.data import Vocabulary

CONTROL = "\x1b\x07\x9b\u202e\x7f"
HOSTILE = f"a]0;owned{CONTROL}"


def printed(path, *words):
    """What a terminal gets from a command on a model."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "rnncore", *words[:1], str(path), *words[1:]]
    done = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower)
    os.close(follower)
    parts = []
    while True:
        try:
            parts.append(os.read(leader, 65536))
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert done.wait() == 0, b"".join(parts)
    return b"".join(parts).decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
@pytest.mark.parametrize("words", [("sample", "--length", "40", "--temperature", "9"), ("info",)])
def test_a_terminal_gets_no_control_characters_of_a_vocabulary(words, tmp_path):
    vocabulary = Vocabulary(sorted(set(HOSTILE)))
    size = len(vocabulary)
    net = rc.Network(rc.Embedding(size, 2), rc.GRU(2, 3), rc.Dense(3, size), seed=1)
    path = tmp_path / f"{HOSTILE}.safetensors"
    rc.save(net, path, vocabulary=vocabulary)
    text = printed(path, *words)
    assert not set(CONTROL) & set(text)
    if words[0] == "sample":
        assert "\\x1b" in text
        assert "\\u202e" in text


def test_lines_and_tabs_stay_and_what_people_write():
    text = "Привет,\t世界\n🙂 = naïve"
    assert shown(text) == text
    assert shown("\r\x00\x85") == "\\r\\x00\\x85"


@pytest.mark.parametrize(
    "cell", ["=1+2", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "--5", "+5+5", "-"]
)
def test_formulas_are_escaped(cell):
    assert escaped(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1.5e+20", "+7", "-inf", "nan", ".5", "-.5", "text", "a=b", "'=1", "", 3])
def test_numbers_and_plain_text_are_not(cell):
    assert escaped(cell) == cell
