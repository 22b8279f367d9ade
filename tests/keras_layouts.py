"""Keras files laid out by hand, as Keras 3 and Keras 2 lay them out, without Keras."""

import io
import json
import zipfile

import h5py
import numpy as np


def draw(rng, *shape):
    return (0.5 * rng.standard_normal(shape)).astype(np.float32)


def recurrent(rng, kind, inputs, units, bias="own"):
    """Kernel, recurrent kernel and bias of one cell, in Keras's shapes."""
    rows = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}[kind] * units
    arrays = [draw(rng, inputs, rows), draw(rng, units, rows)]
    return arrays + (
        [] if bias is None else [draw(rng, 2, rows) if kind == "GRU" and bias == "both" else draw(rng, rows)]
    )


def layer(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config}


def cell(kind, units, name, **more):
    gates = {} if kind == "SimpleRNN" else {"recurrent_activation": "sigmoid"}
    return layer(kind, name=name, units=units, activation="tanh", return_sequences=True, go_backwards=False,
                 **gates, **more)  # fmt: skip


FOLDERS = {
    "Embedding": "embedding", "Bidirectional": "bidirectional", "GRU": "gru", "LSTM": "lstm",
    "TimeDistributed": "time_distributed", "SimpleRNN": "simple_rnn", "Dense": "dense",
}  # fmt: skip


def write_weights(target, layers):
    """``layers/<class>_<n>/[cell/]vars/<k>``, as ``save_weights`` lays it out."""
    count = {}
    with h5py.File(target, "w") as file:
        for described, arrays in layers:
            kind = described["class_name"]
            if arrays is None:
                continue
            count[kind] = count.get(kind, -1) + 1
            folder = f"layers/{FOLDERS[kind]}" + (f"_{count[kind]}" if count[kind] else "")
            halves = {"": arrays} if kind != "Bidirectional" else {
                "forward_layer/": arrays[: len(arrays) // 2], "backward_layer/": arrays[len(arrays) // 2 :]
            }  # fmt: skip
            for half, part in halves.items():
                inner = {"Dense": "", "Embedding": "", "TimeDistributed": "layer/"}.get(kind, "cell/")
                for number, array in enumerate(part):
                    file[f"{folder}/{half}{inner}vars/{number}"] = array
    return target


def write_keras(path, layers, kind="Sequential", version="3.0.0", **config):
    weights = write_weights(io.BytesIO(), layers)
    text = json.dumps({"class_name": kind, "config": {"layers": [own for own, _ in layers], **config}})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def write_h5(path, layers, version="2.2.4"):
    """``model_weights/<name>`` with the attribute ``weight_names``, as whole-model .h5 files are."""
    with h5py.File(path, "w") as file:
        chain = {"class_name": "Sequential", "config": {"layers": [own for own, _ in layers]}}
        file.attrs["model_config"] = json.dumps(chain)
        file.attrs["keras_version"] = version
        for own, arrays in layers:
            name = own["config"]["name"]
            group = file.create_group(f"model_weights/{name}")
            names = [f"sequential/{name}/array{number}" for number in range(len(arrays or []))]
            group.attrs["weight_names"] = names
            for inner, array in zip(names, arrays or [], strict=True):
                group[inner] = array
    return path
