"""Weights travel between PyTorch's modules and ours, and back with the same bits."""

import os

import numpy as np
import pytest
from laws import assert_close
from safetensors.numpy import save_file

from rnncore import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, LastStep, Network
from rnncore.interop.torch import load_state_dict, state_dict
from rnncore.layers import LeakyElman

T, B, I, H = 5, 3, 4, 6


def draw_state(kind="GRU", levels=2, reverse=True, bias=True, dtype="float32", prefix="", seed=0):
    """A state dict as PyTorch lays it out, of NumPy arrays."""
    rng = np.random.default_rng(seed)
    rows = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * H
    state = {}
    for level in range(levels):
        inputs = I if level == 0 else H * (1 + reverse)
        for suffix in ("", "_reverse")[: 1 + reverse]:
            own = f"_l{level}{suffix}"
            state[f"{prefix}weight_ih{own}"] = rng.standard_normal((rows, inputs)).astype(dtype)
            state[f"{prefix}weight_hh{own}"] = rng.standard_normal((rows, H)).astype(dtype)
            if bias:
                state[f"{prefix}bias_ih{own}"] = rng.standard_normal(rows).astype(dtype)
                state[f"{prefix}bias_hh{own}"] = rng.standard_normal(rows).astype(dtype)
    return state


def assert_same_bits(got, want):
    assert list(got) == list(want)
    for name, array in want.items():
        assert np.asarray(got[name]).dtype == array.dtype, name
        assert np.asarray(got[name]).tobytes() == array.tobytes(), name


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_round_trip_returns_the_same_bits(kind, reverse, bias, dtype):
    state = draw_state(kind, 3, reverse, bias, dtype)
    state["weight_hh_l0"][0, 0] = -0.0
    net = load_state_dict(state, nonlinearity="relu" if kind == "RNN" else None)
    assert net.dtype == dtype
    assert_same_bits(state_dict(net), state)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_after_training_one_bias_is_the_sum(kind, rng):
    """The network that comes back computes the same, though its two biases are others."""
    net = load_state_dict(draw_state(kind, 2), nonlinearity="tanh")
    net.params.flat += rng.standard_normal(net.params.flat.size).astype(np.float32)
    state = state_dict(net)
    assert not any(state[f"bias_hh_l{level}"][: 2 * H].any() for level in range(2))
    again = load_state_dict(state, nonlinearity="tanh")
    assert again.params.flat.tobytes() == net.params.flat.tobytes()


def test_a_whole_model_goes_to_its_network_and_back():
    rng = np.random.default_rng(3)
    state = {"embedding.weight": rng.standard_normal((7, I))}
    state |= draw_state("LSTM", 2, reverse=False, dtype="float64", prefix="inner.rnn.")
    state |= {"head.weight": rng.standard_normal((2, H)), "head.bias": rng.standard_normal(2)}
    names = ("embedding", "inner.rnn", "head")

    def network():
        recurrent = LSTM(I, H), Dropout(0.3), LSTM(H, H)
        return Network(Embedding(7, I), *recurrent, LastStep(), Dense(H, 2), dtype="float64")

    net = load_state_dict(state, network())
    assert_same_bits(state_dict(net, names), state)
    shuffled = dict(reversed(state.items()))
    other = load_state_dict(shuffled, network(), names=names)
    assert other.params.flat.tobytes() == net.params.flat.tobytes()
    single = {name: state[name] for name in ("head.weight",)}
    dense = load_state_dict(single, Network(Dense(H, 2), dtype="float64"))  # nn.Linear(bias=False)
    assert_same_bits(state_dict(dense, ["head"]), single)
    with pytest.raises(ValueError, match=r"names are none, but .* the 3 modules: Embedding"):
        state_dict(net)


def test_a_safetensors_file_is_read_without_torch(tmp_path):
    state = draw_state("GRU", 2)
    save_file(state, tmp_path / "gru.safetensors")
    net = load_state_dict(tmp_path / "gru.safetensors")
    assert_same_bits(dict(sorted(state_dict(net).items())), dict(sorted(state.items())))


def changed(state, **entries):
    return {name: value for name, value in {**state, **entries}.items() if value is not None}


