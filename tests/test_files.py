"""Model files: what is saved comes back; what a stranger wrote is refused in one sentence, at no cost."""

import json
import os
import stat
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnncore import files
from rnncore.data import Classification, Forecast, Tokens, Vocabulary
from rnncore.files import load, read_tensors, save, write_atomically, write_tensors
from rnncore.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    Layer,
    MeanPool,
    SkipElman,
)
from rnncore.network import Network


def network(dtype="float32", seed=3):
    return Network(
        Embedding(5, 3),
        Elman(3, 4, activation="relu"),
        GRU(4, 2),
        Dropout(0.25),
        LSTM(2, 3, forget_bias=0.5),
        LastStep(),
        Dense(3, 2),
        seed=seed,
        dtype=dtype,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model file and its bytes."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save(Network(Embedding(3, 2), GRU(2, 2), Dense(2, 3), seed=7), path)
    return path, path.read_bytes()


def content_of(path):
    return read_tensors(path)[1]


def equal(a, b):
    return a.config() == b.config() and a.params.flat.tobytes() == b.params.flat.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_load_is_the_inverse_of_save(dtype, tmp_path):
    path = tmp_path / "model.safetensors"
    net = network(dtype)
    net.params.flat[:] = np.random.default_rng(0).standard_normal(net.params.flat.size)
    net.params.flat[:3] = np.nan, np.inf, -0.0
    save(net, path)
    loaded = load(path)
    assert equal(net, loaded)
    assert loaded.vocabulary is None
    assert repr(loaded) == repr(net)
    net.params.flat[:3] = loaded.params.flat[:3] = 1
    ids = np.array([[0, 1], [4, 2], [3, 3]], np.int32)
    assert np.array_equal(loaded.eval().forward(ids)[0], net.eval().forward(ids)[0])
    loaded.params.flat += 1  # its memory is its own, and writable


def test_every_public_layer_can_be_saved(tmp_path):
    sized = [kind(2, 2) for kind in (Elman, LSTM, GRU, Dense, Embedding)]
    for layer in [*sized, Dropout(0.5), LastStep(), LastStep(bidirectional=True), MeanPool()]:
        assert type(layer).__name__ in files.LAYERS
        save(Network(layer), tmp_path / "one.safetensors")
        assert repr(load(tmp_path / "one.safetensors").layers[0]) == repr(layer)


TASKS = [
    Classification(Tokens("words", ["a", "ü"]), ("no", "yes"), "text", "label"),
    Forecast(("a", "b"), ("b",), 5, 3, 12, (0.1, 1e300), (2.0, 1 / 3), True),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_task_travels_with_the_network(task, tmp_path):
    path = tmp_path / "model.safetensors"
    save(network(), path, task=task)
    loaded = load(path)
    assert loaded.task == task
    save(loaded, path)  # and goes on with it
    assert load(path).task == task


def test_the_vocabulary_travels_with_the_network(tmp_path):
    path = tmp_path / "model.safetensors"
    vocabulary = Vocabulary.from_text('nañ "\\\n🙂\x00')
    save(network(), path, vocabulary=vocabulary)
    loaded = load(path)
    assert loaded.vocabulary.to_list() == vocabulary.to_list()
    save(loaded, path)  # and goes on with it
    assert load(path).vocabulary.to_list() == vocabulary.to_list()


def test_equal_networks_make_equal_files(tmp_path):
    for name in ("a", "b"):
        save(network(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_tools_can_read_the_tensors(model):
    from safetensors.numpy import load_file

    path, _ = model
    tensors = load_file(path)
    net = load(path)
    assert set(tensors) == set(net.params)
    assert all(np.array_equal(tensors[name], net.params[name]) for name in tensors)


class Stranger(Layer):
    """A layer that the library does not know."""


def test_a_layer_that_cannot_be_read_back_is_not_saved(tmp_path):
    path = tmp_path / "model.safetensors"
    impostor = type("Dense", (Layer,), {})
    for layer in (Stranger(), impostor()):
        with pytest.raises(ValueError, match="layer 0 is a"):
            save(Network(layer), path)
    assert not path.exists()


# Writing.


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(KeyboardInterrupt):
                write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_bytes_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "file", b"data")
    assert events[:2] == ["fsync", "replace"]


def test_permissions_and_links_stay(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    write_atomically(real, b"1")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, b"2")
    assert link.is_symlink()
    assert real.read_bytes() == b"2"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing" / "file"):
        with pytest.raises(OSError, match=path.name):
            write_atomically(path, b"data")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


# Reading what a stranger wrote.


def refused(path, match, reader=load):
    with pytest.raises(ValueError, match=match) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path} cannot be read: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    return caught.value


def raw(path, header, data=b""):
    """Write a file with this header, byte by byte."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_refused_or_change_nothing(model, tmp_path, data):
    path, original = model
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the places in the first half of the header, where the structure is.
        places = st.integers(0, max(len(damaged) - 1, 0)) | st.integers(0, min(600, max(len(damaged) - 1, 0)))
        place = data.draw(places)
        kind = data.draw(st.sampled_from(["flip", "set", "truncate", "extend", "insert", "delete"]))
        if kind == "flip" and damaged:
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set" and damaged:
            damaged[place] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789[]{}",:\\'))
        elif kind == "truncate":
            del damaged[place:]
        elif kind == "extend":
            damaged += data.draw(st.binary(min_size=1, max_size=40))
        elif kind == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=40))
        else:
            del damaged[place : place + data.draw(st.integers(1, 16))]
    target = tmp_path / "damaged"
    target.write_bytes(damaged)
    try:
        loaded = load(target)
    except ValueError as error:
        assert str(error).startswith(f"{target} cannot be read: ")  # noqa: PT017
    else:
        assert equal(loaded, load(path))


SIZES = st.sampled_from([10**12, 2**63, 10**400, -1, 0])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | SIZES | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places_in(value, path=()):
    """Every place in a JSON value, as the keys that lead to it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places_in(inner, (*path, key))


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_hostile_architecture_is_refused_or_fits_the_tensors(model, tmp_path, data):
    """The forger computes the digest as we do; any part of the content may be anything."""
    path, _ = model
    tensors, content = read_tensors(path)
    place = data.draw(st.sampled_from([place for place in places_in(content) if place]))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()) or isinstance(inner, list):
        inner[place[-1]] = data.draw(JSON)
    else:
        inner[data.draw(st.sampled_from(["hidden_size", "type", "self", "", "__class__"]))] = data.draw(JSON)
    target = tmp_path / "hostile"
    write_tensors(target, tensors, content)
    try:
        loaded = load(target)
    except ValueError as error:
        assert str(error).startswith(f"{target} cannot be read: ")  # noqa: PT017
    else:
        assert loaded.params.flat.tobytes() == load(path).params.flat.tobytes()


def edited(path, target, change):
    """A copy of a model file whose architecture ``change`` has edited, with the digest that belongs to it."""
    tensors, content = read_tensors(path)
    change(tensors, content)
    write_tensors(target, tensors, content)


def layer(place, **changes):
    return lambda tensors, content: content["architecture"]["layers"][place].update(changes)


def tensor(name, value):
    return lambda tensors, content: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (layer(1, type="os.system"), "its layer 1 is of type 'os.system'; known are"),
        (layer(1, type="Layer"), "its layer 1 is of type 'Layer'"),
        (layer(1, type=["GRU"]), "its layer 1 is of type"),
        (layer(1, hidden_size=10**9), r"its tensor '1.weight_ih' is .*asks for .*\(3000000000, 2\)"),
        (layer(1, hidden_size=10**30), "its layer 1, GRU, is impossible: hidden_size is 10*, but at most"),
        (layer(1, hidden_size=0), "its layer 1, GRU, is impossible: hidden_size is 0"),
        (layer(1, hidden_size="2"), "its layer 1, GRU, is impossible: hidden_size is '2'"),
        (layer(1, colour="red"), "its layer 1, GRU, is impossible: .*colour"),
        (layer(2, out_features=4), r"its tensor '2.weight' is float32 \(3, 2\), but .* \(4, 2\)"),
        (lambda t, c: c["architecture"]["layers"].clear(), "belongs to no layer"),
        (lambda t, c: c["architecture"]["layers"].append({"type": "Dense"}), "its layer 3, Dense, is imp"),
        (lambda t, c: c["architecture"].update(layers="GRU"), "its architecture is no JSON object with"),
        (lambda t, c: c["architecture"].update(dtype="float16"), "it has dtype 'float16'"),
        (lambda t, c: c["architecture"].update(dtype="float64"), "is float32 .* asks for float64"),
        (lambda t, c: c["architecture"].update(seed=-1), "it has seed -1"),
        (lambda t, c: c.update(kind="something else"), "it is of kind 'something else'"),
        (lambda t, c: c.update(version=2), "it has version 2; 1 is known"),
        (lambda t, c: c.update(vocabulary=[1, 2]), "its vocabulary is no list of texts"),
        (lambda t, c: c.update(vocabulary="ab"), "its vocabulary is no list of texts"),
        (lambda t, c: c.update(vocabulary=["a", "a"]), "its vocabulary is impossible: .*'a'"),
        (lambda t, c: c.update(vocabulary=["a", "b" * 10**6]), "its vocabulary is impossible: char"),
        (lambda t, c: c.update(task=[]), "its task is impossible: the task is 'None'"),
        (lambda t, c: c.update(task={"task": "forecast"}), "its task is impossible: columns are no list"),
        (lambda t, c: c.update(task={**TASKS[0].to_dict(), "labels": ["a"]}), "impossible: labels"),
        (lambda t, c: t.pop("1.bias"), "it lacks tensor '1.bias'"),
        (tensor("3.bias", np.zeros(2, np.float32)), "its tensor '3.bias' belongs to no layer"),
        (tensor("2.bias", np.zeros(3, np.float64)), "its tensor '2.bias' is float64"),
        (tensor("2.bias", np.zeros(3, np.int32)), "its tensor '2.bias' is int32"),
        (tensor("2.bias", np.zeros((3, 1), np.float32)), r"its tensor '2.bias' is float32 \(3, 1\)"),
    ],
)  # fmt: skip
def test_an_architecture_that_does_not_fit_gets_one_clear_error(model, tmp_path, change, message):
    path, _ = model
    target = tmp_path / "edited.safetensors"
    edited(path, target, change)
    refused(target, message)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in both directions"])
