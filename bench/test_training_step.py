"""The whole training step: forward, loss, backward, clip, update."""

import pytest
from workloads import CELLS, MIDDLE, SMALL, Shape, cell_step, text_step


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [SMALL, MIDDLE], ids=str)
def test_one_layer(race, cell, shape, backend):
    race(cell_step(cell, shape, backend).train)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [Shape(100, 1, 32, 32), Shape(100, 64, 64, 256)], ids=str)
def test_character_model(race, cell, shape, backend):
    race(text_step(cell, shape, backend).train)
