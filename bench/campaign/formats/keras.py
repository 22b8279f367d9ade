"""Keras files, .keras and .h5: ``rnncore.interop.keras.load`` and ``load_weights``."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from campaign import hostile, nets
from campaign.formats.reading import read
from campaign.subjects import Subject
from rnncore import GRU, Dense, Embedding, LastStep, Network
from rnncore.interop import keras

LONGEST = 60_000  # characters of an attribute: HDF5 takes 64 KiB
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
FOLDERS = {"SimpleRNN": "simple_rnn", "GRU": "gru", "LSTM": "lstm"}
INPUTS, UNITS = 3, 4
WORDS = (b"HDF\r\n\x1a\n", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"PK\1\2", b"\xff" * 8)


def model(rng: Generator) -> tuple[dict[str, Any], list[tuple[str, list[np.ndarray]]]]:
    """A configuration, and each layer's name and arrays."""
    layers: list[dict[str, Any]] = []
    arrays: list[tuple[str, list[np.ndarray]]] = []

    def add(kind: str, name: str, values: list[np.ndarray], **config: Any) -> None:
        layers.append({"class_name": kind, "config": {"name": name, **config}})
        arrays.append((name, [value.astype("f4") for value in values]))

    draw = rng.standard_normal
    if rng.random() < 0.5:
        add("Embedding", "embedding", [draw((6, INPUTS))], input_dim=6, output_dim=INPUTS)
    kind = nets.one(rng, tuple(GATES))
    wide = GATES[kind] * UNITS
    cell = [draw((INPUTS, wide)), draw((UNITS, wide)), draw((2, wide) if kind == "GRU" else wide)]
    options = {"units": UNITS, "activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    options |= {"return_sequences": bool(rng.integers(2)), "go_backwards": False, "use_bias": True}
    if rng.random() < 0.3:
        inner = {"class_name": kind, "config": {"name": "inner", **options}}
        add("Bidirectional", "bidirectional", cell * 2, merge_mode="concat", layer=inner)
        out = 2 * UNITS
    else:
        add(kind, FOLDERS[kind], cell, **options)
        out = UNITS
    if rng.random() < 0.5:
        layers.append({"class_name": "Dropout", "config": {"name": "dropout", "rate": 0.2}})
    add("Dense", "dense", [draw((out, 2)), draw(2)], units=2, activation="softmax")
    return {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}, arrays


def text_attribute(rng: Generator, item: Any, name: str, text: Any) -> None:
    """A text attribute as some version of Keras writes it: of fixed or of variable length, or as neither."""
    kind = rng.random()
    if isinstance(text, str):
        text = text[:LONGEST]
    if kind < 0.4:
        item.attrs[name] = text
    elif kind < 0.9:
        item.attrs[name] = np.array(
            text.encode() if isinstance(text, str) else [part.encode() for part in text]
        )
    else:
        item.attrs[name] = hostile.choose(rng, (3, 2.5, np.zeros(3), np.zeros((0,)), "", "x" * 5000, [1, 2]))


def store(rng: Generator, group: Any, name: str, array: np.ndarray) -> None:
    """A dataset, rarely one of another type, shape or layout."""
    if rng.random() < 0.1:
        array = hostile.numbers(rng, array)
    kind = int(rng.integers(60))
    if kind == 0:
        array = array.reshape(hostile.choose(rng, (array.shape[::-1], (array.size,), (1, array.size, 1))))
    elif kind == 1:
        array = array.astype(hostile.choose(rng, ("f8", ">f4", "i4", "u1", "f2", "S3")))
    elif kind == 2:
        group.create_dataset(name, data=array, chunks=True, compression="gzip")
        return
    elif kind == 3:
        group.create_dataset(name, shape=(10**6, 10**6), dtype="f4", chunks=(8, 8))
        return
    elif kind == 4:
        group[name] = hostile.choose(rng, (np.zeros(0, "f4"), 3.5, "text"))
        return
    group[name] = array


def whole(rng: Generator, config: Any, arrays: list[tuple[str, list[np.ndarray]]]) -> bytes:
    """A whole-model .h5 file."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", libver=hostile.choose(rng, ("earliest", "earliest", "latest"))) as made:
        text_attribute(rng, made, "model_config", dump(config))
        for name, values in arrays:
            group = made.create_group(f"model_weights/{name}")
            text_attribute(rng, group, "weight_names", [f"{name}/{n}:0" for n in range(len(values))])
            for n, value in enumerate(values):
                store(rng, group, f"{name}/{n}:0", value)
        if rng.random() < 0.05:
            made["model_weights/again"] = hostile.choose(
                rng, (h5py.SoftLink("/"), h5py.ExternalLink("/etc/passwd", "/"), made["/"])
            )
    return file.getvalue()


def weights(rng: Generator, arrays: list[tuple[str, list[np.ndarray]]]) -> bytes:
    """A .weights.h5 file."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        for name, values in arrays:
            places = ["cell"] if name in FOLDERS.values() else [""]
            if name == "bidirectional":
                places = ["forward_layer/cell", "backward_layer/cell"]
            each = len(values) // len(places)
            for n, place in enumerate(places):
                group = made.require_group(f"layers/{name}/{place}/vars")
                for m, value in enumerate(values[n * each : (n + 1) * each]):
                    store(rng, group, str(m), value)
    return file.getvalue()


def dump(config: Any) -> str:
    try:
        return json.dumps(config).encode(errors="surrogatepass").decode(errors="replace").replace("\0", "")
    except ValueError:  # a number of too many digits
        return "{}"


def make(rng: Generator) -> bytes:
    config, arrays = model(rng)
    if rng.random() < 0.6:
        config = hostile.mutate_tree(rng, config)
    if rng.random() < 0.1:
        arrays = arrays[::-1] if rng.random() < 0.5 else arrays[:-1]
    kind = rng.random()
    if kind < 0.4:
        data = whole(rng, config, arrays)
    else:
        data = weights(rng, arrays)
        if rng.random() < 0.4:
            data = hostile.mutate_bytes(rng, data, WORDS)
        if kind < 0.8:
            data = zipped(rng, config, data)
    return hostile.mutate_bytes(rng, data, WORDS) if rng.random() < 0.4 else data


def zipped(rng: Generator, config: Any, inner: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", hostile.compression(rng)) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", dump(config) if rng.random() < 0.9 else bytes(10**7))
        archive.writestr("model.weights.h5", inner)
    return file.getvalue()


def run(rng: Generator, path: Path) -> None:
    if rng.random() < 0.8:
        nets.exercise(read(lambda: keras.load(path), path))
    else:
        net = Network(Embedding(6, INPUTS), GRU(INPUTS, UNITS), LastStep(), Dense(UNITS, 2))
        nets.exercise(read(lambda: keras.load_weights(path, net), path))


SUBJECT = Subject("keras", ".keras and .h5 files", run, make, suffix=".keras", needs=("h5py",))
