"""Short sequences, a call at a time, beside ONNX Runtime; and streams of few units. One thread.

    python bench/small_calls.py [--only taggers|chains|streams]

Microseconds, medians of turns in one process: in each turn every contestant makes some calls that do not
count, then those that do. ONNX Runtime runs the network that `rnncore.interop.onnx` exports, so that all
compute the same numbers, which is checked first. A peer that is not installed is left out.
"""

# ruff: noqa: E402
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import contextlib
import copy
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import rnncore
from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, Embedding, LastStep, Network

TURNS, TURN = 41, 0.004  # seconds

CHAINS = {
    "Elman(4, 4)": lambda: Network(Elman(4, 4)),
    "LSTM(4, 8)": lambda: Network(LSTM(4, 8)),
    "GRU(4, 8), LastStep, Dense(8, 2)": lambda: Network(GRU(4, 8), LastStep(), Dense(8, 2)),
    "Bidirectional(LSTM(4, 8))": lambda: Network(Bidirectional(LSTM(4, 8))),
    "LSTM(16, 128)": lambda: Network(LSTM(16, 128)),
}
TAGGERS = {
    "BiLSTM 2 x 50": lambda: Network(Embedding(5000, 50), Bidirectional(LSTM(50, 50))),
    "BiLSTM 2 x 50, Dense 17": lambda: Network(
        Embedding(5000, 50), Bidirectional(LSTM(50, 50)), Dense(100, 17)
    ),
    "BiGRU 2 x 100, Dense 17": lambda: Network(
        Embedding(5000, 50), Bidirectional(GRU(50, 100)), Dense(200, 17)
    ),
}


def in_turn(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median microseconds a call of each."""
    calls = {}
    for name, call in contestants.items():
        call()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < TURN:
            call()
            count += 1
        calls[name] = count
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, call in contestants.items():
            for _ in range(max(1, calls[name] // 4)):
                call()
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            times[name].append((time.perf_counter() - start) / calls[name])
    return {name: 1e6 * statistics.median(found) for name, found in times.items()}


def ours(net: Network, x: np.ndarray, stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    """The ways that there are to run a network, each with a network of its own."""
    packed = copy.deepcopy(net)
    stack.enter_context(packed.inference_mode())
    ways = {
        "forward": lambda: net.forward(x, record=False),
        "forward, inference mode": lambda: packed.forward(x),
    }
    if hasattr(net, "infer"):
        ways["infer"] = lambda: net.infer(x)
        ways["infer, inference mode"] = lambda: packed.infer(x)
    return ways


def onnx_runtime(net: Network, x: np.ndarray) -> Callable[[], object]:
    import onnxruntime

    from rnncore.interop import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.export(net, path)
        model = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    feed = {"x": x}
    y = session.run(["y"], feed)[0]
    np.testing.assert_allclose(y, net.forward(x)[0], rtol=0, atol=1e-5)
    return lambda: session.run(["y"], feed)


def table(networks: dict[str, Callable[[], Network]], lengths: tuple[int, ...], peers: bool) -> None:
    heads: list[str] = []
    rng = np.random.default_rng(0)
    for name, make in networks.items():
        for steps in lengths:
            net = make().eval()
            ids = net.layers[0].takes_ids
            features = net.layers[0].features()[0]
            x = (
                rng.integers(0, 5000, (steps, 1))
                if ids
                else rng.standard_normal((steps, 1, features), dtype=np.float32)
            )
            with contextlib.ExitStack() as stack:
                contestants = ours(net, x, stack)
                if peers and importlib.util.find_spec("onnxruntime") is not None:
                    contestants["ONNX Runtime"] = onnx_runtime(net, x)
                found = in_turn(contestants)
            if list(found) != heads:
                heads = list(found)
                print("\n| network | T |", " | ".join(heads), "|\n|---|---|" + "---|" * len(heads))
            print(
                f"| {name} | {steps} |", " | ".join(f"{time:.2f}" for time in found.values()), "|", flush=True
            )


def streams(block: int = 2048) -> None:
    """Nanoseconds a step of a stream that takes so many at a time, one input."""
    calls = {}
    for cell in (LSTM, GRU, Elman):
        for units in (8, 16, 24, 32):
            stream = Network(cell(1, units)).stream()
            x = np.random.default_rng(0).standard_normal((block, 1), dtype=np.float32)
            calls[f"{cell.__name__} {units}"] = partial(stream.run, x, np.empty((block, units), np.float32))
    print(f"\n| blocks of {block:,} | ns a step | million steps a second |\n|---|---|---|")
    for name, time_of_call in in_turn(calls).items():
        step = 1e3 * time_of_call / block
        print(f"| {name} | {step:.1f} | {1e3 / step:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=("chains", "taggers", "streams"))
    only = parser.parse_args().only
    rnncore.set_num_threads(1)
    if only in (None, "chains"):
        table(CHAINS, (1, 8, 16), False)
    if only in (None, "taggers"):
        table(TAGGERS, (1, 8, 16), True)
    if only in (None, "streams"):
        streams()
