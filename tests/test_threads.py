"""Threads: how many there are, and that no number of them, nor a fork, changes what is computed."""

import os
import subprocess
import sys

import numpy as np
import pytest

import rnncore
from rnncore import GRU, LSTM, Elman, LeakyElman, Network

MASKED = {"recurrent_dropout": 0.3, "zoneout": 0.2}
CELLS = {
    "elman": Elman,
    "lstm": LSTM,
    "gru": GRU,
    "masked lstm": lambda *sizes: LSTM(*sizes, **MASKED),
    "masked leaky": lambda *sizes: LeakyElman(*sizes, leak=0.4, **MASKED),
    "masked reset before": lambda *sizes: GRU(*sizes, reset_after=False, **MASKED),
}
UNITS = 136  # an Elman pass over what `draw` gives is worth three threads, any other more


@pytest.fixture(autouse=True)
def restored_threads():
    before = rnncore.get_num_threads()
    yield
    rnncore.set_num_threads(before)


def step(cell, x, lengths=None):
    net = Network(CELLS[cell](x.shape[2], UNITS), seed=1)
    y, _, tape = net.forward(x, lengths=lengths)
    dx, _ = net.backward(np.cos(y), tape)
    return y, dx, net.grads.flat


def draw(steps=40, rows=9, inputs=33):
    return np.random.default_rng(5).standard_normal((steps, rows, inputs)).astype(np.float32)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_have_the_same_bits_at_every_thread_count(cell, level):
    results = []
    for threads in (1, 2, 3):
        rnncore.set_num_threads(threads)
        results.append(step(cell, draw()))
    for y, dx, _ in results[1:]:
        assert np.array_equal(y, results[0][0])
        assert np.array_equal(dx, results[0][1])


@pytest.mark.parametrize("lengths", [None, [40, 3, 17, 17, 1, 39, 40, 25, 8]], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_repeat_to_the_bit_at_a_thread_count(cell, lengths):
    for threads in (1, 2):
        rnncore.set_num_threads(threads)
        first, second = step(cell, draw(), lengths), step(cell, draw(), lengths)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_has_the_same_bits_alone_and_in_company(cell, level):
    x = draw()
    net = Network(CELLS[cell](x.shape[2], UNITS), seed=1).eval()
    together = net.forward(x)[0]
    for row in range(x.shape[1]):
        alone = net.forward(np.ascontiguousarray(x[:, row : row + 1]))[0]
        assert np.array_equal(alone[:, 0], together[:, row])


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match="n is 0"):
        rnncore.set_num_threads(0)


@pytest.mark.parametrize("number", [2.5, 2.0, True, "a", None])
def test_what_is_no_whole_number_of_threads_is_refused(number):
    before = rnncore.get_num_threads()
    with pytest.raises(TypeError, match=f"n is {number!r}, but a whole number is wanted"):
        rnncore.set_num_threads(number)
    assert rnncore.get_num_threads() == before


@pytest.mark.parametrize("number", [64, 65, 10**9, 10**30])
def test_more_threads_than_there_are_at_most_count_as_those(number):
    rnncore.set_num_threads(number)
    assert rnncore.get_num_threads() == 64
    rnncore.set_num_threads(np.int32(3))
    assert rnncore.get_num_threads() == 3


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("3", "3"), ("3,2", "3"), ("007", "7"), ("9" * 5000, "64"), ("no", None), ("0", None), ("00", None)],
)
def test_the_default_follows_omp_num_threads(wanted, expected):
    code = "import rnncore; print(rnncore.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": wanted}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert done.stdout.strip() == (expected or str(min(cores, 64)))


