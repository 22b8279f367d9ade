"""What the commands print: a terminal gets no control characters from models and data."""

from __future__ import annotations

import re
import sys

import click

# Escape sequences move the cursor, rename the window or type for the user; marks of direction reorder text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """The text as a terminal may have it: control characters, but for line breaks and tabs, as ``\\x1b``."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def echo(text: str = "", nl: bool = True, err: bool = False) -> None:
    """Print the text, to a terminal as ``shown``, to a file or a pipe as it is."""
    stream = sys.stderr if err else sys.stdout
    click.echo(shown(text) if stream.isatty() else text, nl=nl, err=err)
