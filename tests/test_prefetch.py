"""Batches made ahead by a thread, and files that are mapped: the same batches, nothing left behind."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import Source, make_trainer, measured, text_network

from rnncore.data import MappedStream, Prefetch, TextStream, map_bytes


def threads():
    return sum(thread.name == "rnncore-prefetch" for thread in threading.enumerate())


class Counting:
    """Numbers as batches; knows how many were asked for, and fails at one of them."""

    def __init__(self, n=20, fails=None):
        self.n, self.fails, self.made = n, fails, 0

    def __len__(self):
        return self.n

    def batches(self, epoch, start=0):
        for number in range(start, self.n):
            if number == self.fails:
                raise KeyError(f"batch {number} of epoch {epoch}")
            self.made += 1
            yield number


@given(st.integers(0, 10), st.integers(0, 10), st.integers(1, 4))
def test_the_batches_are_those_of_the_source(n, start, depth):
    source = Counting(n)
    ahead = Prefetch(source, depth)
    assert len(ahead) == n
    assert list(ahead.batches(3, start)) == list(source.batches(3, start))
    assert not threads()


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_wait(depth):
    source = Counting()
    batches = Prefetch(source, depth).batches(0)
    assert next(batches) == 0
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert source.made <= depth + 2  # one read, depth that wait, one in the thread's hand
        time.sleep(0.01)
    batches.close()
    assert not threads()


def test_an_error_comes_where_its_batch_would_have():
    batches = Prefetch(Counting(fails=3)).batches(5)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="batch 3 of epoch 5"):
        next(batches)
    assert not threads()


def test_a_run_is_the_same_with_it_and_leaves_no_thread():
    plain, ahead = text_network(), text_network()
    a = make_trainer(plain).fit(Source(), steps=7)
    b = make_trainer(ahead).fit(Prefetch(Source()), steps=7)
    assert measured(a) == measured(b)
    np.testing.assert_array_equal(plain.params.flat, ahead.params.flat)
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:  # the generator ends when nobody holds it any more
        time.sleep(0.01)
    assert not threads()


def test_what_is_no_source_is_refused():
    with pytest.raises(TypeError, match="source is a list"):
        Prefetch([1, 2])
    with pytest.raises(ValueError, match="depth is 0"):
        Prefetch(Counting(), 0)


@given(st.integers(2, 200), st.integers(1, 12))
def test_mapped_rows_follow_one_another(n, rows):
    ids = np.arange(n)
    if n <= rows:
        with pytest.raises(ValueError, match="batch_size"):
            MappedStream(ids, rows)
        return
    stream = MappedStream(ids, rows)
    (batch,) = stream.batches(0)
    np.testing.assert_array_equal(batch.x.T.ravel(), ids[: stream.predictions])
    np.testing.assert_array_equal(batch.target, batch.x + 1)
    assert 0 <= n - 1 - stream.predictions < rows
    assert np.shares_memory(batch.x, ids)
    assert np.shares_memory(batch.target, ids)


def test_a_mapped_file_trains_as_its_bytes_do(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(bytes(np.random.default_rng(0).integers(0, 7, 241, np.uint8)))
    mapped = map_bytes(path)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    a, b = text_network(), text_network()
    make_trainer(a, bptt=10).fit(MappedStream(mapped, 8), steps=12)
    make_trainer(b, bptt=10).fit(TextStream(np.array(mapped, np.int32), 8), steps=12)
    np.testing.assert_array_equal(a.params.flat, b.params.flat)


def test_an_empty_or_missing_file_is_one_error(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty is empty"):
        map_bytes(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        map_bytes(tmp_path / "absent")
