"""Value and gradient of each loss: a label, a character, a feature or ten, a large vocabulary."""

import numpy as np
import pytest
from workloads import BACKENDS

from rnncore.losses import BinaryCrossEntropy, CrossEntropy, SquaredError

SHAPES = [(1, 64, 2), (100, 64, 1), (100, 64, 65), (10, 32, 10_000)]


def name(shape):
    return "T{} B{} C{}".format(*shape)


@pytest.mark.parametrize("loss", [CrossEntropy, BinaryCrossEntropy, SquaredError])
@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_loss(race, loss, shape, backend):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(shape).astype(np.float32)
    target = rng.random(shape).astype(np.float32)
    if loss is CrossEntropy:
        target = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    function = loss()
    function.backend = BACKENDS[backend]
    race(function, y, target)
