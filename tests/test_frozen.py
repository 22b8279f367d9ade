"""Frozen parameters keep their bits, whatever trains the network."""

import numpy as np
import pytest
from training import Source, make_trainer, text_network

from rnncore import SGD, Adam, AdamW, RMSprop, load, save
from rnncore.regularizers import L1, L2, Orthogonality

OPTIMIZERS = {
    "sgd": lambda: SGD(0.1, momentum=0.9),
    "rmsprop": lambda: RMSprop(1e-2),
    "adam": lambda: Adam(1e-2),
    "adamw": lambda: AdamW(1e-2, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_nothing_moves_what_is_frozen(optimizer, accumulate):
    """No optimizer, penalty or weight decay; all else moves."""
    net = text_network().freeze("*.weight_hh", "0.weight")
    assert net.frozen == ("0.weight", "1.weight_hh")
    before = {name: view.copy() for name, view in net.params.items()}
    trainer = make_trainer(
        net,
        OPTIMIZERS[optimizer](),
        regularizer=[L1(0.1), L2(0.1), Orthogonality(0.1)],
        accumulate=accumulate,
    )
    trainer.fit(Source(), steps=4)
    for name, view in net.params.items():
        assert np.array_equal(view, before[name]) == (name in net.frozen), name


def test_the_gradient_of_the_rest_is_as_before():
    """And its norm, which clipping and history see, is that of what can move."""
    net, frozen = text_network(), text_network().freeze("1.weight_hh")
    batch = next(Source().batches(0))
    for one in (net, frozen):
        y, _, tape = one.forward(batch.x)
        one.zero_grad()
        one.backward(np.ones_like(y), tape)
    assert not frozen.grads["1.weight_hh"].any()
    for name in net.params:
        if name != "1.weight_hh":
            np.testing.assert_array_equal(net.grads[name], frozen.grads[name])


def test_frozen_names_survive_a_file_and_can_thaw(tmp_path):
    net = text_network().freeze("1.*")
    save(net, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    assert loaded.frozen == net.frozen == tuple(name for name in net.params if name.startswith("1."))
    assert loaded.unfreeze().frozen == ()
    assert "frozen" not in loaded.config()


def test_freezing_twice_adds():
    net = text_network().freeze("1.bias").freeze("0.weight")
    assert net.frozen == ("0.weight", "1.bias")


def test_a_pattern_that_matches_nothing_is_refused():
    net = text_network()
    with pytest.raises(ValueError, match=r"'0\.weigth' matches none of the parameters 0\.weight"):
        net.freeze("1.*", "0.weigth")
    with pytest.raises(TypeError, match=r"a pattern is 3, but a name"):
        net.freeze("1.*", 3)
    assert net.frozen == ()


def test_a_run_with_other_frozen_parameters_is_not_resumed(tmp_path):
    path = tmp_path / "run.safetensors"
    make_trainer(text_network().freeze("1.bias"), checkpoint=path).fit(Source(), steps=2)
    with pytest.raises(ValueError, match="it was written with"):
        make_trainer(text_network(), checkpoint=path).fit(Source(), steps=4, resume=True)
