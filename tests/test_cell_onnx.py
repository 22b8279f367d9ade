"""Cells written as their equations become ONNX models that ONNX Runtime runs to the same numbers."""

import numpy as np
import pytest
from gallery import GALLERY_CASES, case_id
from test_cell_c_export import Functions

from rnncore import Bidirectional, Dense, LastStep, MeanPool, Network, cells
from rnncore.cells import Cell, tanh

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from rnncore.interop.onnx import export  # noqa: E402


def agree(layers, folder, rng, lengths=False):
    net = Network(*layers, seed=1).eval()
    net.params.flat += 0.2 * rng.standard_normal(net.params.flat.size).astype(np.float32)
    export(net, folder / "model.onnx", lengths=lengths)
    session = runtime.InferenceSession(folder / "model.onnx")
    x = rng.standard_normal((7, 4, 3)).astype(np.float32)
    given = np.array([7, 2, 5, 1])
    expected = net.forward(x, lengths=given if lengths else None)[0]
    feeds = {"x": x} | ({"lengths": given.astype(np.int32)} if lengths else {})
    found = session.run(None, feeds)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)
def test_the_gallery_agrees_in_onnx_runtime(case, tmp_path, rng):
    name, options, *_ = case
    agree([cells.GALLERY[name](3, 6, **options)], tmp_path, rng)


@pytest.mark.parametrize("last", [LastStep, MeanPool, None], ids=["last", "mean", "all"])
def test_lengths_functions_zoneout_and_learned_states(last, tmp_path, rng):
    layers = [Functions(3, 6, zoneout=0.2, learn_initial_state=True), cells.MGU(6, 5)]
    layers += [] if last is None else [last()]
    agree([*layers, Dense(5, 2)] if last else layers, tmp_path, rng, lengths=True)


class Late(Cell):
    def step(self, x, h):
        return tanh(self.linear("a", x, self.delayed(h, 2)))


def test_what_has_no_form_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"Late.*delayed"):
        export(Network(Late(3, 5), seed=1), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"MGU.*both ways"):
        export(Network(Bidirectional(cells.MGU(3, 5)), seed=1), tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]
