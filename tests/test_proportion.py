"""Work and memory in proportion to the file, whatever it holds: counted, not timed."""

import json
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from rnncore import files
from rnncore.cli.series import read_columns
from rnncore.data import Forecast, read_table
from rnncore.data.arrays import read_npz
from rnncore.files import load, read_tensors, save
from rnncore.layers import Dense, Dropout
from rnncore.network import Network


def lines_run(call):
    """How many lines of Python ``call`` runs, and how often list.count and the like compare."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class Counted(str):
    """A text that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def work(make, size):
    """Lines run by what ``make(size)`` returns."""
    return lines_run(make(size))


def layers_of(tmp_path):
    def make(size):
        path = tmp_path / f"{size}.safetensors"
        save(Network(*(Dropout(0.5) for _ in range(size)), Dense(1, 1)), path)
        return lambda: load(path)

    return make


def frozen_of(tmp_path):
    def make(size):
        path = tmp_path / f"{size}.safetensors"
        save(Network(*(Dense(1, 1) for _ in range(size))).freeze("*"), path)
        return lambda: load(path)

    return make


def columns_of(tmp_path):
    def make(size):
        path = tmp_path / f"{size}.csv"
        names = ",".join(f"c{n}" for n in range(size))
        path.write_text(f"{names}\n{','.join('1' * size)}\n{','.join('2' * size)}\n")

        def read():
            table = read_table(path)
            read_columns(table, table.number_columns())

        return read

    return make


@pytest.mark.parametrize("of", [layers_of, frozen_of, columns_of])
def test_twice_the_file_is_twice_the_work(of, tmp_path):
    make = of(tmp_path)
    assert work(make, 200) < 2.2 * work(make, 100)


def test_names_are_compared_in_proportion_to_their_number(tmp_path):
    """What runs inside list.count and ``in``, which no line shows."""

    def compared(size):
        names = [Counted(f"c{n}") for n in range(size)]
        Counted.compared = 0
        ones = (1.0,) * size
        Forecast(tuple(names), tuple(reversed(names)), 1, 1, 1, ones, ones, False).places  # noqa: B018
        return Counted.compared

    assert compared(200) <= 2.2 * compared(100) + 100


def test_columns_of_one_name_are_found_at_once(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(",".join(["a"] * 200_000) + "\n" + ",".join("1" * 200_000) + "\n")
    with pytest.raises(ValueError, match="more than one column 'a'"):
        read_table(path)


def memory(call):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot be read"):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("inner", [False, True], ids=["header", "metadata"])
@pytest.mark.parametrize("piece", ["[],", "{},", "1.5,", '"ab",'])
def test_a_header_of_many_values_is_refused_before_it_is_taken_apart(piece, inner, tmp_path):
    text = '{"a":[' + piece * (files.MAX_VALUES + 1) + "0]}"
    header = json.dumps({"__metadata__": {"rnncore": text}}) if inner else text
    path = tmp_path / "forged"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert memory(lambda: read_tensors(path)) < 6 * path.stat().st_size


def test_no_file_is_written_that_cannot_be_read(tmp_path):
    content = {"lists": [[] for _ in range(files.MAX_CONTAINERS)]}
    with pytest.raises(ValueError, match=r"cannot write .*brackets"):
        files.write_tensors(tmp_path / "file", {}, content)
    assert not list(tmp_path.iterdir())


# Arrays.


def npz(path, compress=True, **members):
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(shape, dtype="<f4", data=b""):
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def test_what_numpy_writes_is_read(tmp_path, rng):
    arrays = {
        "x": rng.standard_normal((5, 3, 2)).astype("f4"),
        "target": np.asfortranarray(rng.standard_normal((3, 4))),
        "lengths": np.array([5, 3, 1]),
        "other": np.arange(3),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        read = read_npz(tmp_path / "a.npz", ("x", "target", "lengths", "missing"))
        assert sorted(read) == ["lengths", "target", "x"]
        for name, array in read.items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)
            assert array.flags.c_contiguous
            assert array.flags.writeable


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path):
    path = npz(tmp_path / "bomb.npz", x=npy((20_000_000,), data=bytes(80_000_000)))
    assert path.stat().st_size < 500_000
    assert memory(lambda: read_npz(path, ["x"])) < 1_000_000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_whose_stream_says_what_memory_it_takes_are_refused(method, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", npy((2,), data=bytes(8)))
    with pytest.raises(ValueError, match=rf"a\.npz cannot be read as \.npz: .*method {method}"):
        read_npz(path, ["x"])


HOSTILE = {
    "a claim": npy((10**12,)),
    "a claim beyond all numbers": npy((2**62, 2**62)),
    "a negative size": npy((-1, 4)),
    "objects": npy((1,), "|O", b"12345678"),
    "nothing at all": npy((2**62,), "|V0"),
    "a type that is none": npy((1,), "what"),
    "a type of the wrong kind": npy((1,), 3),
    "a shape of text": npy("ab"),
    "a shape of fractions": npy((1.5,)),
    "too many axes": npy((1,) * 65, data=b"1234"),
    "code": b"\x93NUMPY\x01\x00\x10\x00__import__('os')",
    "brackets without end": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192,
    "no header": b"\x93NUMPY\x01\x00\xff\xff{}",
    "another version": b"\x93NUMPY\x09\x00\x02\x00{}",
    "no magic": b"data",
    "nothing": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_array_is_one_clear_error(case, tmp_path):
    path = npz(tmp_path / "a.npz", x=HOSTILE[case])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as \.npz: "):
        read_npz(path, ["x"])


def test_a_damaged_archive_is_one_clear_error(tmp_path, rng):
    np.savez_compressed(tmp_path / "whole.npz", x=rng.standard_normal(300), target=np.arange(300))
    whole = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
        try:
            read_npz(path, ["x", "target"])
        except ValueError as error:
            assert str(error).startswith(f"{path} cannot be read as .npz: ")  # noqa: PT017
