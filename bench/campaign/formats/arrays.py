"""Arrays in .npz files: ``rnncore.data.arrays.read_npz``, which reads what ``rnncore diagnose`` is given."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign import hostile, nets
from campaign.formats.reading import read
from campaign.subjects import Subject
from rnncore import GRU, Dense, Network
from rnncore.cli.looks import read_arrays

DESCRIPTIONS = (
    *("<f4", "<f8", ">f4", "|b1", "|u1", "<i8", "<U3", "|S5", "<M8[ns]", "<m8", "<c16", "|O", "|V0", "|V8"),
    *("<f99", "<U99999999", "", "f", "x", [("a", "<f4")], [("a", "|O")], [("a", "<f4", (2**31,))], None, 3),
)


def npy(rng: Generator, array: np.ndarray) -> bytes:
    """An .npy file whose header says something else than it should."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    sound = file.getvalue()
    if rng.random() < 0.3:
        return hostile.mutate_bytes(rng, sound)
    header: dict[Any, Any] = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    if rng.random() < 0.4:
        header["descr"] = hostile.choose(rng, DESCRIPTIONS)
    if rng.random() < 0.4:
        shape = list(array.shape) or [1]
        shape[int(rng.integers(len(shape)))] = (
            hostile.value(rng) if rng.random() < 0.3 else hostile.integer(rng)
        )
        header["shape"] = tuple(shape) * int(hostile.choose(rng, (1, 1, 1, 2, 40)))
    if rng.random() < 0.2:
        header["fortran_order"] = hostile.choose(rng, (True, 1, "x", None))
    if rng.random() < 0.1:
        header[hostile.choose(rng, ("x", 0, "shape "))] = 0
    text = repr(header)[: 10**6].encode(errors="surrogatepass") + b"\n"
    version = hostile.choose(rng, (1, 1, 1, 2, 3, 9))
    length = len(text) if rng.random() < 0.9 else int(rng.integers(2**16))
    head = b"\x93NUMPY" + bytes([version, 0]) + (length % 2**16).to_bytes(2 if version == 1 else 4, "little")
    return head + text + array.tobytes()


def make(rng: Generator) -> bytes:
    arrays = {"x": rng.standard_normal((5, 3, 2)).astype("f4"), "target": rng.integers(0, 2, (5, 3))}
    if rng.random() < 0.5:
        arrays["lengths"] = rng.integers(0, 7, 3)
    if rng.random() < 0.1:
        arrays["x"] = np.zeros((int(rng.integers(1, 3000)), 30, 30))  # which compresses well
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", hostile.compression(rng)) as archive:
        for name, array in arrays.items():
            array = hostile.numbers(rng, array) if rng.random() < 0.3 else array
            member = npy(rng, array) if rng.random() < 0.5 else npy_of(array)
            archive.writestr(f"{name}.npy", member)
    data = file.getvalue()
    return hostile.mutate_bytes(rng, data, (b"PK\1\2", b"PK\3\4", b"PK\5\6")) if rng.random() < 0.5 else data


def npy_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def run(rng: Generator, path: Path) -> None:
    net = Network(GRU(2, 3), Dense(3, 2))
    batch = read(lambda: read_arrays(net, str(path), nets.one(rng, (1, 2, 8))), path)
    net.forward(batch.x, lengths=batch.lengths)


SUBJECT = Subject("arrays", ".npz files, read as data", run, make, suffix=".npz")
