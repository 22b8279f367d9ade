"""What a Keras file holds: its configuration, the version that wrote it, and arrays by layer.

Nothing here trusts the file: sizes are compared with the bytes that there are, and links are not followed.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ...data.arrays import check_compression
from ...disk import reading
from ...files import check_json
from ..hdf5 import File

Array = NDArray[Any]

MAX_FILE = 2**31
MAX_CONFIG = 1 << 24


@dataclass(frozen=True)
class Source:
    """An opened file.

    Attributes
    ----------
    config
        The configuration as it was read from JSON, None where the file holds weights only.
    version
        Major number of the Keras that wrote it, None where the file does not say.
    file, root
        The arrays, and the group that the layers are in.
    named
        Whether that group has one group a layer, under its name (.h5 of Keras 1 and 2, and of Keras 3 on
        request); otherwise ``layers/<class>_<n>``, as .keras and .weights.h5 have it.
    """

    config: Any
    version: int | None
    file: File
    root: int
    named: bool


def read(path: str) -> Source:
    """Open a .keras, .h5 or .weights.h5 file."""
    data = read_bytes(path)
    config, version = None, None
    if data[:2] == b"PK":
        config, version, data = _unzip(data)
    file = File(data)
    root, named = file.root, False
    if config is None:
        texts = file.texts(root, "model_config")
        config = _json(texts[0]) if texts else None
        version = _major((file.texts(root, "keras_version") or [b""])[0])
        members = file.members(root)
        if "model_weights" in members:
            root, named = follow(file, root, "model_weights"), True
        else:
            named = config is not None or _texts(file, root, "layer_names") is not None
    return Source(config, version, file, root, named)


def read_config(path: str) -> Any:
    """What ``model.to_json()`` wrote."""
    data = read_bytes(path)
    if len(data) > MAX_CONFIG:
        raise ValueError(f"it has {len(data)} bytes, and {MAX_CONFIG} are the limit of a configuration")
    return _json(data)


def read_bytes(path: str) -> bytes:
    """A regular file of at most `MAX_FILE` bytes."""
    with reading(path) as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            raise ValueError(f"it is no regular file of at most {MAX_FILE} bytes")
        return source.read()


def _unzip(data: bytes) -> tuple[Any, int | None, bytes]:
    """config.json, the version of metadata.json, and model.weights.h5 of a .keras file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = []
            limits = {"config.json": MAX_CONFIG, "model.weights.h5": MAX_FILE}
            if "metadata.json" in archive.namelist():
                limits["metadata.json"] = MAX_CONFIG
            for member, limit in limits.items():
                info = archive.getinfo(member)
                check_compression(info)
                if info.file_size > min(limit, 16 * info.compress_size + (1 << 20)):
                    raise ValueError(
                        f"its {member} claims {info.file_size} bytes, out of {info.compress_size}"
                    )
                parts.append(archive.read(info))
    except (
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
    ) as error:
        raise ValueError(f"it is no .keras file: {' '.join(str(error).split())[:200]}") from error
    facts = _json(parts[2]) if len(parts) > 2 else {}
    version = str(facts.get("keras_version", "")) if isinstance(facts, dict) else ""
    return _json(parts[0]), _major(version.encode()) or 3, parts[1]


def _major(version: bytes) -> int | None:
    found = re.match(rb"\d{1,3}", version)
    return int(found[0]) if found else None


def _json(text: bytes) -> Any:
    check_json(text, "its configuration")
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"its configuration is no JSON: {str(error)[:200]}") from error


def follow(file: File, item: int, path: str) -> int:
    """What is at a path inside the file; links out of it, or round about, are not followed."""
    for name in filter(None, path.split("/")):
        members = file.members(item)
        if name not in members:
            raise ValueError(f"it has no {path[:200]!r}")
        found = members[name]
        if found is None:
            raise ValueError(f"its {path[:200]!r} is a link, and only the file itself is read")
        item = found
    return item


def layer_names(source: Source) -> list[str]:
    """The layers of a file with one group a layer, in their order."""
    return _texts(source.file, source.root, "layer_names") or []


def named_arrays(source: Source, name: str) -> dict[str, Array]:
    """The arrays of a layer by their last names (``kernel``, ``bias``, ...), in the order that Keras lists.

    The two halves of a Bidirectional layer have the same names; those of the second are numbered.
    """
    file = source.file
    group = follow(file, source.root, name)
    found: dict[str, Array] = {}
    for path in _texts(file, group, "weight_names") or []:
        own = path.rsplit("/", 1)[-1].split(":")[0]
        while own in found:
            own += "'"
        found[own] = file.array(follow(file, group, path), path)
    return found


def numbered_arrays(source: Source, folder: str, places: list[str]) -> dict[str, Array]:
    """The arrays of ``layers/<folder>``: vars/0, vars/1, ... of the layer or of its parts."""
    file = source.file
    found: dict[str, Array] = {}
    for place in places:
        group = follow(file, source.root, f"layers/{folder}/{place}/vars")
        for number in range(len(file.members(group))):
            array = file.array(follow(file, group, str(number)), folder)
            found[f"{place}{number}"] = array
    return found


def _texts(file: File, item: int, name: str) -> list[str] | None:
    """A list of texts; Keras splits a long one into ``name0``, ``name1``, ..."""
    whole = file.texts(item, name)
    if whole is None:
        for number in itertools.count():
            part = file.texts(item, f"{name}{number}")
            if part is None:
                break
            whole = (whole or []) + part
    return None if whole is None else [text.decode() for text in whole]
