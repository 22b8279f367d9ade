"""Arrays out of .npz files that a stranger wrote."""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import one_line
from ..disk import reading

Path = str | os.PathLike[str]

FREE = 1 << 25  # bytes of arrays that any file may ask for


def read_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that an .npz file has: numbers, dates or texts, no Python objects.

    Arrays may take 32 MiB and ten times the bytes of the file, which a compressed one can exceed.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is damaged, or is not such a file.
    """
    name = os.fspath(path)
    with reading(name) as file:
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a regular file")
            with zipfile.ZipFile(file) as archive:
                return _read_members(archive, names, FREE + 10 * status.st_size)
        except (ValueError, OSError, zlib.error, zipfile.BadZipFile, EOFError) as error:
            for cause in (error, error.__context__):  # zipfile takes a broken disk for no .zip file
                if isinstance(cause, OSError) and cause.errno not in (None, errno.EINVAL):
                    raise cause from None  # EINVAL comes from a place in front of the file
            raise ValueError(f"{name} cannot be read as .npz: {one_line(error)}") from error
        except (LookupError, NotImplementedError, RuntimeError, TypeError, SyntaxError) as error:
            raise ValueError(f"{name} cannot be read as .npz: it is damaged: {one_line(error)}") from error


def _read_members(archive: zipfile.ZipFile, names: Sequence[str], most: int) -> dict[str, NDArray[Any]]:
    members = {info.filename: info for info in archive.infolist()}
    found = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
    total = sum(info.file_size for info in found.values())
    for info in found.values():
        check_compression(info)
    if total > most:
        raise ValueError(
            f"its arrays claim {total} bytes, but a file of its size may hold {most}: np.savez, without "
            "compression, writes one that is read"
        )
    return {name: _read_npy(archive.read(info), name) for name, info in found.items()}


def check_compression(info: zipfile.ZipInfo) -> None:
    """Raise ValueError for a member that NumPy and Keras would not have written.

    What undoes bzip2 and LZMA may take gigabytes, for a size that the stream itself says.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"its {info.filename[:80]!r} is compressed by method {info.compress_type}, but only what is "
            "stored or deflated is read"
        )


def _read_npy(data: bytes, name: str) -> NDArray[Any]:
    """An array out of the bytes of an .npy file, whose header is compared with them."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has version {version} of the .npy format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(file)
    except Exception as error:  # whatever Python's own parser makes of a stranger's text
        raise ValueError(f"{name} has no header of the .npy format: {one_line(error)}") from error
    if dtype.hasobject or not dtype.itemsize or any(size < 0 for size in shape) or len(shape) > 32:
        raise ValueError(f"{name} is {dtype} {shape}, which holds no numbers")
    count = 1
    for size in shape:
        count *= size
    start = file.tell()
    if count * dtype.itemsize != len(data) - start:
        raise ValueError(f"{name} claims shape {shape} of {dtype}, but {len(data) - start} bytes follow")
    array = np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if by_columns else "C")
    return np.array(array, order="C")
