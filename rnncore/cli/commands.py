"""The command ``rnncore`` and how it ends: 0 when all is well, 2 after one line about what is wrong."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..version import __version__
from .diagnose import diagnose
from .export import export
from .info import info
from .predict import predict
from .sample import sample
from .terminal import echo
from .train import train


def _bytes_or_question(error: UnicodeError) -> tuple[str | bytes, int]:
    """Names of files that are not text come out as the bytes that they are, all else as a question mark."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("replace")(error)


codecs.register_error("rnncore.bytes", _bytes_or_question)

INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended


class CommandLine(click.Group):
    """A group of commands that never shows a traceback to whoever mistyped a name."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any
    ) -> Any:
        """Run a command and exit."""
        extra["standalone_mode"] = False
        for stream in (sys.stdout, sys.stderr):
            # Labels in any script come out whole, whatever the console is set to.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="rnncore.bytes")
        try:
            status = super().main(args, prog_name or "rnncore", **extra)
        except click.ClickException as error:
            status = complain(error.format_message())
        except click.Abort:
            status = INTERRUPTED
        except OSError as error:
            named = error.strerror and error.filename is not None
            status = complain(f"{os.fsdecode(error.filename)}: {error.strerror}" if named else str(error))
        except MemoryError as error:
            status = complain(f"out of memory: {error}")
        except (ValueError, ModuleNotFoundError, FloatingPointError) as error:
            status = complain(str(error))
        sys.exit(status if isinstance(status, int) else 0)


def complain(message: str) -> int:
    """Print what is wrong as one line; returns the exit status."""
    echo(f"rnncore: {' '.join(message.split())}", err=True)
    return 2


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=CommandLine, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name="rnncore")
@click.pass_context
def main(context: click.Context) -> None:
    """Train recurrent networks on text, labels and time series, and put them to work."""
    if context.invoked_subcommand is None:
        echo(context.get_help())


main.add_command(train)
main.add_command(predict)
main.add_command(sample)
main.add_command(info)
main.add_command(export)
main.add_command(diagnose)
