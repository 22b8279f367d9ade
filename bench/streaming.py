"""One step at a time: latency beside ONNX Runtime and PyTorch, throughput of threads, memory.

    python bench/streaming.py

Medians, one thread a call, all peers in the same process; a peer that is not installed is left out. The
peers' networks have the same sizes, with weights of their own.
"""

# ruff: noqa: E402
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse
import importlib.util
import resource
import statistics
import threading
import time
import timeit
from functools import partial

import numpy as np

import rnncore

CELLS = ("Elman", "LSTM", "GRU")
VARIANTS = {
    "Elman": rnncore.Elman,
    "LeakyElman": partial(rnncore.LeakyElman, leak=0.3),
    "SkipElman, delays 1 and 4": rnncore.SkipElman,
    "LSTM": rnncore.LSTM,
    "LSTM, peepholes": partial(rnncore.LSTM, peepholes=True),
    "LSTM, coupled gates": partial(rnncore.LSTM, coupled=True),
    "LSTM, zoneout": partial(rnncore.LSTM, zoneout=0.1),
    "GRU": rnncore.GRU,
    "GRU, reset before": partial(rnncore.GRU, reset_after=False),
}


def network(cell, inputs, units):
    return rnncore.Network(VARIANTS[cell](inputs, units))


def ours(cell, units):
    stream = network(cell, units, units).stream()
    x = np.ones((1, units), np.float32)
    y = stream.step(x)
    return lambda: stream.step(x, out=y)


def onnx_runtime(cell, units):
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    gates, operator = {"Elman": (1, "RNN"), "LSTM": (4, "LSTM"), "GRU": (3, "GRU")}[cell]
    rng = np.random.default_rng(0)
    weights = {
        "W": (1, gates * units, units), "R": (1, gates * units, units), "B": (1, 2 * gates * units)
    }  # fmt: skip
    states = ["h", "c"] if cell == "LSTM" else ["h"]
    node = helper.make_node(
        operator, ["X", *weights, "", *states], ["Y", *(f"{name}_out" for name in states)], hidden_size=units
    )
    info = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, units])
        for name in ["X", *states, *(f"{name}_out" for name in states)]
    }
    made = [numpy_helper.from_array(rng.normal(0, 0.1, s).astype("f"), n) for n, s in weights.items()]
    inputs, outputs = [info["X"], *map(info.get, states)], [info[f"{name}_out"] for name in states]
    model = helper.make_model(
        helper.make_graph([node], "step", inputs, outputs, made),
        opset_imports=[helper.make_opsetid("", 14)], ir_version=8,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    feed = {name: np.zeros((1, 1, units), np.float32) for name in ["X", *states]}
    return lambda: session.run(None, feed)


def pytorch(cell, units):
    import torch

    torch.set_num_threads(1)
    layer = getattr(torch.nn, {"Elman": "RNN"}.get(cell, cell))(units, units).eval()
    x = torch.ones(1, 1, units)
    with torch.inference_mode():
        _, state = layer(x)

    def step():
        with torch.inference_mode():
            layer(x, state)

    return step


PEERS = {
    "rnncore": (None, ours),
    "ONNX Runtime": ("onnxruntime", onnx_runtime),
    "PyTorch": ("torch", pytorch),
}


def timed(step):
    """Microseconds, the median of 41 runs."""
    number = max(1, int(0.004 / (timeit.timeit(step, number=50) / 50)))
    return f"{statistics.median(timeit.repeat(step, number=number, repeat=41)) / number * 1e6:.2f}"


def variants():
    print("\nVariants, likewise\n\n| cell | H 32 | H 128 |\n|---|---|---|")
    for cell in VARIANTS:
        print("|", cell, "|", timed(ours(cell, 32)), "|", timed(ours(cell, 128)), "|")


def latency():
    print("One step from Python, B = 1, I = H, float32; microseconds, median of 41 runs\n")
    print("| cell | H |", " | ".join(PEERS), "|\n|---|---|" + "---|" * len(PEERS))
    for cell in CELLS:
        for units in (32, 128):
            row = []
            for module, make in PEERS.values():
                if module and importlib.util.find_spec(module) is None:
                    row.append("not installed")
                    continue
                row.append(timed(make(cell, units)))
            print("|", cell, "|", units, "|", " | ".join(row), "|")


def throughput(units, block, threads, shared=False, seconds=1.0):
    """Steps a second of so many threads, each with a network of its own, or with a stream of one for all."""
    networks = [network("LSTM", units, units) for _ in range(1 if shared else threads)]
    counts = [0] * threads
    gate = threading.Barrier(threads + 1)
    running = [True]

    def work(place):
        stream = networks[place % len(networks)].stream()
        x = np.ones((block, 1, units), np.float32)
        y = stream.run(x)
        call, data, out = (stream.run, x, y) if block > 1 else (stream.step, x[0], y[0])
        gate.wait()
        n = 0
        while running[0]:
            call(data, out)
            n += block
        counts[place] = n

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    running[0] = False
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)


def threads(cores):
    print(
        f"\n4 threads, 4 LSTM networks, {cores} cores: steps a second beside one thread, medians of 7 turns\n"
    )
    for units, block in ((512, 1), (32, 64), (128, 1), (32, 1)):
        turns = [
            (throughput(units, block, 1), throughput(units, block, 4), throughput(units, block, 4, True))
            for _ in range(7)
        ]
        one = statistics.median(turn[0] for turn in turns)
        own, shared = (statistics.median(turn[k] / turn[0] for turn in turns) for k in (1, 2))
        print(
            f"H {units:<4} {block:>3} steps a call: {one:12,.0f} with one thread, times {own:.2f} with four, "
            f"{shared:.2f} where these share one network"
        )


def memory():
    stream = rnncore.Network(rnncore.LSTM(32, 32)).stream()
    x = np.ones((1, 32), np.float32)
    y = stream.step(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1_000_000):
        stream.step(x, out=y)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\n1,000,000 steps: peak resident memory {before} KiB before, {after} KiB after")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=("latency", "variants", "threads", "memory"))
    only = parser.parse_args().only
    if only in (None, "latency"):
        latency()
    if only in (None, "variants"):
        variants()
    if only in (None, "threads"):
        threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    if only in (None, "memory"):
        memory()