def test_another_thread_may_set_the_number_of_threads_during_a_call():
    """Chunks and shares follow from one look at it: memory measured for one number serves every other."""
    code = """if True:
        import threading, time
        import numpy as np, rnncore
        net = rnncore.Network(rnncore.LSTM(8, 32), seed=1)
        x = np.random.default_rng(1).standard_normal((1024, 16, 8)).astype(np.float32)
        expected, end = net.forward(x)[0], time.monotonic() + 3

        def turn():
            while time.monotonic() < end:
                for n in (1, 2, 3, 64):
                    rnncore.set_num_threads(n)

        other = threading.Thread(target=turn)
        other.start()
        while time.monotonic() < end:
            y, _, tape = net.forward(x)
            net.backward(y, tape)
            assert np.array_equal(y, expected)
        other.join()
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("cell", CELLS)
def test_memory_measured_at_one_number_of_threads_serves_every_other(cell):
    """Also for fewer steps, as a last segment has."""
    net = Network(CELLS[cell](33, 32), seed=1).eval()
    layer = net.layers[0]
    x = np.random.default_rng(5).standard_normal((400, 16, 33)).astype(np.float32)
    for measured in (1, 2, 3, 64):
        rnncore.set_num_threads(measured)
        scratch = layer._scratch(400, 16)
        layer._scratch = lambda steps, rows, scratch=scratch: scratch
        for threads in (1, 2, 3, 64):
            rnncore.set_num_threads(threads)
            for steps in (400, 37, 1):
                y, _, tape = net.forward(np.ascontiguousarray(x[:steps]))
                net.backward(y, tape)
        del layer._scratch


def test_a_scratch_that_is_too_small_is_refused_before_anything_is_written():
    net = Network(GRU(3, 17), seed=1)
    net.layers[0].two_products = False  # and so the memory is measured for another cell
    y, _, tape = net.forward(np.ones((40, 9, 3), np.float32))
    with pytest.raises(RuntimeError, match="bytes, but this call needs"):
        net.backward(y, tape)
    assert not net.grads.flat.any()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes():
    code = """if True:
        import os, numpy as np, rnncore
        rnncore.set_num_threads(2)
        net = rnncore.Network(rnncore.LSTM(64, 128))
        x = np.ones((50, 32, 64), np.float32)
        net.forward(x)
        child = os.fork()
        if not child:
            net.forward(x)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_hangs_nowhere_whatever_the_parents_threads_were_in():
    code = """if True:
        import os, threading, time, warnings
        import numpy as np, rnncore
        warnings.simplefilter("ignore")  # of Python about forks where there are threads
        rnncore.set_num_threads(2)
        x = np.ones((50, 32, 64), np.float32)
        made = rnncore.Network(rnncore.LSTM(64, 64), rnncore.Dense(64, 64), seed=1).eval()
        expected = made.forward(x)[0]
        going = True

        def work(seed):
            rng = np.random.default_rng(seed)
            runner = made.stream()
            while going:
                runner.run(x[0])
                made.params["1.bias"][0] = rng.standard_normal()
                made.stream()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            time.sleep(0.005)
            child = os.fork()
            if not child:
                net = rnncore.Network(rnncore.LSTM(64, 64, recurrent_init="orthogonal"), seed=1).eval()
                net.stream().run(x[0])
                made.stream()
                made.params["1.bias"][0] = 0
                same = np.array_equal(made.forward(x)[0], expected)
                os._exit(0 if same else 1)
            end = time.monotonic() + 20
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done or time.monotonic() > end:
                    break
                time.sleep(0.002)
            if not done:
                os.kill(child, 9)
            if status or not done:
                print("hung" if not done else f"ended with {status}", flush=True)
                os._exit(1)
        going = False
        for thread in threads:
            thread.join()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_imports_what_another_thread_was_importing(tmp_path):
    """What is imported on first use, such as rnncore.stream by net.stream()."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.3)\n")
    code = """if True:
        import os, signal, sys, threading, time, warnings
        import rnncore
        warnings.simplefilter("ignore")
        sys.path.insert(0, sys.argv[1])
        threading.Thread(target=__import__, args=("slow",)).start()
        while "slow" not in sys.modules:
            time.sleep(0.001)
        child = os.fork()
        if not child:
            signal.alarm(20)
            import slow
            os._exit(0)
        os._exit(os.waitpid(child, 0)[1] != 0)
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_no_lock_of_a_module_stays_locked_in_a_child():
    code = """if True:
        import os, sys, threading, time, warnings
        import rnncore, rnncore.diagnostics, rnncore.stream, rnncore.trainer, rnncore.sklearn, rnncore.interop
        warnings.simplefilter("ignore")
        kinds = type(threading.Lock()), type(threading.RLock())
        held = threading.Event()

        def locks():
            modules = [module for name, module in sys.modules.items() if name.startswith("rnncore")]
            found = [(module.__name__, *item) for module in modules for item in vars(module).items()]
            return [entry for entry in found if isinstance(entry[2], kinds)]

        def hold():
            for _, _, lock in locks():
                lock.acquire()
            held.set()
            time.sleep(60)

        assert len(locks()) >= 2
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if not child:
            locked = [entry for entry in locks() if not entry[2].acquire(timeout=0.1)]
            print(locked, flush=True)
            os._exit(len(locked))
        os._exit(os.waitpid(child, 0)[1] != 0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_prefetched_batches_end_with_an_error_in_a_child():
    code = """if True:
        import os, warnings
        from rnncore.data import Prefetch
        from rnncore.problems import Adding
        warnings.simplefilter("ignore")
        batches = Prefetch(Adding(10)).batches(0)
        next(batches)
        child = os.fork()
        if not child:
            try:
                for batch in batches:
                    pass
            except RuntimeError as error:
                os._exit(0 if "call batches again" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no /proc")
def test_workers_block_signals_and_leave_the_callers_mask():
    code = """if True:
        import os, signal
        import numpy as np, rnncore
        rnncore.set_num_threads(3)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        tasks = set(os.listdir("/proc/self/task"))
        rnncore.Network(rnncore.LSTM(64, 128)).forward(np.ones((50, 32, 64), np.float32))
        made = set(os.listdir("/proc/self/task")) - tasks
        assert len(made) == 2, made
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {*before, signal.SIGUSR1}
        for task in made:
            status = open(f"/proc/self/task/{task}/status").read()
            blocked = int(status.split("SigBlk:")[1].split()[0], 16)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
                assert blocked >> (number - 1) & 1, number
            assert not blocked >> (signal.SIGSEGV - 1) & 1
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
