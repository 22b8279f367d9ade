"""Writes the files beside it: ``python make.py 3`` with Keras 3, ``python make.py 2`` with tf_keras.

Made on 2026-11-30 with Keras 3.15.1 and tf_keras 2.21.0 on TensorFlow 2.21.0. Each file has its inputs and
the exporter's outputs in the .npz of its name.
"""

import gzip
import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import numpy as np

if sys.argv[1] == "3":
    import keras
else:
    import tf_keras as keras

L = keras.layers
HERE = Path(__file__).parent
rng = np.random.default_rng(0)


def draw(*shape):
    return (0.5 * rng.standard_normal(shape)).astype(np.float32)


def fill(model):
    model.set_weights([draw(*weight.shape) for weight in model.get_weights()])
    return model


def keep(name, model, x, **names):
    """The outputs of a model for x, beside its file."""
    outputs = model(x)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    found = {f"y{number}": np.asarray(output) for number, output in enumerate(outputs)}
    np.savez(HERE / f"{name}.npz", x=x, **found)


def three():
    # Rows that end before the last step, masked by zeros; a backward layer that is given, and is alike.
    x = L.Input((5, 2), name="x")
    y = L.Masking(0.0)(x)
    back = L.LSTM(2, return_sequences=True, go_backwards=True)
    y = L.Bidirectional(L.LSTM(2, return_sequences=True), backward_layer=back, name="both")(y)
    y = L.GlobalAveragePooling1D(name="mean")(y)
    y = L.Dense(2, name="head")(y)
    model = fill(keras.Model(x, y))
    model.save(HERE / "keras3_masked.keras")
    numbers = draw(3, 5, 2)
    numbers[0, 3:], numbers[2, 1:] = 0, 0
    keep("keras3_masked", model, numbers)

    # Every result of an LSTM that returns its states is read by a layer of its own.
    x = L.Input((None, 2), name="x")
    steps, h, c = L.LSTM(2, return_sequences=True, return_state=True, name="lstm")(x)
    outputs = [L.Dense(1, name="of_steps")(steps), L.Dense(1, name="of_h")(h), L.Dense(1, name="of_c")(c)]
    model = fill(keras.Model(x, outputs))
    model.save(HERE / "keras3_states.keras")
    keep("keras3_states", model, draw(3, 5, 2))


def two():
    # CuDNN's layout of arrays; what it computes comes from the plain layers that read the same file.
    cudnn = keras.Sequential([
        keras.Input((None, 3)),
        L.LSTM(2, return_sequences=True, name="lstm"),
        L.GRU(2, return_sequences=True, reset_after=True, name="gru"),
    ])  # fmt: skip
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM
    from tf_keras.src.saving.legacy.hdf5_format import save_weights_to_hdf5_group

    layers = [CuDNNLSTM(2, name="lstm"), CuDNNGRU(2, name="gru")]
    for layer, inputs in zip(layers, (3, 2), strict=True):  # built, not called, which takes a GPU
        layer.build((None, None, inputs))
        layer.set_weights([draw(*weight.shape) for weight in layer.get_weights()])
    model = SimpleNamespace(layers=layers, _trainable_weights=[], _non_trainable_weights=[])
    with h5py.File(HERE / "keras2_cudnn.h5", "w") as file:
        save_weights_to_hdf5_group(file, model)
    cudnn.load_weights(HERE / "keras2_cudnn.h5")
    keep("keras2_cudnn", cudnn, draw(3, 5, 3))

    # Architecture and weights in two files; zeros as ids are masked, and only the ends of rows have them.
    model = fill(keras.Sequential([
        keras.Input((None,)),
        L.Embedding(5, 2, mask_zero=True, name="words"),
        L.GRU(3, reset_after=False, return_sequences=True, dropout=0.2, name="first"),
        L.SpatialDropout1D(0.1),
        L.SimpleRNN(2, name="second"),
        L.Dense(2, activation="softmax", name="head"),
    ]))  # fmt: skip
    model.save_weights(HERE / "keras2_weights.h5")
    (HERE / "keras2_weights.json").write_text(model.to_json())
    keep("keras2_weights", model, np.array([[1, 2, 3, 4], [4, 1, 0, 0]]))


three() if sys.argv[1] == "3" else two()
for path in [*HERE.glob("*.keras"), *HERE.glob("*.h5")]:  # HDF5 leaves most of a small file empty
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