@pytest.mark.parametrize("delay", [10**7, 10**8, 2**31 - 1, 2**32 + 1, 2**63 - 1, 2**63, 10**4000])
def test_a_state_that_no_tensor_pays_for_is_refused(delay, inside, tmp_path):
    """A delay multiplies the state, and nothing else: it is bounded by what the file holds."""
    layer = SkipElman(2, 4, delays=(1, 2))
    path = tmp_path / "model.safetensors"
    save(Network(Bidirectional(layer) if inside else layer), path)

    def change(tensors, content):
        found = content["architecture"]["layers"][0]
        (found["layer"] if inside else found)["delays"] = [1, delay]

    edited(path, path, change)
    refused(path, "layer 0, .*(bytes of state for each row|delay is .*at most)|not valid JSON|metadata")


def test_what_is_saved_can_be_loaded_also_with_long_delays(tmp_path):
    path = tmp_path / "model.safetensors"
    save(Network(SkipElman(2, 4, delays=(1, 10**6))), path)
    assert load(path).layers[0].delays == (1, 10**6)
    with pytest.raises(ValueError, match=r"layer 0, SkipElman.*keeps 160000000 bytes of state"):
        save(Network(SkipElman(2, 4, delays=(1, 10**7))), path)


def entry(shape, stop, dtype="F32", start=0):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": entry([10**12], 4 * 10**12)}, b"", "claim 4000000000000 bytes, but 0 follow"),
        ({"a": entry([2**62, 4], 0)}, b"", "bytes, but 0 follow"),
        ({"a": entry([0, 2**63 - 1, 2**63 - 1], 0)}, b"", "cannot be read"),
        ({"a": entry([2], 4)}, b"12345678", "offset"),
        ({"a": entry([1], 8, start=4)}, b"1234", "offset"),
        ({"a": entry([1], 4), "b": entry([1], 4)}, b"12345678", "offset"),
        ({"a": entry([1], "x" * 5000)}, b"1234", "cannot be read"),
        ({"a": entry([-1], 4)}, b"1234", "has shape"),
        ({"a": entry([True], 4)}, b"1234", "has shape"),
        ({"a": entry([1.0], 4)}, b"1234", "has shape"),
        ({"a": entry([1] * 65, 4)}, b"1234", "has shape"),
        ({"a": entry("2", 4)}, b"1234", "has shape"),
        ({"a": entry([1], 4, dtype="F8")}, b"1234", "has dtype 'F8'"),
        ({"a": entry([1], 4, dtype=[])}, b"1234", "has dtype"),
        ({"a": 3}, b"", "is described by int"),
        (b"[]", b"", "its header is a JSON list"),
        (b"", b"", "its header is not valid JSON"),
        (b'{"a": 1, "a": 2}', b"", "a key stands twice"),
        (b'{"a":' * 50_000, b"", "nested too deeply"),
        (b'{"a":' * 100_001, b"", "its header has 100001 brackets and 0 commas, but at most 100000"),
        (b'{"a":' + b"9" * 5000 + b"}", b"", "its header is not valid JSON"),
        (b"\xff\xfe{}", b"", "its header is not valid JSON"),
        ({"__metadata__": []}, b"", "its metadata is not"),
        ({"__metadata__": {"rnncore": 3}}, b"", "its metadata is not"),
        ({"__metadata__": {"rnncore": "{"}}, b"", "is not valid JSON"),
        ({"__metadata__": {"rnncore": "[" * 50_000}}, b"", "nested too deeply"),
        ({"__metadata__": {"rnncore": '{"content": []}'}}, b"", "its metadata is a JSON list"),
    ],
)  # fmt: skip
def test_a_forged_header_gets_one_clear_error(tmp_path, header, data, message):
    raw(tmp_path / "forged", header, data)
    refused(tmp_path / "forged", message, read_tensors)


