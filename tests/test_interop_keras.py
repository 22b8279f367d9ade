"""Keras files, laid out by hand as Keras 3 lays them out; compared with Keras where it is installed."""

import importlib.util
import os
import zipfile

import numpy as np
import pytest
from laws import assert_close

from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, Embedding, LastStep, Network

h5py = pytest.importorskip("h5py")

from keras_layouts import cell, draw, layer, recurrent, write_h5, write_keras, write_weights  # noqa: E402

from rnncore.interop.keras import load, load_weights  # noqa: E402

I, H, V = 3, 4, 7
T, B = 5, 2


def model(rng):
    """Configurations and arrays of a whole model; user names that mislead whoever goes by them."""
    both = [*recurrent(rng, "LSTM", I, H), *recurrent(rng, "LSTM", I, H)]
    wrapped = layer("Bidirectional", name="gru", merge_mode="concat", layer=cell("LSTM", H, "forward"))
    return [
        (layer("InputLayer", name="input", batch_shape=[None, None]), None),
        (layer("Embedding", name="dense", input_dim=V, output_dim=I), [draw(rng, V, I)]),
        (wrapped, both),
        (cell("GRU", H, "first", reset_after=True), recurrent(rng, "GRU", 2 * H, H, "both")),
        (layer("Dropout", name="drop", rate=0.25), None),
        (cell("GRU", H, "second", reset_after=True), recurrent(rng, "GRU", H, H, None)),
        ({**cell("SimpleRNN", H, "third")}, recurrent(rng, "SimpleRNN", H, H)),
        (layer("Dense", name="embedding", units=2, activation="softmax"), [draw(rng, H, 2), draw(rng, 2)]),
    ]


def test_all_three_layouts_hold_the_same_network(rng, tmp_path):
    layers = model(rng)
    net = load(write_keras(tmp_path / "model.keras", layers))
    kinds = [type(part).__name__ for part in net.layers]
    assert kinds == ["Embedding", "Bidirectional", "GRU", "Dropout", "GRU", "Elman", "Dense"]
    whole = load(write_h5(tmp_path / "model.h5", layers))
    assert whole.config() == net.config()
    assert whole.params.flat.tobytes() == net.params.flat.tobytes()
    write_weights(tmp_path / "model.weights.h5", layers)
    for name in ("model.weights.h5", "model.keras", "model.h5"):
        again = load(tmp_path / "model.keras")
        again.params.flat[:] = 0
        load_weights(tmp_path / name, again)
        assert again.params.flat.tobytes() == net.params.flat.tobytes()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_lstm(x, h, c, kernel, recurrent_kernel, bias):
    """Keras's LSTM, gates i f c o, as its documentation has it: (B, I) on the left."""
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def keras_gru(x, h, kernel, recurrent_kernel, bias, reset_after):
    """Keras's GRU, gates z r h, in both conventions."""
    xz, xr, xh = np.split(x @ kernel + (bias[0] if reset_after else bias), 3, axis=-1)
    if reset_after:
        hz, hr, hh = np.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        return z * h + (1 - z) * np.tanh(xh + r * hh)
    of_z, of_r, of_h = np.split(recurrent_kernel, 3, axis=-1)
    z, r = sigmoid(xz + h @ of_z), sigmoid(xr + h @ of_r)
    return z * h + (1 - z) * np.tanh(xh + (r * h) @ of_h)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU after", "GRU before"])
def test_gates_and_biases_are_those_of_keras(kind, rng, tmp_path):
    """Against Keras's equations, written out here."""
    name, _, way = kind.partition(" ")
    after = way == "after"
    convention = {"reset_after": after} if name == "GRU" else {}
    arrays = recurrent(rng, name, I, H, "both" if after else "own")
    net = load(write_keras(tmp_path / "m.keras", [(cell(name, H, "a", **convention), arrays)]))
    x, h, c = draw(rng, T, B, I), np.zeros((B, H)), np.zeros((B, H))
    y, _, _ = net.forward(x)
    for t in range(T):
        if name == "SimpleRNN":
            h = np.tanh(x[t] @ arrays[0] + h @ arrays[1] + arrays[2])
        elif name == "LSTM":
            h, c = keras_lstm(x[t], h, c, *arrays)
        else:
            h = keras_gru(x[t], h, *arrays, after)
        assert_close(y[t], h, 1e-5, f"step {t}")


def test_the_final_state_alone_is_the_last_step(rng, tmp_path):
    own = cell("LSTM", H, "a")
    own["config"]["return_sequences"] = False
    net = load(write_keras(tmp_path / "m.keras", [(own, recurrent(rng, "LSTM", I, H))]))
    assert [type(part) for part in net.layers] == [LSTM, LastStep]


