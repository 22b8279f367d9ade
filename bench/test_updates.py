"""Passes over the flat buffers, updates and clipping: from a small network to one that leaves the cache."""

import numpy as np
import pytest
from workloads import BACKENDS

from rnncore.clipping import ClipNorm, ClipValue
from rnncore.optimizers import SGD, Adam, AdamW, RMSprop

SIZES = [5_000, 500_000, 10_000_000]
OPTIMIZERS = {
    "SGD": lambda: SGD(0.0),
    "Nesterov": lambda: SGD(0.0, momentum=0.9, nesterov=True),
    "RMSprop": lambda: RMSprop(0.0),
    "Adam": lambda: Adam(0.0),
    "AdamW": lambda: AdamW(0.0),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_update(race, optimizer, size, backend):
    rng = np.random.default_rng(0)
    params, grads = rng.standard_normal((2, size)).astype(np.float32)
    chosen = OPTIMIZERS[optimizer]()
    chosen.backend = BACKENDS[backend]
    race(chosen.step, params, grads)


@pytest.mark.parametrize("clipper", [ClipNorm, ClipValue])
@pytest.mark.parametrize("size", SIZES)
def test_clipping(race, clipper, size, backend):
    grads = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    chosen = clipper(0.5)
    chosen.backend = BACKENDS[backend]
    race(chosen, grads)
