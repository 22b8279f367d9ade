"""Panels of one to four gates give the products of their matrices; more gates are refused."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from cells import Call, Shape

import rnncore.kernels as kernels
from rnncore.kernels.plan import panels_size, scratch_size

SOURCE = Path(__file__).parent.parent / "rnncore" / "kernels"
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]

# Small whole numbers, so that every order of summation gives the same sums.
PROGRAM = """
#define LEVEL "test"
#define VECTOR_BYTES 16
#define VECTOR_REGISTERS 16
#define REAL float
#define REAL_IS_DOUBLE 0
#include "narrow.h"
#include <stdio.h>
#include <stdlib.h>

static real w[4 * 40 * 40], a[9 * 40], room[1 << 16], out[9 * 512], bare[9 * 512], narrow[9 * 512];
static const real start[MAX_PANEL_VECTORS * LANES];
static const ptrdiff_t places[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static int wrong(int gates, ptrdiff_t units, ptrdiff_t K, ptrdiff_t n)
{
    const ptrdiff_t wide = packed_size(1, units, gates), per = PANEL_UNITS(gates);
    int errors = 0;
    for (ptrdiff_t i = 0; i < gates * units * K; i++)
        w[i] = (real)(i * 7 % 11) - 5;
    for (ptrdiff_t i = 0; i < n * K; i++)
        a[i] = (real)(i * 5 % 13) - 6;
    pack(w, K, units, gates, units * K, K, 1, 0, 1, room);
    multiply(n, a, NULL, K, K, room, units, gates, NULL, 0, out, NULL, wide, wide);
    Product q = {.n = n, .a = a, .lda = K, .K = K, .weight = w, .units = units, .gates = gates,
                 .gate_stride = units * K, .unit_stride = K, .k_stride = 1, .out = bare, .ldo = wide,
                 .columns = wide, .room = room};
    multiply_unpacked(&q);
    if (is_narrow(units, gates)) {
        pack(w, K, gates * units, 1, 0, K, 1, 0, 1, room);
        multiply_narrow(n, a, places, K, K, room, units, gates, start, narrow);
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int g = 0; g < gates; g++)
            for (ptrdiff_t u = 0; u < units; u++) {
                const ptrdiff_t vector = u % per / LANES * gates + g;
                const ptrdiff_t at = i * wide + u / per * PANEL_WIDTH(gates) + vector * LANES + u % LANES;
                real sum = 0;
                for (ptrdiff_t k = 0; k < K; k++)
                    sum += a[i * K + k] * w[(g * units + u) * K + k];
                errors += out[at] != sum || bare[at] != sum || (is_narrow(units, gates) && narrow[at] != sum);
            }
    return errors;
}

int main(void)
{
    for (int gates = 1; gates <= MAX_GATES; gates++)
        for (ptrdiff_t units = 1; units <= 40; units += units < 10 ? 1 : 7)
            for (ptrdiff_t K = 1; K <= 40; K += 6)
                for (ptrdiff_t n = 1; n <= 9; n++)
                    if (wrong(gates, units, K, n)) {
                        printf("%d gates, %d units, K %d, %d rows\\n", gates, (int)units, (int)K, (int)n);
                        return 1;
                    }
    return 0;
}
"""


@pytest.mark.skipif(not (shutil.which(COMPILER) and SOURCE.is_dir()), reason="no C compiler, or no sources")
def test_products_of_one_to_four_gates(tmp_path):
    (tmp_path / "panels.c").write_text(PROGRAM)
    build = [COMPILER, "-O1", "-w", f"-I{SOURCE}", "panels.c", "-o", "panels", "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True)
    run = subprocess.run([tmp_path / "panels"], stdout=subprocess.PIPE, text=True, check=False)
    assert not run.returncode, run.stdout


@pytest.mark.parametrize("gates", [0, 5, 7])
def test_more_gates_than_a_panel_holds_are_refused(gates):
    with pytest.raises(ValueError, match=f"gates is {gates}, but"):
        scratch_size(3, 2, 4, 5, gates, "float32")
    with pytest.raises(ValueError, match=f"gates is {gates}, but"):
        panels_size(4, 5, gates, "float32")


@pytest.mark.parametrize("gates", [1, 2, 5])
def test_an_lstm_of_other_gates_is_refused(gates):
    x, states = np.ones((2, 1, 3), np.float32), np.zeros((3, 1, 4), np.float32)
    weights = [np.ones(shape, np.float32) for shape in ((gates * 4, 3), (gates * 4, 4), (gates * 4,))]
    scratch = np.empty(100_000, np.float32)
    with pytest.raises(ValueError, match=f"rows for {gates} gates, but an LSTM has 4"):
        kernels.lstm_forward(x, None, *weights, states, states.copy(), None, scratch)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("H", [1, 3, 7])
@pytest.mark.parametrize("cell", ["elman-tanh", "skip-tanh-13", "lstm", "gru", "gru-before"])
def test_units_that_leave_a_panel_nearly_empty_have_the_bits_of_a_shorter_call(cell, H, dtype):
    # The first steps are a call of one chunk, which reads the weights where they are.
    long, short = Call(cell, Shape(9, 40, 33, H), dtype, 3), Call(cell, Shape(4, 40, 33, H), dtype, 3)
    for name in ("weights", "initial"):
        setattr(short, name, getattr(long, name))
    for name in ("x", "noise"):
        if (array := getattr(long, name)) is not None:
            setattr(short, name, array[:4].copy())
    want = long.forward(kernels)
    for name, array in short.forward(kernels).items():
        np.testing.assert_array_equal(want[name][: len(array)], array, name)