def test_the_final_states_of_both_directions_are_both_ends(rng, tmp_path):
    own = cell("LSTM", H, "forward")
    own["config"]["return_sequences"] = False
    both = layer("Bidirectional", name="both", merge_mode="concat", layer=own)
    arrays = [*recurrent(rng, "LSTM", I, H), *recurrent(rng, "LSTM", I, H)]
    net = load(write_keras(tmp_path / "m.keras", [(both, arrays)]))
    assert repr(net.layers[1]) == "LastStep(bidirectional=True)"
    y, states, _ = net.forward(draw(rng, T, B, I))
    np.testing.assert_array_equal(y, np.hstack([half[0] for half in states[0]]))
    both["config"]["merge_mode"] = "sum"
    with pytest.raises(ValueError, match="adds the final states of both directions"):
        load(write_keras(tmp_path / "m.keras", [(both, arrays)]))


def changed(rng, **config):
    own = cell("LSTM", H, "a")
    return [({**own, "config": {**own["config"], **config}}, recurrent(rng, "LSTM", I, H))]


CASES = {
    "backwards": (lambda rng: changed(rng, go_backwards=True), r"'a' \(LSTM\) reads backwards only"),
    "another activation": (lambda rng: changed(rng, activation="mish"), "'a' .* has activation 'mish'"),
    "other sizes": (
        lambda rng: [(cell("LSTM", H, "a"), recurrent(rng, "GRU", I, H))],
        "wants arrays of shapes",
    ),
    "too few arrays": (lambda rng: [(cell("LSTM", H, "a"), [draw(rng, 2, 2)])], "has arrays with"),
    "a stranger": (lambda rng: [(layer("Conv1D", name="c"), None)], r"'c' \(Conv1D\) has no counterpart"),
    "no layers": (lambda rng: [], "no list of layers"),
    "an activation of nobody": (
        lambda rng: [(layer("Dense", name="d", units=2, activation="mish"), [draw(rng, 2, 2), draw(rng, 2)])],
        "'d' .*activation 'mish'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_has_no_counterpart_is_refused_by_name(case, rng, tmp_path):
    make, message = CASES[case]
    path = write_keras(tmp_path / "m.keras", make(rng))
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(error.value).startswith(f"{path} cannot be read: ")


def test_weights_that_do_not_fit_change_nothing(rng, tmp_path):
    path = write_weights(tmp_path / "w.h5", [(cell("LSTM", H, "a"), recurrent(rng, "LSTM", I, H))])
    with pytest.raises(ValueError, match="it holds weights only"):
        load(path)
    for net in (
        Network(LSTM(I + 1, H)), Network(GRU(I, H)), Network(LSTM(I, H), Dense(H, 2)),
        Network(LSTM(I, H), dtype=float),
        Network(Bidirectional(LSTM(I, H))), Network(Embedding(2, 2), Elman(2, 2)),
    ):  # fmt: skip
        before = net.params.flat.copy()
        with pytest.raises(ValueError, match="cannot be read"):
            load_weights(path, net)
        assert np.array_equal(before, net.params.flat)


def edit(path, change):
    with h5py.File(path, "a") as file:
        folder = file["layers/lstm/cell/vars"]
        del folder["0"]
        change(folder)
    return path


def test_links_and_claims_of_a_hostile_file_are_not_followed(rng, tmp_path):
    """Other files, by whatever way HDF5 has to point at them, and sizes that nothing stands behind."""
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = draw(rng, I, 4 * H)
    (tmp_path / "raw").write_bytes(b"\0" * 1000)
    layout = h5py.VirtualLayout((I, 4 * H), "f4")
    layout[:] = h5py.VirtualSource(str(other), "x", (I, 4 * H))
    changes = {
        "external link": lambda folder: folder.__setitem__("0", h5py.ExternalLink(str(other), "x")),
        "soft link": lambda folder: folder.__setitem__("0", h5py.SoftLink("/layers/lstm/cell/vars/1")),
        "virtual": lambda folder: folder.create_virtual_dataset("0", layout),
        "external storage": lambda folder: folder.create_dataset(
            "0", (I, 4 * H), "f4", external=[(str(tmp_path / "raw"), 0, 48 * H)]
        ),
        "a claim": lambda folder: folder.create_dataset("0", (10**6, 10**6), "f4"),
        "a bomb": lambda folder: folder.create_dataset(
            "0", (10**4, 10**3), "f4", compression="gzip", fillvalue=1
        ),
        "objects": lambda folder: folder.create_dataset("0", (2, 2), h5py.string_dtype()),
    }
    for name, change in changes.items():
        path = tmp_path / f"{name}.h5"
        write_weights(path, [(cell("LSTM", H, "a"), recurrent(rng, "LSTM", I, H))])
        with pytest.raises(ValueError, match=r"cannot be read: its .* (is a link|claims|is no array)"):
            load_weights(edit(path, change), Network(LSTM(I, H)))


def test_damaged_files_get_one_clear_error(rng, tmp_path):
    path = write_keras(tmp_path / "m.keras", model(rng))
    data = path.read_bytes()
    for cut in (b"", data[:2], data[:300], data[:-200], b"\x89HDF\r\n\x1a\n" + b"\0" * 100):
        (tmp_path / "cut").write_bytes(cut)
        with pytest.raises(ValueError, match="cut cannot be read: it is no"):
            load(tmp_path / "cut")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 5_000_000)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ValueError, match=r"config.json claims 5000000 bytes"):
        load(tmp_path / "bomb.keras")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        load(tmp_path / "pipe")


