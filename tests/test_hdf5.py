"""The reader of HDF5 reads what h5py writes, and of anything else makes one clear error in bounded work."""

import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnncore.interop.hdf5 import File

h5py = pytest.importorskip("h5py")

ASCII = st.text(st.characters(codec="ascii", exclude_characters="/\0."), min_size=1, max_size=40)
ANY = st.characters(exclude_characters="/\0.", exclude_categories=["Cs"])
NAMES = st.text(ANY, min_size=1, max_size=40)
TEXTS = st.lists(st.text(ANY, max_size=30), max_size=12)


@st.composite
def groups(draw, depth=2):
    """A group as dictionaries of groups, arrays and attributes."""
    members = {}
    small, large = st.lists(NAMES, max_size=4, unique=True), st.lists(ASCII, max_size=20, unique=True)
    for name in draw(large if depth == 2 else small):
        if depth and draw(st.booleans()):
            members[name] = draw(groups(depth - 1))
        else:
            shape = draw(st.lists(st.integers(0, 4), max_size=3))
            numbers = np.arange(np.prod(shape)).reshape(shape)
            members[name] = numbers.astype(draw(st.sampled_from(["f4", "f8"])))
    return members, draw(st.dictionaries(NAMES, TEXTS, max_size=6))


def write(group, tree):
    members, attributes = tree
    for name, texts in attributes.items():
        group.attrs[name] = np.array([text.encode() for text in texts] or [b""])
        group.attrs[name + "~"] = texts or [""]
    for name, member in members.items():
        if isinstance(member, tuple):
            write(group.create_group(name), member)
        else:
            group[name] = member


def assert_read(file, item, tree):
    members, attributes = tree
    found = file.members(item)
    assert sorted(found) == sorted(members)
    for name, texts in attributes.items():
        for attribute in (name, name + "~"):
            assert [text.decode() for text in file.texts(item, attribute)] == (texts or [""])
    assert file.texts(item, "missing\0") is None
    for name, member in members.items():
        if isinstance(member, tuple):
            assert_read(file, found[name], member)
        else:
            np.testing.assert_array_equal(file.array(found[name], name), member, strict=True)


@given(tree=groups())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_h5py_writes_is_read(tmp_path, tree):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        write(file, tree)
    file = File(path.read_bytes())
    assert_read(file, file.root, tree)


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
def test_small_groups_of_every_layout_are_read_and_large_ones_too_or_refused(libver, tmp_path):
    inner = ({"c": np.zeros(2, "f4")}, {"t": ["x", "yz"]})
    small = ({"a": np.arange(6.0).reshape(2, 3), "b": inner}, {"u": ["v"]})
    large = ({f"array {number}": np.full(3, number, "f4") for number in range(50)}, {})
    for tree in (small, large):
        path = tmp_path / "file.h5"
        with h5py.File(path, "w", libver=libver) as made:
            write(made, tree)
        file = File(path.read_bytes())
        if tree is large and libver != "earliest":
            with pytest.raises(ValueError, match="links in a heap"):
                file.members(file.root)
        else:
            assert_read(file, file.root, tree)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file with all that there is to read, its bytes."""
    path = tmp_path_factory.mktemp("hdf5") / "file.h5"
    inner = ({"array": np.arange(8, dtype="f4")}, {"names": ["a", "b"] * 4})
    members = {f"group {number}": inner for number in range(12)}
    with h5py.File(path, "w") as file:
        write(file, (members, {"config": ["x" * 3000]}))
    return path.read_bytes()


def read_all(data):
    """All that can be reached, and what was wrong."""
    seen = 0
    with suppress(ValueError):
        file = File(data)
        items = [file.root]
        for item in items:
            for attribute in ("config", "config~", "names", "names~"):
                seen += sum(map(len, file.texts(item, attribute) or []))
            for name, member in file.members(item).items():
                if member is not None and len(items) < 1000:
                    items.append(member)
                    with suppress(ValueError):
                        seen += file.array(member, name).nbytes
    return seen


def work(call, most):
    """Run it, and fail after so many lines of Python."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        assert count < most, "it takes too much work"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


def test_damaged_bytes_take_bounded_work_and_memory(sound, rng):
    interesting = [0, 1, 0x7F, 0x80, 0xFF]
    tracemalloc.start()
    try:
        for _ in range(150):
            data = bytearray(sound)
            for _ in range(rng.integers(1, 4)):
                place = int(rng.integers(len(data)))
                if rng.random() < 0.5:
                    data[place] = rng.choice(interesting)
                else:
                    value = rng.choice([0, 8, place, len(data) - 1, 2**31, 2**63 - 1]).item()
                    data[place // 8 * 8 : place // 8 * 8 + 8] = value.to_bytes(8, "little")
            work(lambda: read_all(bytes(data)), 100 * len(sound))  # noqa: B023
        assert tracemalloc.get_traced_memory()[1] < 20 * len(sound)
    finally:
        tracemalloc.stop()


def test_circles_end(sound):
    """Every place that the file refers to, made to point at what refers to it."""
    words = np.frombuffer(sound[: len(sound) // 8 * 8], "<u8")
    places = np.flatnonzero((words > 0) & (words < len(sound)))
    for place in places[:100]:
        data = bytearray(sound)
        for target in (8 * int(place), 0, 96):
            data[8 * place : 8 * place + 8] = target.to_bytes(8, "little")
            work(lambda: read_all(bytes(data)), 100 * len(sound))  # noqa: B023
