"""The environment, and the processor's settings: imports and results do not depend on them."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import subprocess
import sys
from pathlib import Path

from numpy.random import Generator

import rnncore
from campaign import hostile, nets
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject

NAMES = (
    "OMP_NUM_THREADS",
    "RNNCORE_LEVEL",
    "RNNCORE_KEEP_DENORMALS",
    "OPENBLAS_NUM_THREADS",
    "LANG",
    "TMPDIR",
)
GOOD = ("1", "2", "64", "avx2", "baseline", "avx512", "0", "C", "tr_TR.UTF-8")
X86 = platform.machine().lower() in {"x86_64", "amd64"}
CODE = """
import numpy as np, rnncore
net = rnncore.Network(rnncore.GRU(3, 9), rnncore.Dense(9, 2), seed=1)
y, _, tape = net.forward(np.ones((5, 2, 3), np.float32))
assert np.isfinite(y).all()
"""


def run(rng: Generator, folder: Path) -> None:
    import_with(rng, folder) if rng.random() < 0.15 else compute_with(rng)


def import_with(rng: Generator, folder: Path) -> None:
    """A fresh interpreter with hostile values in its environment: it computes, or a ValueError names them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    name = nets.one(rng, NAMES)
    value = (
        nets.one(rng, GOOD) if rng.random() < 0.3 else str(hostile.near(rng, int(rng.integers(99))))[:30_000]
    )
    value = str(hostile.choose(rng, hostile.TEXTS)) if rng.random() < 0.4 else value
    environment[name] = value.replace("\0", "").encode(errors="replace").decode()
    ran = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, check=False, timeout=100
    )
    words = ran.stderr.decode(errors="replace").strip().splitlines()
    if ran.returncode and not (
        words and words[-1].startswith("ValueError") and (name in words[-1] or "level is" in words[-1])
    ):
        raise Broken(
            f"{name}={environment[name][:50]!r}: ended with {ran.returncode}: {''.join(words[-1:])[:200]}"
        )


def compute_with(rng: Generator) -> None:
    """Any rounding and flushing of the caller: the same bits, and the state is given back."""
    net = nets.draw_network(rng, plain=True).eval()
    x = nets.draw_input(rng, net, 9, int(nets.one(rng, (1, 5, 64))))

    def everything() -> list[bytes]:
        y, _, tape = net.forward(x)
        net.zero_grad()
        net.backward(y, tape)
        return [
            y.tobytes(),
            net.grads.flat.tobytes(),
            net.infer(x).tobytes(),
            net.stream(batch=x.shape[1]).run(x).tobytes(),
        ]

    rnncore.set_num_threads(int(rng.integers(1, 4)))
    wanted = everything()
    if not X86:
        return
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    room = (ctypes.c_ubyte * 64)()
    library.fegetenv(room)
    before, word = bytes(room), ctypes.c_uint32.from_buffer(room, 28)
    bits = int(rng.integers(2**16)) & 0xE040  # rounding and both ways of flushing
    word.value = word.value & ~0xE040 | bits
    library.fesetenv(room)
    try:
        found = everything()
        library.fegetenv(room)
    finally:
        library.fesetenv((ctypes.c_ubyte * 64).from_buffer_copy(before))
    if word.value & 0xE040 != bits:
        raise Broken(
            f"the caller's floating-point state {bits:#x} was not given back: {word.value & 0xE040:#x}"
        )
    if found != wanted:
        places = [place for place, both in enumerate(zip(found, wanted, strict=True)) if both[0] != both[1]]
        raise Broken(f"other bits where the caller's floating-point state is {bits:#x}: {places} of {net}")


SUBJECT = Subject("settings", "the environment, and the processor's settings", run, limits=Limits(20))
