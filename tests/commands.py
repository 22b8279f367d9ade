"""What the tests of the command line share: a command, and what it says."""

from click.testing import CliRunner

from rnncore.cli import main


def run(*words, status=0):
    """What a command prints; it must end with this status, and never with a traceback."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def complaint(*words):
    """The one line of standard error that a bad command gets."""
    result = run(*words, status=2)
    assert result.stderr.startswith("rnncore: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr
