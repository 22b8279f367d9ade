"""Cells written as their equations become C files that give what the stream gives."""

import numpy as np
import pytest
from gallery import GALLERY_CASES, case_id
from test_c_export import Model, check_against_the_stream, sequence

from rnncore import Dense, Network, cells
from rnncore.cells import Cell, clip, exp, log, sigmoid, sin, softplus, sqrt, tanh, where
from rnncore.interop import c

#: what a file has no form for, by name
REFUSED = {"LayerNormLSTM": "means", "LayerNormGRU": "means", "ProjectedLSTM": "more than one size"}


class Functions(Cell):
    """What the language has and no cell of the gallery uses."""

    def step(self, x, h):
        a = self.linear("a", x, h)
        b = where(a <= h, sin(a), clip(a, -0.5, 0.5)) + log(1.5 + sigmoid(a)) - sqrt(softplus(h))
        return tanh(self.linear("b", exp(-abs(b)), h) / (2 + b * b))


def agree(cell, folder, dtype="float32"):
    net = Network(cell, Dense(cell.features()[1], 2), seed=1, dtype=dtype).eval()
    check_against_the_stream(Model(net, folder), net, sequence(net))


@pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)
def test_the_gallery_in_c_agrees_with_the_stream(case, tmp_path):
    name, options, *_ = case
    cell = cells.GALLERY[name](3, 6, **options)
    reason = REFUSED.get(name) or ("more than one size" if {"rank", "backbone"} & {*options} else None)
    if reason is None:
        agree(cell, tmp_path)
        return
    with pytest.raises(ValueError, match=f"{name}.*{reason}"):
        c.export(Network(cell, seed=1), tmp_path / "model.c")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_and_zoneout_agree(dtype, tmp_path):
    agree(Functions(3, 7, zoneout=0.2), tmp_path, dtype)


def test_a_block_of_weights_is_of_one_equation(tmp_path):
    sizes = {}
    for cell in (cells.MGU(3, 6), cells.UGRNN(3, 6)):
        net = Network(cell, seed=1)
        c.export(net, tmp_path / "model.c", weights=tmp_path / f"{type(cell).__name__}.weights")
        sizes[type(cell).__name__] = (tmp_path / f"{type(cell).__name__}.weights").read_bytes()[16:24]
    assert len(set(sizes.values())) == 2
    assert np.all([len(head) == 8 for head in sizes.values()])
