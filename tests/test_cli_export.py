"""``rnncore export``: files for other hosts and runtimes; what does not go together is one line."""

import numpy as np
import pytest

from rnncore import GRU, Dense, Embedding, Network, save

pytest.importorskip("click")
pytest.importorskip("onnxruntime")

from commands import complaint, run


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(Network(Embedding(4, 2), GRU(2, 3), Dense(3, 4), seed=1), "model.safetensors")
    return "model.safetensors"


def test_an_onnx_file_is_written_and_its_difference_reported(model, tmp_path):
    from rnncore.interop.onnx import load

    out = run("export", model, "--onnx", "model.onnx", "--softmax", "--lengths").output
    assert "largest difference in onnxruntime" in out
    inputs = {"x": np.zeros((2, 3), np.int64), "lengths": np.array([2, 2, 1], np.int32)}
    (y,) = load(tmp_path / "model.onnx").run(inputs)
    assert np.allclose(y.sum(axis=-1), 1)
    assert not (tmp_path / "model.c").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --c FILE, --onnx FILE or both"),
        (["--onnx", "m.onnx", "--name", "net"], "--name is about the C file"),
        (["--onnx", "m.onnx", "--weights", "m.bin"], "--weights is about the C file"),
        (["--onnx", "m.onnx", "--lanes", "4"], "--lanes is about the C file"),
        (["--c", "m.c", "--lengths"], "--lengths is about the ONNX file"),
        (["--c", "m.c", "--weights", "m.c"], "m.c"),
    ],
)
def test_options_without_their_file_are_refused(model, tmp_path, words, message):
    assert message in complaint("export", model, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_the_c_file_comes_with_its_sizes_and_a_block_of_weights_if_asked_for(model, tmp_path):
    out = run("export", model, "--c", "model.c", "--weights", "model.bin", "--lanes", "4").output
    size = (tmp_path / "model.bin").stat().st_size
    assert f"{size:,} bytes of weights" in out
    assert "multiply-adds" in out
    assert f"#define MODEL_WEIGHTS_SIZE {size} " in (tmp_path / "model.c").read_text()
