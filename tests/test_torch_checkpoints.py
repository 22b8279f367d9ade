"""State dicts as they come: in checkpoints, with prefixes, of cells, normed, in half precision."""

import numpy as np
import pytest
from laws import assert_close
from test_interop_torch import H, I, draw_state

from rnncore import GRU, LSTM, Dense, Elman, Network
from rnncore.interop.torch import load_state_dict

GRU_STATE = draw_state("GRU", 1, reverse=False)
WANTED = load_state_dict(GRU_STATE).params.flat


def prefixed(prefix, state=GRU_STATE):
    return {f"{prefix}{name}": value for name, value in state.items()}


HEAD = {"head.weight": np.ones((2, H), "f4"), "head.bias": np.ones(2, "f4")}
NORM = {"bn.running_mean": np.ones(2, "f4"), "bn.num_batches_tracked": np.array(3)}


@pytest.mark.parametrize(
    "source",
    [{"epoch": 3, "state_dict": GRU_STATE, "loop": {"at": 1}}, {"step": 1, "model_state": GRU_STATE}],
)  # fmt: skip
def test_a_state_dict_in_a_checkpoint(source):
    net = load_state_dict(source)
    assert net.params.flat.tobytes() == WANTED.tobytes()
    assert not net.training


def test_a_checkpoint_that_does_not_say_which():
    with pytest.raises(ValueError, match=r"several state dicts, 'model', 'net': .*source\['model'\]"):
        load_state_dict({"net": GRU_STATE, "model": GRU_STATE})
    with pytest.raises(TypeError, match=r"epoch of the source is a int.*pass the state dict in it"):
        load_state_dict({"epoch": 3})


@pytest.mark.parametrize("prefix", ["rnn.", "module.rnn.", "model.encoder.rnn."])
def test_a_recurrent_part_is_taken_out_by_name(prefix):
    state = {**HEAD, **NORM, **prefixed(prefix)}
    for name in ("rnn", prefix.removesuffix(".")):
        assert load_state_dict(state, names=[name]).params.flat.tobytes() == WANTED.tobytes()
    net = load_state_dict(state, Network(GRU(I, H), Dense(H, 2)), names=["rnn", "head"])
    assert (net.params["1.bias"] == 1).all()
    with pytest.raises(ValueError, match=rf"the source holds .*'head', .*'{prefix[:-1]}'.*names="):
        load_state_dict({**HEAD, **prefixed(prefix)})
    with pytest.raises(ValueError, match=r"'bn.running_mean' belongs to a batch norm.*names="):
        load_state_dict(state, Network(GRU(I, H), Dense(H, 2)))
    with pytest.raises(
        ValueError, match=r"2 layers with parameters, .*'head'.* but the network 1: pass names="
    ):
        load_state_dict({**HEAD, **prefixed(prefix)}, Network(GRU(I, H)))


def test_a_name_that_may_be_several():
    state = {**prefixed("a.rnn."), **prefixed("b.rnn.")}
    with pytest.raises(ValueError, match=r"names has 'rnn', but that may be any of 'a.rnn', 'b.rnn'"):
        load_state_dict(state, names=["rnn"])
    with pytest.raises(ValueError, match=r"names has 'lstm', but the source has 'a.rnn', 'b.rnn'"):
        load_state_dict(state, names=["lstm"])


def test_a_cell_is_a_module_of_one_level():
    cell = {name.removesuffix("_l0"): value for name, value in GRU_STATE.items()}
    assert (
        load_state_dict(prefixed("decoder.", cell), names=["decoder"]).params.flat.tobytes()
        == WANTED.tobytes()
    )


def normed(state, way):
    """Each matrix as g v / |v|."""
    found = {}
    for name, value in state.items():
        if value.ndim != 2:
            found[name] = value
            continue
        g = np.linalg.norm(value.astype("f8"), axis=1, keepdims=True)
        pair = {"g": g.astype("f4"), "v": (value * np.float32(1.5)).astype("f4")}
        for part, array in pair.items():
            other = f"parametrizations.{name}.original{'gv'.index(part)}"
            found[f"{name}_{part}" if way == "old" else other] = array
    return found


@pytest.mark.parametrize("way", ["old", "new"])
def test_weight_norm_is_folded(way):
    state = prefixed("rnn.", normed(GRU_STATE, way))
    assert_close(load_state_dict(state, names=["rnn"]).params.flat, WANTED, 1e-6)
    (first, *_) = (name for name in state if name.endswith(("_v", "original1")))
    del state[first]
    if way == "new":
        with pytest.raises(ValueError, match=r"the weight norm of 'rnn.weight_ih_l0' lacks v"):
            load_state_dict(state)


def test_another_parametrization_is_to_be_removed_first():
    for name in ("rnn.weight_hh_l0_orig", "rnn.parametrizations.weight_hh_l0.original"):
        with pytest.raises(ValueError, match=rf"'{name}' belongs to .* remove it first"):
            load_state_dict({**prefixed("rnn."), name: np.ones((3 * H, H), "f4")})


def test_sixteen_bits_are_widened_and_said():
    half = {name: value.astype("f2") for name, value in GRU_STATE.items()}
    with pytest.warns(UserWarning, match="4 arrays of the source, 'weight_ih_l0' among them, have 16 bits"):
        net = load_state_dict(half)
    assert net.params["0.weight_ih"].tobytes() == half["weight_ih_l0"].astype("f4").tobytes()


def test_what_torch_itself_makes_of_them():
    torch = pytest.importorskip("torch")
    modules = torch.nn.ModuleDict({
        "rnn": torch.nn.RNN(I, H, nonlinearity="relu"), "cell": torch.nn.LSTMCell(I, H),
        "normed": torch.nn.utils.parametrizations.weight_norm(torch.nn.LSTM(I, H), "weight_hh_l0"),
    })  # fmt: skip
    x = np.random.default_rng(0).standard_normal((4, 3, I)).astype("f4")
    net = load_state_dict(modules, names=["rnn"])
    assert isinstance(net.layers[0], Elman)
    assert_close(net.forward(x)[0], modules["rnn"](torch.from_numpy(x))[0].detach().numpy(), 1e-5)
    net = load_state_dict(modules, names=["normed"])
    assert_close(net.forward(x)[0], modules["normed"](torch.from_numpy(x))[0].detach().numpy(), 1e-5)
    net = load_state_dict(modules, Network(LSTM(I, H)), names=["cell"])
    h, _ = modules["cell"](torch.from_numpy(x[0]))
    assert_close(net.forward(x[:1])[0][0], h.detach().numpy(), 1e-5)
    wide = {name: value.bfloat16() for name, value in modules["cell"].state_dict().items()}
    with pytest.warns(UserWarning, match="have 16 bits"):
        load_state_dict(wide)
