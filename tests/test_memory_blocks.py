"""Memory that is kept for reuse is never handed out while anything can see it, and stays bounded."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.kernels.memory import empty, memory_in_use, release_memory

LARGE = 40_000  # bytes; below 8192 NumPy's own allocator serves


@pytest.fixture(autouse=True)
def _nothing_kept():
    gc.collect()
    release_memory()
    yield
    gc.collect()
    release_memory()


def address(array):
    return array.__array_interface__["data"][0]


VIEWS = {
    "the array": lambda a: a,
    "a slice": lambda a: a[5:9],
    "a reversed view": lambda a: a[::-1],
    "a reshaped view": lambda a: a.reshape(2, -1)[1],
    "another type": lambda a: a.view(np.uint8),
    "a view of a view": lambda a: a[10:][10:][10:],
    "a memoryview": memoryview,
    "a slice of a memoryview": lambda a: memoryview(a)[3:7],
    "an array over a memoryview": lambda a: np.frombuffer(memoryview(a), np.float32),
    "a broadcast": lambda a: np.broadcast_to(a, (3, a.size)),
}


@pytest.mark.parametrize("view", VIEWS)
def test_memory_that_a_view_sees_is_not_reused(view):
    array = empty((LARGE // 4,), np.float32)
    array[:] = np.arange(array.size)
    seen = VIEWS[view](array)
    before = np.array(seen)
    place, size = address(array), array.nbytes
    del array
    gc.collect()
    others = [empty((LARGE // 4,), np.float32) for _ in range(5)]
    for other in others:
        other[:] = -1
        assert not place <= address(other) < place + size
    assert np.array_equal(np.array(seen), before)


def test_memory_that_nothing_sees_is_reused():
    first = empty((LARGE,), np.uint8)
    place = address(first)
    del first
    second = empty((LARGE,), np.uint8)
    assert address(second) == place


@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 200_000), st.sampled_from(["float32", "float64", "int8"]), st.integers(0, 9)
        ),
        max_size=60,
    )
)
@settings(max_examples=40)
def test_live_arrays_never_overlap(steps):
    """Whatever is taken and dropped in whatever order, each live array keeps what was written into it."""
    live = {}
    for number, (size, dtype, slot) in enumerate(steps):
        array = empty((size,), dtype)
        array[:] = number % 100
        live[slot] = (array, number % 100)
        for other, value in live.values():
            assert np.all(other == value)


KEEPS_WITHIN_THE_PEAK = """
import numpy as np
from rnncore.kernels.memory import empty, memory_in_use
rng = np.random.default_rng(0)
live, peak = [], 0
for step in range(5000):
    live.append(empty((int(rng.integers(8192, 200_000)),), np.uint8))
    peak = max(peak, memory_in_use()[0])
    while len(live) > rng.integers(0, 8):
        live.pop(int(rng.integers(len(live))))
    in_use, kept = memory_in_use()
    assert in_use >= sum(array.nbytes for array in live)
    assert kept <= peak, (step, kept, peak)
assert 0 < peak < 8 * 204_800
"""


def test_kept_bytes_are_bounded_by_what_was_in_use_at_once():
    """However many sizes come by. In a process of its own, since the peak is the process's."""
    done = subprocess.run([sys.executable, "-c", KEEPS_WITHIN_THE_PEAK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_release_gives_everything_back():
    arrays = [empty((LARGE + 5000 * k,), np.uint8) for k in range(4)]
    in_use = memory_in_use()[0]
    assert in_use >= sum(array.nbytes for array in arrays)
    survivor = arrays.pop()
    survivor[:] = 7
    arrays.clear()
    assert memory_in_use()[1] > 0
    release_memory()
    assert memory_in_use()[1] == 0
    assert np.all(survivor == 7)


def test_the_owner_goes_with_its_last_view():
    array = empty((LARGE,), np.uint8)
    in_use = memory_in_use()[0]
    gone = weakref.ref(array)
    view = array[3:]
    del array
    assert gone() is None or memory_in_use()[0] == in_use
    del view
    assert memory_in_use()[0] <= in_use - LARGE


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (1,), (100, 100), (7, 11, 13)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "intp", "bool"])
def test_shape_type_and_order_are_those_asked_for(shape, dtype):
    array = empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == np.dtype(dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned


def test_blocks_lie_on_cache_lines():
    assert all(address(empty((size,), np.uint8)) % 64 == 0 for size in (8192, 10_001, 2**20, 5 * 2**20 + 3))


def test_a_request_that_cannot_be_met_is_a_memory_error():
    before = memory_in_use()
    with pytest.raises(MemoryError, match="bytes"):
        empty((2**58,), np.uint8)
    assert memory_in_use() == before


def test_threads_share_without_seeing_each_other():
    failures = []

    def work(number):
        rng = np.random.default_rng(number)
        for _ in range(300):
            arrays = [empty((int(size),), np.uint8) for size in rng.integers(8192, 100_000, 3)]
            for array in arrays:
                array[:] = number
            if not all(np.all(array == number) for array in arrays):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
