"""rnncore.torch's modules are PyTorch's: outputs, gradients, state dicts, and what autograd asks of them."""

import copy
import io
import pickle
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence  # noqa: E402

import rnncore  # noqa: E402
import rnncore.torch as ours  # noqa: E402
from rnncore import cells, layers  # noqa: E402

torch.set_num_threads(1)  # what is this small, threads only slow down

T, B, I, H = 6, 3, 4, 5
KINDS = ("RNN", "LSTM", "GRU")
OPTIONS = [
    {},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"bias": False, "bidirectional": True},
    {"num_layers": 3, "bias": False},
]


def pair(kind, dtype=torch.float64, **options):
    """PyTorch's module and ours with the same weights."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(I, H, dtype=dtype, **options)
    own = getattr(ours, kind)(I, H, dtype=dtype, **options)
    own.load_state_dict(theirs.state_dict())
    return theirs, own


def tensors(result):
    """All tensors of a module's result."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result if part is not None for tensor in tensors(part)]


def states(module, rows=(B,)):
    """Initial states that require gradients."""
    levels = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or H, H] if module.mode == "LSTM" else [H]
    found = [torch.randn(levels, *rows, width, dtype=torch.float64).requires_grad_() for width in widths]
    return found[0] if len(found) == 1 else tuple(found)


def gradients(module, inputs, leaves):
    """Outputs, and gradients of a loss that weighs every number of them differently."""
    found = tensors(module(*inputs))
    loss = sum(
        (t * torch.arange(t.numel(), dtype=t.dtype).view(t.shape).cos()).sum()
        for t in found
        if t.is_floating_point()
    )
    return found + list(torch.autograd.grad(loss, [*leaves, *module.parameters()], retain_graph=True))


