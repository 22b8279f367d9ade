"""What vanishing numbers cost: ``python bench/vanishing.py [training|forward|stream|call|adding]``.

Each pair runs in turn in one process, on one thread, and medians are compared; "kept" is the same ratio in
`rnncore.keep_denormals`, as the processor computes when nothing is flushed. Default: all but the last.

training  loss at the last step alone over the same step with a loss at every step, B8 I16 H64
forward   a pass over input times 1e-40 over one over the input itself
stream    the slowest block of 64 steps of silence after sound over the median block of sound
call      nanoseconds of a step of a stream, in blocks of 2,048 and alone
adding    updates per second of a GRU of 64 units on problems.Adding, 500 and 1,000 steps long
"""

import contextlib
import statistics
import sys
import time

import numpy as np

import rnncore
from rnncore import GRU, LSTM, Adam, ClipNorm, Dense, Elman, Network
from rnncore.problems import Adding

CASES = ((Elman, 500), (GRU, 300), (LSTM, 1000), (LSTM, 5000))
KEPT = (contextlib.nullcontext, getattr(rnncore, "keep_denormals", contextlib.nullcontext))


def ratio(function, one, other, rounds):
    """Median time of function(one) over that of function(other), in turn."""
    times = ([], [])
    for arguments in (one, other) * 2:
        function(*arguments)
    for _ in range(rounds):
        for taken, arguments in zip(times, (one, other), strict=True):
            start = time.perf_counter()
            function(*arguments)
            taken.append(time.perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1]), statistics.median(times[1])


def training():
    for cell, steps in CASES:
        net, rng = Network(cell(16, 64), seed=0), np.random.default_rng(0)
        x = rng.standard_normal((steps, 8, 16), dtype=np.float32)
        everywhere = rng.standard_normal((steps, 8, 64), dtype=np.float32)
        at_last = np.zeros_like(everywhere)
        at_last[-1] = everywhere[-1]
        clip, adam, params = ClipNorm(1.0), Adam(1e-12), net.params.flat.copy()

        def step(dy, net=net, x=x, clip=clip, adam=adam, params=params):
            net.params.flat[:] = params
            net.zero_grad()
            net.backward(dy, net.forward(x)[2], input_gradient=False)
            clip(net.grads.flat)
            adam.step(net.params.flat, net.grads.flat)

        found = []
        for keep, rounds in zip(KEPT, (21, 5), strict=True):
            with keep():
                found.append(ratio(step, (at_last,), (everywhere,), rounds))
        (flushed, seconds), (kept, _) = found
        print(f"{cell.__name__} T{steps}: {flushed:.2f}, kept {kept:.1f}; {1e3 * seconds:.2f} ms", flush=True)


def forward():
    for cell, steps in CASES[:3]:
        net = Network(cell(16, 64), seed=0).eval()
        net.params["0.bias"][:] = 0  # else the bias hides how small the input is
        x = np.random.default_rng(0).standard_normal((steps, 8, 16), dtype=np.float32)
        quiet = x * np.float32(1e-40)
        found = []
        for keep, rounds in zip(KEPT, (41, 5), strict=True):
            with keep():
                found.append(ratio(lambda x, net=net: net.forward(x, record=False), (quiet,), (x,), rounds))
        (flushed, seconds), (kept, _) = found
        print(f"{cell.__name__} T{steps}: {flushed:.2f}, kept {kept:.1f}; {1e6 * seconds:.0f} us", flush=True)


def stream():
    for cell in (Elman, LSTM, GRU):
        net = Network(cell(1, 16), Dense(16, 1), seed=0).eval()
        net.params.flat[net.params["0.weight_ih"].size + net.params["0.weight_hh"].size :] = 0
        runner = net.stream()
        sound = np.random.default_rng(0).standard_normal((400, 64, 1), dtype=np.float32)
        silence, out = np.zeros((400, 64, 1), np.float32), np.empty((64, 1), np.float32)
        for name, keep in zip(("flushed", "kept"), KEPT, strict=True):
            times = []
            with keep():
                for _ in range(31):
                    blocks = []
                    for block in (*sound, *silence):
                        start = time.perf_counter()
                        runner.run(block, out=out)
                        blocks.append(time.perf_counter() - start)
                    times.append(blocks)
            typical = np.median(times, axis=0)  # of each block: an interruption hits one run of it
            slowest = typical[400:].max() / np.median(typical[:400])
            print(f"{cell.__name__} 16, {name}: {slowest:.2f}", flush=True)


def call():
    for cell, units in ((LSTM, 8), (GRU, 8), (LSTM, 32)):
        runner = Network(cell(1, units), seed=0).eval().stream()
        x, out = np.ones((2048, 1), np.float32), np.empty((2048, units), np.float32)
        one, single = x[0], out[0]
        blocks, steps = [], []
        for _ in range(201):
            start = time.perf_counter()
            runner.run(x, out=out)
            blocks.append((time.perf_counter() - start) / 2048)
            start = time.perf_counter()
            for _ in range(500):
                runner.step(one, out=single)
            steps.append((time.perf_counter() - start) / 500)
        in_blocks, alone = (1e9 * statistics.median(times) for times in (blocks, steps))
        print(f"{cell.__name__} {units}: {in_blocks:.1f} ns in a block, {alone:.0f} alone", flush=True)


def adding():
    for length in (500, 1000):
        problem = Adding(length, batches=100)
        net = problem.network(lambda inputs: GRU(inputs, 64))
        clip, adam, times = ClipNorm(1.0), Adam(1e-3), []
        for batch in problem.batches(0):
            start = time.perf_counter()
            net.zero_grad()
            y, _, tape = net.forward(batch.x, None, batch.lengths)
            _, dy = problem.loss(y, batch.target, batch.lengths)
            net.backward(dy, tape, input_gradient=False)
            clip(net.grads.flat)
            adam.step(net.params.flat, net.grads.flat)
            times.append(time.perf_counter() - start)
        print(f"Adding({length}): {1 / statistics.median(times):.1f} updates a second", flush=True)


if __name__ == "__main__":
    rnncore.set_num_threads(1)
    for name in sys.argv[1:] or ["training", "forward", "stream", "call"]:
        print(f"-- {name}")
        globals()[name]()
