"""Model files carry equations: cells of the gallery by name, others as data checked when it is read."""

import json

import numpy as np
import pytest
from gallery import GALLERY_CASES, case_id

import rnncore
from rnncore import Bidirectional, Dense, Network, cells
from rnncore.cells import Cell, StoredCell, sigmoid, softplus, tanh, where


class Odd(Cell):
    """Everything that an equation may have: two sizes, a delay, noise, a split map, vectors, an antisymmetric
    map."""

    def state_sizes(self):
        return self.hidden_size, 3

    def step(self, x, h, p):
        a, b = self.split(self.linear("ab", x, h, size=2 * self.hidden_size), 2)
        scale = self.scalar("scale", 0.3)
        g = sigmoid(a) * scale + self.vector("shift", 0.1)
        n = tanh(b + self.antisymmetric("turn", self.delayed(h, 2), damping=0.1)) + self.noise(0.1)
        new = self.layer_norm("out", where(h < 0.2, g * h, softplus(n)))
        return new, tanh(self.linear("p", new, p, size=3, bias=False))


def outputs(net, x, lengths=None):
    return net.forward(x, lengths=lengths)[0]


@pytest.mark.parametrize("wrap", [lambda cell: cell, Bidirectional], ids=["one direction", "both"])
def test_a_cell_of_ones_own_comes_back_without_its_class(wrap, tmp_path, rng):
    layer = wrap(Odd(4, 6, zoneout=0.1))
    net = Network(layer, Dense(layer.features()[1], 2), seed=3).eval()
    net.params.flat += rng.standard_normal(net.params.flat.size).astype(np.float32) * 0.1
    x = rng.standard_normal((7, 3, 4)).astype(np.float32)
    rnncore.save(net, tmp_path / "net.safetensors")
    back = rnncore.load(tmp_path / "net.safetensors")
    assert back.params.names == net.params.names
    np.testing.assert_array_equal(outputs(back, x), outputs(net, x))
    rnncore.save(back, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()


def test_a_stored_cell_trains_like_the_cell(tmp_path, rng):
    net = Network(Odd(4, 6), seed=3).eval()
    rnncore.save(net, tmp_path / "net.safetensors")
    back = rnncore.load(tmp_path / "net.safetensors")
    x = rng.standard_normal((7, 3, 4)).astype(np.float32)
    for one in (net, back):
        one.grads.flat[:] = 0
        y, _, tape = one.forward(x, lengths=np.array([7, 3, 5]))
        one.backward(np.ones_like(y), tape)
    np.testing.assert_array_equal(net.grads.flat, back.grads.flat)
    assert back.grads.flat.any()


@pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)
def test_the_gallery_is_saved_by_name(case, tmp_path, rng):
    name, options, *_ = case
    net = Network(cells.GALLERY[name](3, 5, **options), seed=1).eval()
    rnncore.save(net, tmp_path / "net.safetensors")
    back = rnncore.load(tmp_path / "net.safetensors")
    assert type(back.layers[0]) is cells.GALLERY[name]
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(outputs(back, x), outputs(net, x))


@pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)
def test_every_equation_can_be_written_and_read(case, rng):
    name, options, *_ = case
    cell = cells.GALLERY[name](3, 5, **options)
    stored = StoredCell(**json.loads(json.dumps(cell.stored(False)[1])))
    assert stored.parameter_shapes() == cell.parameter_shapes()
    nets = [Network(layer, seed=1).eval() for layer in (cell, stored)]
    nets[1].params.flat[:] = nets[0].params.flat
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(outputs(nets[0], x), outputs(nets[1], x))


def mgu():
    return json.loads(json.dumps(cells.MGU(3, 5).stored(False)[1]))


HOSTILE = {
    "an unknown operation": lambda c: c["values"].__setitem__(-1, ["__import__", 0]),
    "a later value": lambda c: c["values"].__setitem__(2, ["tanh", 10]),
    "a negative place": lambda c: c["values"].__setitem__(2, ["tanh", -1]),
    "a place that is true": lambda c: c["values"].__setitem__(2, ["tanh", True]),
    "too few arguments": lambda c: c["values"].__setitem__(-1, ["add", 0]),
    "an enormous map": lambda c: c["values"].append(["linear", "z", 2**70, True, None, [0]]),
    "an enormous delay": lambda c: c["values"].append(["state", 0, 2**60]),
    "a name twice": lambda c: c["values"].append(["linear", "f", 5, True, None, [0]]),
    "a name that is none": lambda c: c["values"].append(["linear", "f\n", 5, True, None, [0]]),
    "no values": lambda c: c.update(values=[]),
    "values that are none": lambda c: c.update(values="abc"),
    "an output that is none": lambda c: c.update(outputs=[99]),
    "too many outputs": lambda c: c.update(outputs=[0] * 17),
    "a wrong number of outputs": lambda c: c.update(outputs=[0, 0]),
    "an output of another size": lambda c: c.update(outputs=[c["values"].index(["input"])]),
    "no states": lambda c: c.update(states=[]),
    "a state twice": lambda c: c.update(states=[["h", 5], ["h", 5]]),
    "a state of no size": lambda c: c.update(states=[["h", 0]]),
    "millions of values": lambda c: c.update(values=c["values"] * 1000),
    "a slice of nothing": lambda c: c["values"].append(["slice", 0, 5, 0]),
    "a name of the class that is none": lambda c: c.update(name="os.system('x')"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_equation_is_refused(change):
    config = mgu()
    change(config)
    with pytest.raises(ValueError, match=r"(?s).+"):
        StoredCell(**config)
