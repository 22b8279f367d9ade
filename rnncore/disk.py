"""Files on the disk: written so that no crash, signal or full disk loses what was there.

Bytes go to a temporary file in the target's folder (a rename is atomic only within one file system), are
forced to the disk, and take the target's place in one step. The temporary file is locked while it is written:
one without a lock was left by a process that died, and the next that writes or reads the target removes it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import UnsupportedOperation
from typing import BinaryIO

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where a file that is open cannot be removed: no lock is needed
    fcntl = None  # type: ignore[assignment]

Path = str | os.PathLike[str]

NEW = 0o666  # mode of a file that was not there before, less the umask


def write_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: at every moment, even of a power cut, the old or the new file is there.

    A file that was there before passes on its permissions. A symbolic link is followed. If the folder itself
    cannot be forced to the disk the file is written all the same, and a RuntimeWarning says so.

    Raises
    ------
    OSError
        If ``path`` cannot be written, or is something other than a regular file; it names ``path``.
    """
    target, mode = _target(path)
    remove_abandoned(target)
    temporary = ""
    try:
        for _ in range(10):  # another process may take a new file for abandoned, before it is locked
            temporary = _temporary(target)
            # The opener runs no Python code, so that no signal can separate the descriptor from its owner.
            with open(temporary, "xb", opener=partial(os.open, mode=NEW if mode is None else mode)) as file:
                if not _lock(file.fileno(), temporary):
                    continue
                if mode is not None:
                    with suppress(OSError):  # refused: the mode is then the old one less the umask
                        os.chmod(file.fileno() if os.chmod in os.supports_fd else temporary, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:
                    os.replace(temporary, target)  # still locked
            if fcntl is None:
                os.replace(temporary, target)
            break
        else:
            raise OSError(errno.EAGAIN, "other processes remove its temporary files")
    except BaseException as error:
        with suppress(OSError):  # it is gone where the exception came just after the replacement
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _named(error, path) from error
        raise
    _sync_folder(path, os.path.dirname(target))


def check_writable(path: Path) -> None:
    """Write a temporary file beside ``path`` and remove it; OSError, naming ``path``, if that fails."""
    target, mode = _target(path)
    temporary = _temporary(target)
    try:
        with open(temporary, "xb", opener=partial(os.open, mode=NEW if mode is None else mode)):
            pass
    except OSError as error:
        raise _named(error, path) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of ``path`` whose writers died; what cannot be removed stays."""
    folder, name = os.path.split(os.path.realpath(path))
    pattern = re.compile(re.escape(_prefix(name)) + r"[0-9a-f]{12}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_unlocked(entry.path)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A file for reading; a pipe without a writer is open at once, where ``open`` would wait for ever.

    Within the block an OSError without a name, such as that of a broken disk, gets this path.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    files: list[BinaryIO] = []
    with named_errors(path):
        try:
            # All of it in C, where no signal can separate the descriptor from its owner.
            files.extend(map(open, map(os.open, [path], [flags]), ["rb"]))  # type: ignore[arg-type]
            yield files[0]
        finally:
            for file in files:
                file.close()


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Whatever the system says of a file in this block, it says with the file's name."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None or type(error) is UnsupportedOperation:
            raise
        raise _named(error, path) from error


def _target(path: Path) -> tuple[str, int | None]:
    """The file to write, links followed, and the mode of the one that is there, None for none."""
    target = os.path.realpath(path)
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return target, None
    except OSError as error:  # such as a name that is too long
        raise _named(error, path) from error
    if stat.S_ISLNK(status.st_mode):  # realpath leaves only those that lead in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"cannot write {os.fspath(path)}: there is something there that is not a regular file")
    return target, stat.S_IMODE(status.st_mode)


def _prefix(name: str) -> str:
    """What the names of temporary files for a file of this name begin with; names have at most 255 bytes."""
    return f".{name.encode(errors='ignore')[:100].decode(errors='ignore')}-"


def _temporary(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f"{_prefix(name)}{secrets.token_hex(6)}.tmp")


def _lock(descriptor: int, name: str) -> bool:
    """Lock an open file; False if it has lost its name to another process, which took it for abandoned."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, where nobody can take it for abandoned either
        return True
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    return False


def _remove_unlocked(name: str) -> None:
    if fcntl is None:
        os.unlink(name)
        return
    with open(name, "rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError where somebody writes it
        os.unlink(name)


def _sync_folder(path: Path, folder: str) -> None:
    """Force a folder's entries to the disk: the new name is durable from then on."""
    if os.name != "posix":
        return
    handles: list[int] = []
    try:
        try:
            handles.extend(map(os.open, [folder], [os.O_RDONLY]))  # one call: no signal can lose the handle
            os.fsync(handles[0])
        finally:
            for handle in handles:
                os.close(handle)
    except OSError as error:
        warnings.warn(
            f"{os.fspath(path)} is written, but a power cut may undo it: its folder cannot be forced to the "
            f"disk ({error.strerror or error})",
            RuntimeWarning,
            stacklevel=3,
        )


def _named(error: OSError, path: Path) -> OSError:
    """The error with the path that the user knows, in place of the temporary name."""
    if error.errno is None:
        return OSError(f"cannot write {os.fspath(path)}: {error}")
    return OSError(error.errno, error.strerror or os.strerror(error.errno), os.fspath(path))