def test_a_heap_without_an_end_is_refused(rng, tmp_path):
    """HDF5's reader goes from entry to entry of the texts: one of size 0, or of all there is, is its last."""
    data = write_h5(tmp_path / "m.h5", model(rng)).read_bytes()
    heap = data.index(b"GCOL")
    place, path = heap + 16, tmp_path / "endless.h5"
    while number := int.from_bytes(data[place : place + 2], "little"):
        place += 16 + (int.from_bytes(data[place + 8 : place + 16], "little") + 7) // 8 * 8
    assert number == 0
    assert place < heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    for size in (2**64 - 16, 2**64 - 32, 2**63):
        path.write_bytes(data[: heap + 24] + size.to_bytes(8, "little") + data[heap + 32 :])
        with pytest.raises(ValueError, match="a heap of its texts cannot be walked along"):
            load(path)
    for size in (0, 8, 2**64 - 16):  # of what is free, which nobody reads
        path.write_bytes(data[: place + 8] + size.to_bytes(8, "little") + data[place + 16 :])
        assert np.array_equal(load(path).params.flat, load(tmp_path / "m.h5").params.flat)


def test_places_beyond_all_sizes_get_one_clear_error(rng, tmp_path):
    """Each of the first words of the file, taken for a place or a size by HDF5, at the edges of its range."""
    data = write_h5(tmp_path / "m.h5", model(rng)).read_bytes()
    path, refused = tmp_path / "beyond.h5", 0
    for word in range(8, 200, 8):
        for value in (2**63, 2**63 - 1, 2**64 - 1):
            path.write_bytes(data[:word] + value.to_bytes(8, "little") + data[word + 8 :])
            try:
                load(path)
            except ValueError as error:
                assert str(error).startswith(f"{path} cannot be read: ")  # noqa: PT017
                refused += 1
    assert refused


def test_a_class_that_is_no_name_is_refused(rng, tmp_path):
    path = write_keras(tmp_path / "m.keras", [(layer("a\nb", name="first"), None)])
    with pytest.raises(ValueError, match="a layer without a class"):
        load(path)


@pytest.mark.parametrize("write", [write_keras, write_h5])
def test_flipped_bytes_are_refused_or_are_a_network(write, rng, tmp_path):
    data = write(tmp_path / "whole", model(rng)).read_bytes()
    path, refused = tmp_path / "damaged", 0
    for _ in range(100):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} cannot be read: ")  # noqa: PT017
            refused += 1
    assert refused


@pytest.mark.skipif(not importlib.util.find_spec("keras"), reason="Keras is not installed")
def test_keras_itself_agrees(tmp_path, rng):
    import keras
    from keras import layers as L

    chain = [L.Bidirectional(L.LSTM(H, return_sequences=True)), L.GRU(H, return_sequences=True),
             L.SimpleRNN(H, return_sequences=True), L.Dense(2)]  # fmt: skip
    assert_keras_agrees(keras, chain, tmp_path, rng)
    assert_keras_agrees(keras, [L.Bidirectional(L.GRU(H)), L.Dense(2)], tmp_path, rng)


def assert_keras_agrees(keras, chain, tmp_path, rng):
    from keras import layers as L

    theirs = keras.Sequential([L.Input((None, I)), *chain])
    for weight in theirs.weights:
        weight.assign(draw(rng, *weight.shape))
    x = draw(rng, T, B, I)
    wanted = keras.ops.convert_to_numpy(theirs(np.swapaxes(x, 0, 1)))
    wanted = np.swapaxes(wanted, 0, 1) if wanted.ndim == 3 else wanted
    for name in ("m.keras", "m.h5"):
        theirs.save(tmp_path / name)
        assert_close(load(tmp_path / name).forward(x)[0], wanted, 1e-5)
