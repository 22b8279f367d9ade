"""After the first steps, training takes no more memory: resident size over 10,000 steps."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm"),
    pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer keeps what is freed"),
]

STEPS = 10_000
# Bytes that resident memory may grow by: half of what a leak of 100 bytes per step would take.
BOUND = 100 * STEPS // 2

PREAMBLE = """
import gc, os, sys
import numpy as np
from rnncore import *

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

rng = np.random.default_rng(0)
def batch(T, B, I, C):
    x = rng.standard_normal((T, B, I), dtype=np.float32)
    return x, rng.integers(0, C, (T, B)), rng.integers(1, T + 1, B)

def growth(step, steps):
    for n in range(steps // 5):
        step(n)
    before = resident()
    for n in range(steps):
        step(n)
    return resident() - before
"""

# One training step by hand; `shapes` are taken in turn.
TRAINING = """
net = Network({layers}, seed=0)
loss, optimizer, clip = CrossEntropy(), Adam(), ClipNorm(1.0)
batches = [batch(T, B, 3, 2) for T, B in {shapes}]
leak = []

def step(n):
    x, target, lengths = batches[n % len(batches)]
    net.zero_grad()
    y, state, tape = net.forward(x, lengths=lengths)
    value, dy = loss(y, target, lengths)
    net.backward(dy, tape)
    clip(net.grads.flat)
    optimizer.step(net.params.flat, net.grads.flat)
    {extra}

print(growth(step, {steps}))
"""

CELLS = {
    "elman": "Elman(3, 4), Elman(4, 4), Dense(4, 2)",
    "lstm": "LSTM(3, 4), Dropout(0.5), LSTM(4, 4), Dense(4, 2)",
    "gru": "GRU(3, 4), GRU(4, 4), Dense(4, 2)",
}


def measure(script: str) -> int:
    """What the script prints last: bytes that the resident memory grew by."""
    done = subprocess.run([sys.executable, "-c", PREAMBLE + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def training(layers: str, shapes: list[tuple[int, int]], steps: int = STEPS, extra: str = "") -> str:
    return TRAINING.format(layers=layers, shapes=shapes, steps=steps, extra=extra)


@pytest.mark.parametrize("layers", CELLS.values(), ids=CELLS.keys())
def test_training_steps_leave_memory_flat(layers):
    assert measure(training(layers, [(4, 2)])) < BOUND


def test_changing_shapes_leave_memory_flat():
    """Blocks of many sizes, large enough to be kept for reuse, come and go."""
    shapes = [(steps, rows) for steps in (1, 7, 40, 23) for rows in (1, 30, 8)]
    assert measure(training("LSTM(3, 16), Dense(16, 2)", shapes, steps=2_400)) < BOUND


def test_the_bound_sees_a_leak_of_100_bytes_a_step():
    """A bytes object of 67 takes 100 with its header."""
    assert measure(training(CELLS["gru"], [(4, 2)], extra="leak.append(bytes(67))")) > BOUND


def test_streaming_inference_leaves_memory_flat():
    script = """
net = Network(LSTM(3, 4), Dense(4, 2), seed=0).eval()
x, _, _ = batch(1, 2, 3, 2)
carried = [None]

def step(n):
    _, carried[0], _ = net.forward(x, carried[0], record=False)

print(growth(step, 10_000))
"""
    assert measure(script) < BOUND


def test_threads_leave_memory_flat():
    """Four threads run one network each; the memory that blocks leave behind serves all of them.

    How many of the four meet is chance, and a first meeting takes memory that is then kept: of several
    spans the least growth counts. A leak grows in every one.
    """
    script = """
from concurrent.futures import ThreadPoolExecutor
nets = [Network(GRU(3, 16), Dense(16, 2), seed=0) for _ in range(4)]
x, target, _ = batch(30, 8, 3, 2)

def one(net):
    for _ in range(10):
        net.zero_grad()
        y, _, tape = net.forward(x)
        net.backward(CrossEntropy()(y, target)[1], tape)

with ThreadPoolExecutor(4) as pool:
    print(min(growth(lambda n: list(pool.map(one, nets)), 200) for span in range(6)))
"""
    assert measure(script) < 4 * BOUND // 5  # half of what 100 bytes for each of the 8,000 steps would take