def assert_same(kind, inputs, leaves, **options):
    theirs, own = pair(kind, **options)
    for a, b in zip(gradients(theirs, inputs, leaves), gradients(own, inputs, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def random_x(*shape):
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(
    "options", [*OPTIONS, {"nonlinearity": "relu"}, {"proj_size": 2, "num_layers": 2}], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_pytorchs(kind, options):
    if ("nonlinearity" in options and kind != "RNN") or ("proj_size" in options and kind != "LSTM"):
        pytest.skip("not an option of this module")
    theirs, _ = pair(kind, **options)
    x, hx = random_x(B, T, I) if theirs.batch_first else random_x(T, B, I), states(theirs)
    assert_same(kind, (x, hx), [x, *tensors(hx)], **options)
    assert_same(kind, (x,), [x], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_without_a_batch(kind):
    x, hx = random_x(T, I), states(pair(kind)[0], ())
    assert_same(kind, (x, hx), [x, *tensors(hx)])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences(kind, options):
    rows = [random_x(length, I) for length in (2, 6, 1, 4)]
    hx = states(pair(kind, **options)[0], (4,))
    packed = pack_sequence(rows, enforce_sorted=False)
    assert_same(kind, (packed, hx), [*rows, *tensors(hx)], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_strided_and_expanded_inputs(kind):
    wide = random_x(T, B, 2 * I)
    assert_same(kind, (wide[..., ::2],), [wide])
    one = random_x(T, 1, I)
    assert_same(kind, (one.expand(T, B, I),), [one])


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_levels_is_drawn_as_nn_dropout_draws(kind):
    _, own = pair(kind, num_layers=2, dropout=0.5)
    single = [pair(kind)[1], getattr(ours, kind)(H, H, dtype=torch.float64)]
    for level, module in enumerate(single):
        module.load_state_dict(
            {n: own.state_dict()[n.replace("l0", f"l{level}")] for n in module.state_dict()}
        )
    x = random_x(T, B, I)
    torch.manual_seed(1)
    y = own(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(y, single[1](nn.functional.dropout(single[0](x)[0], 0.5))[0])
    own.eval()
    torch.testing.assert_close(own(x)[0], single[1](single[0](x)[0])[0])


@pytest.mark.parametrize(
    "options",
    [{"zoneout": 0.3}, {"recurrent_dropout": 0.4}, {"checkpoint_every": 2}, {"proj_size": 2}],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_options_that_pytorch_lacks(kind, options):
    if "proj_size" in options and kind != "LSTM":
        pytest.skip("not an option of this module")
    module = getattr(ours, kind)(2, 3, dtype=torch.float64, **options)

    def call(x, *weights):
        torch.manual_seed(2)  # the same masks each time
        names = [name for name, _ in module.named_parameters()]
        return tuple(
            tensors(torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,)))
        )

    x = torch.randn(3, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *module.parameters()))


def test_clip_step_shortens_what_goes_back():
    plain, _ = pair("GRU")
    clipped = ours.GRU(I, H, dtype=torch.float64, clip_step=1e-3)
    clipped.load_state_dict(plain.state_dict())
    x = random_x(T, B, I)
    first = [torch.autograd.grad(module(x)[1].sum(), x)[0][0] for module in (plain, clipped)]
    assert first[1].norm() < 0.1 * first[0].norm()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_gradients_asked_for(kind):
    _, own = pair(kind)
    own.weight_hh_l0.requires_grad_(False)
    x = random_x(T, B, I).detach()
    own(x)[0].sum().backward()
    assert own.weight_hh_l0.grad is None
    assert own.weight_ih_l0.grad is not None
    once = own.weight_ih_l0.grad.clone()
    own(x)[0].sum().backward()
    torch.testing.assert_close(own.weight_ih_l0.grad, 2 * once)
    with torch.no_grad():
        assert own(x)[0].grad_fn is None
    with torch.inference_mode():
        assert own(x)[0].is_inference()


def test_what_changes_in_place_before_the_way_back_is_an_error():
    _, own = pair("LSTM")
    x = random_x(T, B, I)
    for change in ("x", "y", "weight"):
        y = own(x.clone() if change != "x" else (own_x := x * 1))[0]
        with torch.no_grad():
            {"x": own_x, "y": y, "weight": own.weight_hh_l0}[change].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_second_derivatives_are_refused_by_name():
    _, own = pair("GRU")
    x = random_x(T, B, I)
    (dx,) = torch.autograd.grad(own(x)[0].pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"rnncore\.torch\.GRU has no second derivative"):
        dx.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_copies_pickles_and_files(kind):
    _, own = pair(kind, num_layers=2)
    x = random_x(T, B, I)
    file = io.BytesIO()
    torch.save(own, file)
    file.seek(0)
    for other in (copy.deepcopy(own), pickle.loads(pickle.dumps(own)), torch.load(file, weights_only=False)):
        assert type(other) is type(own)
        torch.testing.assert_close(other(x)[0], own(x)[0], rtol=0, atol=0)


def test_autocast_computes_in_the_weights_dtype():
    _, own = pair("LSTM", torch.float32)
    x = torch.randn(T, B, I)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = own(x.bfloat16())[0]
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, own(x.bfloat16().float())[0])


def test_dtypes_devices_and_shapes_are_refused_by_name():
    _, own = pair("LSTM", torch.float32)
    with pytest.raises(TypeError, match=r"input is torch\.float64; expected torch\.float32"):
        own(random_x(T, B, I))
    with pytest.raises(TypeError, match="on meta; expected the CPU"):
        own(torch.empty(T, B, I, device="meta"))
    with pytest.raises(RuntimeError, match="Expected 4, got 5"):
        own(torch.zeros(T, B, I + 1))
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        own(torch.zeros(T, B, I), (torch.zeros(1, B, H + 1), torch.zeros(1, B, H)))
    with pytest.raises(TypeError, match=r"are torch\.bfloat16"):
        own.bfloat16()(torch.zeros(T, B, I))
    with pytest.raises(ValueError, match="zoneout"):
        ours.GRU(I, H, zoneout=1.5)


class Tagger(nn.Module):
    """A convolution in front, a recurrent module, a packed one, a subclass of someone's own."""

    class Own(nn.GRU):
        pass

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(I, I, 3, padding=1)
        self.rnn = nn.LSTM(I, H, num_layers=2, batch_first=True)
        self.last = nn.GRU(H, H, bidirectional=True)
        self.own = self.Own(2 * H, 2)

    def forward(self, x):
        y = self.rnn(self.front(x).transpose(1, 2))[0]
        lengths = torch.full((y.shape[0],), y.shape[1])
        y = self.last(pack_padded_sequence(y, lengths, batch_first=True))[0]
        return self.own(y)[1]


def test_a_model_trained_half_way_goes_on_the_same_accelerated_and_restored():
    torch.manual_seed(0)
    plain = Tagger().double()
    model = copy.deepcopy(plain)
    x = random_x(B, I, T).detach()
    losses = []
    for each in (plain, model):
        optimizer = torch.optim.Adam(each.parameters(), 0.01)
        own = []
        for step in range(9):
            if each is model and step == 3:
                parameters = list(model.parameters())
                done = ours.accelerate(model)
                assert done["rnn"] == done["last"] == "accelerated"
                assert done["own"].startswith("left: Own is a subclass")
                assert type(model.rnn) is ours.LSTM
                assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
            if each is model and step == 6:
                assert ours.restore(model) == {"rnn": "restored", "last": "restored"}
                assert type(model.rnn) is nn.LSTM
            optimizer.zero_grad()
            loss = each(x).pow(2).sum()
            loss.backward()
            optimizer.step()
            own.append(loss.item())
        losses.append(own)
    assert losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)


def test_restore_leaves_what_pytorch_cannot_express():
    module = ours.LSTM(I, H, zoneout=0.1)
    assert ours.restore(module)[""].startswith("left: PyTorch has no")
    assert type(module) is ours.LSTM


def test_the_page_runs_as_printed():
    page = Path(__file__).resolve().parents[1] / "docs" / "pytorch.md"
    namespace = {"__name__": "__main__"}
    for source in re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        exec(source, namespace)
    assert type(namespace["model"].rnn) is nn.LSTM
    assert namespace["y"].shape == (8, 50, 32)


class Leaking(cells.Cell):
    """A cell of one's own, with two states."""

    def step(self, x, h, m):
        m = 0.9 * m + cells.tanh(self.linear("m", x, h))
        return cells.sigmoid(self.linear("o", x, h)) * m, m


RECURRENT = {
    "own": lambda: Leaking(2, 3),
    "learned": lambda: cells.MGU(2, 3, learn_initial_state=True),
    "both": lambda: layers.Bidirectional(cells.LayerNormLSTM(2, 3)),
    "leaky": lambda: layers.LeakyElman(2, 3, leak=0.3, noise=0.1),
    "peepholes": lambda: layers.LSTM(2, 3, peepholes=True, checkpoint_every=2, zoneout=0.2),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_any_recurrent_layer_is_a_module_with_its_gradients(name):
    module = ours.Recurrent(RECURRENT[name](), batch_first=True, dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]
    for parameter in module.parameters():
        nn.init.normal_(parameter)

    def call(x, *weights):
        torch.manual_seed(2)
        values = dict(zip(names, weights, strict=True))
        return tuple(tensors(torch.func.functional_call(module, values, (x, None, [3, 1]))))

    x = torch.randn(2, 3, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *module.parameters()))
    again = pickle.loads(pickle.dumps(module)).eval()
    torch.testing.assert_close(again(x)[0], module.eval()(x)[0], rtol=0, atol=0)


def test_a_recurrent_module_is_the_layer_in_a_network():
    module = ours.Recurrent(cells.MGU(I, H), dtype=torch.float64)
    net = rnncore.Network(cells.MGU(I, H), dtype="float64")
    for name, parameter in module.named_parameters():
        net.params[f"0.{name}"][...] = parameter.detach()
    x, h = random_x(T, B, I).detach(), torch.randn(B, H, dtype=torch.float64)
    y, final = module(x, h)
    expected = net.layers[0].forward(x.numpy(), h.numpy())
    torch.testing.assert_close(y.detach(), torch.from_numpy(expected[0]), rtol=0, atol=0)
    torch.testing.assert_close(final.detach(), torch.from_numpy(expected[1]), rtol=0, atol=0)
    with pytest.raises(TypeError, match=r"input of rnncore\.torch\.Recurrent is torch\.float32"):
        module(x.float())
    with pytest.raises(TypeError, match="layer is a Dense"):
        ours.Recurrent(layers.Dense(I, H))
