"""The memory of a training step: what docs/performance.md states as a formula."""

import subprocess
import sys

import pytest

# In a process of its own: the pool keeps what the peak of all tests before it allows.
STEP = """if True:
    import numpy as np
    import rnncore
    from rnncore.kernels.memory import memory_in_use
    steps, rows, inputs, units = {shape}
    net = rnncore.Network(rnncore.{cell}(inputs, units))
    x = np.zeros((steps, rows, inputs), np.float32)
    dy = np.zeros((steps, rows, units), np.float32)
    for _ in range(3):
        y, state, tape = net.forward(x)
        arrays = [getattr(tape[0], name) for name in tape[0].__dataclass_fields__]
        size = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
        net.backward(dy, tape)
        del y, state, tape, arrays
    print(sum(memory_in_use()) / size)
"""


@pytest.mark.parametrize("cell", ["Elman", "LSTM", "GRU"])
@pytest.mark.parametrize("shape", [(100, 32, 64, 128), (100, 64, 128, 256)], ids=str)
def test_a_step_takes_little_beside_its_tape(cell, shape):
    """All memory the pool ever took, live or kept, against the bytes of the tape (x and y included)."""
    code = STEP.format(cell=cell, shape=shape)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 1.2