GRU_STATE = draw_state("GRU", 1, reverse=False)
CASES = {
    "a projection": (
        changed(GRU_STATE, weight_hr_l0=np.zeros((2, H), "f4")), {}, "'weight_hr_l0' .*projection"
    ),
    "whole numbers": (
        {name: value.astype("i4") for name, value in GRU_STATE.items()}, {}, "is int32, but"
    ),
    "a module without nonlinearity": (draw_state("RNN", 1), {}, "nonlinearity is None, but an nn.RNN needs"),
    "one bias": (changed(GRU_STATE, bias_hh_l0=None), {}, "has bias_ih, but bias_hh, bias_ih or none"),
    "no weights": ({}, {}, "holds no weights"),
    "another shape": (
        changed(GRU_STATE, weight_ih_l0=np.zeros((3 * H, I, 1), "f4")), {}, r"weight_ih \(18, 4, 1\)"
    ),
    "no gates": (changed(GRU_STATE, weight_hh_l0=np.zeros((2 * H, H), "f4")), {}, "no RNN, LSTM or GRU"),
    "a missing level": (
        {name.replace("l0", "l1"): value for name, value in GRU_STATE.items()}, {}, r"has levels \[1\]"
    ),
    "another name": (GRU_STATE, {"names": ["rnn"]}, "names has 'rnn', but the source has ''"),
    "several modules": (changed(GRU_STATE, **{"head.bias": np.zeros(2, "f4")}), {}, "pass net"),
    "another network": (GRU_STATE, {"net": Network(GRU(I + 1, H))}, r"wants weight_ih of shape \(18, 5\)"),
    "another cell": (GRU_STATE, {"net": Network(LSTM(I, H))}, "is wanted"),
    "more layers": (GRU_STATE, {"net": Network(GRU(I, H), GRU(H, H))}, "1 layers .* but the network 2"),
    "another dtype": (GRU_STATE, {"net": Network(GRU(I, H), dtype="float64")}, "computes in float64, but"),
    "another activation": (
        draw_state("RNN", 1, reverse=False),
        {"net": Network(Elman(I, H)), "nonlinearity": "relu"},
        "activation 'tanh', but the source's nonlinearity is 'relu'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused_and_changes_nothing(case):
    state, arguments, message = CASES[case]
    net = arguments.get("net")
    before = None if net is None else net.params.flat.copy()
    with pytest.raises(ValueError, match=message):
        load_state_dict(state, **arguments)
    assert net is None or np.array_equal(net.params.flat, before)


def test_what_torch_does_not_have_is_refused_by_name():
    for layer, message in [
        (Elman(2, 3, "sigmoid"), "activation='sigmoid'"),
        (Bidirectional(GRU(2, 3), merge="sum"), "merge='sum'"),
        (GRU(2, 3, reset_after=False), "reset_after=False"),
        (LSTM(2, 3, peepholes=True), "peepholes=True"),
        (Bidirectional(LSTM(2, 3, coupled=True)), "coupled=True"),
        (LeakyElman(2, 3, leak=0.5), "no such module"),
    ]:
        with pytest.raises(ValueError, match=message):
            state_dict(Network(layer))


def test_pickles_and_strangers_are_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(ValueError, match=r"model.pt cannot be read: it is pickled"):
        load_state_dict(tmp_path / "model.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match=r"cut.safetensors cannot be read"):
        load_state_dict(tmp_path / "cut.safetensors")
    path = tmp_path / "odd.safetensors"
    save_file({"a\nb.weight_ih_l0": np.zeros((4, 3), "f4")}, path)
    with pytest.raises(ValueError, match=r"odd.safetensors cannot be taken: 'a\\nb.l0' of the source"):
        load_state_dict(path)
    huge = {name: np.full_like(value, 3e38) for name, value in draw_state("GRU", 1, dtype="f4").items()}
    save_file(huge, path)
    assert np.isinf(load_state_dict(path).params["0.bias"]).any()  # taken as it comes, without a warning
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        load_state_dict(tmp_path / "pipe")
    with pytest.raises(TypeError, match="source is a list"):
        load_state_dict([1.0])
    with pytest.raises(TypeError, match="weight_ih_l0 of the source is a list"):
        load_state_dict({"weight_ih_l0": [1.0]})


MODULES = {
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", MODULES)
def test_a_live_module_and_its_network_agree(case, reverse, bias, rng):
    torch = pytest.importorskip("torch")
    kind, more = MODULES[case]
    torch.manual_seed(1)
    module = getattr(torch.nn, kind)(
        I, H, num_layers=3, bidirectional=reverse, bias=bias, dtype=torch.float64, **more
    )
    net = load_state_dict(module)
    x = rng.standard_normal((T, B, I))
    assert_close(net.forward(x)[0], module(torch.from_numpy(x))[0].detach().numpy(), 1e-12)
    before = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    module.load_state_dict(state_dict(net, tensors=True))
    assert_same_bits({name: value.numpy() for name, value in module.state_dict().items()}, before)


def test_a_projection_of_a_live_module_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="projection"):
        load_state_dict(torch.nn.LSTM(I, H, proj_size=2))
