"""Each cell, forward and backward, kernels and NumPy reference, from B1 H16 to B128 H1024."""

import pytest
from workloads import CELLS, GRID, cell_step


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", GRID, ids=str)
def test_forward(race, cell, shape, backend):
    race(cell_step(cell, shape, backend).forward)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", GRID, ids=str)
def test_backward(race, cell, shape, backend):
    race(cell_step(cell, shape, backend).backward)