@pytest.mark.parametrize("depth", range(100, 1100, 50))
def test_no_depth_of_metadata_breaks_the_reader(tmp_path, depth):
    """Reading it nests one way, its digest another: neither may run out of stack."""
    nested = '{"content":{"a":' + "[" * depth + "]" * depth + "}}"
    raw(tmp_path / "deep", {"__metadata__": {"rnncore": nested}})
    with pytest.raises(ValueError, match="cannot be read"):
        read_tensors(tmp_path / "deep")


def test_what_is_no_file_of_ours_gets_one_clear_error(tmp_path):
    for size, message in [(0, "it has 0 bytes"), (7, "it has 7 bytes"), (8, "no .safetensors file")]:
        (tmp_path / "short").write_bytes(b"\xff" * size)
        refused(tmp_path / "short", message)
    os.mkfifo(tmp_path / "pipe")  # must not wait for a writer
    refused(tmp_path / "pipe", "it is no regular file")
    raw(tmp_path / "foreign", {})
    refused(tmp_path / "foreign", "it was not written by rnncore.save")
    with pytest.raises(OSError, match="directory"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path / "missing")


def test_nothing_is_allocated_from_a_claim(model, tmp_path):
    """A gigabyte of holes, sizes of 10^12: what is refused costs no more memory than its header."""
    path, original = model
    claims = [tmp_path / "units", tmp_path / "header", tmp_path / "shape", tmp_path / "holes"]
    edited(path, claims[0], layer(1, hidden_size=10**12))
    claims[1].write_bytes((2**60).to_bytes(8, "little") + original[8:])
    raw(claims[2], {"a": entry([10**12], 4 * 10**12)}, b"1234")
    raw(claims[3], {"a": entry([2**28], 2**30)})
    os.truncate(claims[3], claims[3].stat().st_size + 2**30)
    for claim in claims:
        tracemalloc.start()
        refused(claim, "cannot be read")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_a_changed_number_is_noticed(model, tmp_path):
    _, original = model
    (tmp_path / "changed").write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    refused(tmp_path / "changed", "does not match its digest")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3,), "net is a int"),
        ((None, "abc"), "vocabulary is a str"),
        ((None, None, {}), "task is a dict"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, arguments, words):
    net = Network(Dense(2, 1))
    first, *others = arguments
    path = tmp_path / "model.safetensors"
    with pytest.raises(TypeError, match=words):
        save(net if first is None else first, path, *others)
    assert not path.exists()


def test_a_message_is_one_line_whatever_it_quotes(model, tmp_path):
    tensors, content = read_tensors(model[0])
    for name in ("a\nb", "\x1b[2J", "x" * 5000):
        broken = json.loads(json.dumps(content))
        broken["architecture"]["layers"][1][name] = 1
        path = tmp_path / "broken.safetensors"
        write_tensors(path, tensors, broken)
        with pytest.raises(ValueError, match=r"broken.safetensors cannot be read") as caught:
            load(path)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
