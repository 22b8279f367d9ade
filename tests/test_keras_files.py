"""Files that Keras 3 and tf_keras wrote, beside the outputs that these gave; see keras_files/make.py."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from laws import assert_close

from rnncore import GRU, LSTM, Dense, Network
from rnncore.interop.keras import load, load_weights

FOLDER = Path(__file__).parent / "keras_files"


@pytest.fixture
def unpacked(tmp_path):
    """The path of a file that is stored packed."""

    def unpack(name):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((FOLDER / f"{name}.gz").read_bytes()))
        return path

    return unpack


def outputs(name):
    """The inputs of a model, time-major, and its outputs as Keras gave them."""
    with np.load(FOLDER / f"{name}.npz") as kept:
        return kept["x"].swapaxes(0, 1).copy(), {key: kept[key] for key in kept if key != "x"}


def batch_first(y):
    return y if y.ndim == 2 else y.swapaxes(0, 1)


def test_a_mask_is_an_argument_of_the_call(unpacked):
    path = unpacked("keras3_masked.keras")
    with pytest.raises(ValueError, match=r"'masking' \(Masking\) leaves out masked steps.* masked=True"):
        load(path)
    x, theirs = outputs("keras3_masked")
    net = load(path, masked=True)
    assert_close(net.forward(x, lengths=np.array([3, 5, 1]))[0], theirs["y0"], 1e-5)
    x = np.stack(
        [np.roll(row, -length, axis=0) for row, length in zip(x.swapaxes(0, 1), (3, 5, 1), strict=True)], 1
    )
    mask = x.any(axis=2)  # zeros in front
    assert not mask[0].all()
    assert_close(net.forward(x, lengths=mask)[0], theirs["y0"], 1e-5)


def test_each_result_of_a_layer_is_the_one_that_is_read(unpacked):
    path = unpacked("keras3_states.keras")
    with pytest.raises(ValueError, match=r"3 outputs, \['of_steps', 'of_h', 'of_c'\].*pass output="):
        load(path)
    x, theirs = outputs("keras3_states")
    for number, name in enumerate(("of_steps", "of_h")):
        y, _, _ = load(path, output=name).forward(x)
        assert_close(batch_first(y), theirs[f"y{number}"], 1e-5, name)
    with pytest.raises(ValueError, match=r"'lstm' \(LSTM\) is read for its cell state"):
        load(path, output="of_c")
    with pytest.raises(ValueError, match="output is 'nothing', but its layers are 'x', 'lstm'"):
        load(path, output="nothing")


def test_the_layout_of_cudnn(unpacked):
    path = unpacked("keras2_cudnn.h5")
    x, theirs = outputs("keras2_cudnn")
    net = load_weights(path, Network(LSTM(3, 2), GRU(2, 2)))
    assert_close(batch_first(net.forward(x)[0]), theirs["y0"], 1e-5)
    alone = load_weights(path, Network(GRU(2, 2)), names=["gru"])
    assert alone.params.flat.tobytes() == net.params.flat[-alone.params.flat.size :].tobytes()
    with pytest.raises(
        ValueError, match=r"it has the layers 'lstm', 'gru', but the network 'GRU'; pass names="
    ):
        load_weights(path, Network(GRU(2, 2)))
    with pytest.raises(ValueError, match="names has 'rnn', but it has the layers 'lstm', 'gru'"):
        load_weights(path, Network(GRU(2, 2)), names=["rnn"])
    with pytest.raises(ValueError, match="names are 2, but the network has 1 layers"):
        load_weights(path, Network(GRU(2, 2)), names=["lstm", "gru"])


def test_architecture_and_weights_in_two_files(unpacked):
    path, config = unpacked("keras2_weights.h5"), FOLDER / "keras2_weights.json"
    with pytest.raises(ValueError, match="it holds weights only: pass config="):
        load(path)
    with pytest.raises(ValueError, match=r"'words' .* leaves out masked steps"):
        load(path, config=config)
    ids, theirs = outputs("keras2_weights")
    net = load(path, config=config, masked=True)
    y = np.exp(net.forward(ids, lengths=ids != 0)[0])
    assert_close(y / y.sum(axis=1, keepdims=True), theirs["y0"], 1e-5)
    whole = load(path, config=config, masked=True, logits=False)
    assert_close(whole.forward(ids, lengths=ids != 0)[0], theirs["y0"], 1e-5)
    again = load_weights(path, load(path, config=config, masked=True))
    assert again.params.flat.tobytes() == net.params.flat.tobytes()
    with pytest.raises(ValueError, match="'words' has embeddings, but Dense"):
        load_weights(path, Network(Dense(5, 2)), names=["words"])
    with pytest.raises(ValueError, match=r"keras2_weights.h5 cannot be read: its configuration is no JSON"):
        load(path, config=path)
