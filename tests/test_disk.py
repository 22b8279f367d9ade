"""Writing files: whatever happens, the old or the new file is there, and nothing is left behind."""

import errno
import fcntl
import io
import os
import signal
import stat
import subprocess
import sys
import warnings

import pytest
from interrupting import places

from rnncore import disk
from rnncore.data import read_table, read_text
from rnncore.data.arrays import read_npz
from rnncore.data.table import read_lines
from rnncore.disk import check_writable, remove_abandoned, write_atomically
from rnncore.files import load, save
from rnncore.interop import keras as interop_keras
from rnncore.interop import torch as interop_torch
from rnncore.layers import Elman
from rnncore.network import Network


def left(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".tmp"))


def open_files():
    return len(os.listdir("/proc/self/fd"))


# A file object that an exception frees before it has a name is closed by Python, with this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_interrupt_anywhere_arrives_and_leaves_the_old_or_the_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    before = open_files()
    for arrived in places({disk.__file__}, lambda: write_atomically(path, b"new")):
        assert arrived  # and no other exception in its place
        assert path.read_bytes() in (b"old", b"new")
        assert os.listdir(tmp_path) == ["file"]
        assert open_files() == before
        path.write_bytes(b"old")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_interrupt_anywhere_leaves_no_file_open_for_reading(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"data")

    def read():
        with disk.reading(path) as file:
            file.read()

    before = open_files()
    for arrived in places({disk.__file__}, read):
        assert arrived
        assert open_files() == before


class Broken(io.BytesIO):
    """A file on a disk that fails after the first bytes."""

    def read(self, size=-1):
        if self.tell() or size < 0 or size > 8:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)

    readinto = readinto1 = read1 = read

    def fileno(self):
        return self.descriptor


READERS = {
    "a model": load,
    "a state dict": lambda path: interop_torch.load_state_dict(path),
    "arrays": lambda path: read_npz(path, ["x"]),
    "a table": read_table,
    "lines": read_lines,
    "a text": read_text,
    "a Keras file": lambda path: interop_keras.load(path),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_disk_that_cannot_be_read_names_the_file(reader, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(3000))
    system = io.open

    def broken(name, *arguments, **more):
        with system(name, "rb") as file:
            made = Broken(file.read())
        made.descriptor = os.open(path, os.O_RDONLY)
        descriptors.append(made.descriptor)
        return io.TextIOWrapper(made, "utf-8") if more.get("encoding") else made

    descriptors = []
    monkeypatch.setattr("builtins.open", broken)
    with pytest.raises(OSError, match="file") as caught:
        READERS[reader](path)
    monkeypatch.undo()
    for descriptor in descriptors:
        os.close(descriptor)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


def test_what_a_killed_writer_left_is_removed_by_the_next_save_or_load(tmp_path):
    path = tmp_path / "model.safetensors"
    net = Network(Elman(2, 3))
    save(net, path)
    program = (
        "import os, signal, sys\n"
        "from rnncore.disk import write_atomically\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(sys.argv[1], b'new')\n"
    )
    for again in (lambda: load(path), lambda: save(net, path), lambda: remove_abandoned(path)):
        killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert len(left(tmp_path)) == 1
        again()
        assert not left(tmp_path)
    assert load(path).config() == net.config()


def test_what_another_process_writes_and_what_others_named_alike_stays(tmp_path):
    path = tmp_path / "model"
    writing = tmp_path / ".model-0123456789ab.tmp"
    names = ".model-x.tmp", ".model2-0123456789ab.tmp", "model-0123456789ab.tmp"
    others = [tmp_path / name for name in names]
    for file in (writing, *others):
        file.write_bytes(b"")
    (tmp_path / ".model-000000000000.tmp").symlink_to(others[0])
    with open(writing, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(path, b"data")
        assert writing.exists()
    write_atomically(path, b"data")
    assert not writing.exists()
    assert all(other.exists() for other in others)
    assert (tmp_path / ".model-000000000000.tmp").is_symlink()


def test_a_writer_whose_temporary_file_is_taken_for_abandoned_takes_another(tmp_path, monkeypatch):
    path, lock, stolen = tmp_path / "file", disk._lock, []

    def steal(descriptor, name):
        if not stolen:
            stolen.append(name)
            os.unlink(name)
        return lock(descriptor, name)

    monkeypatch.setattr(disk, "_lock", steal)
    write_atomically(path, b"data")
    assert stolen
    assert path.read_bytes() == b"data"
    assert not left(tmp_path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_the_temporary_file_is_never_more_open_than_the_old_one(mode, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    modes = []
    create = os.open

    def note(name, flags, *arguments, **more):
        descriptor = create(name, flags, *arguments, **more)
        if flags & os.O_CREAT:
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    write_atomically(path, b"new")
    assert modes
    assert all(not found & ~mode for found in modes)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def refuse(code, when=lambda *_: True, instead=None):
    def call(*arguments, **more):
        if when(*arguments):
            raise OSError(code, os.strerror(code))
        return instead(*arguments, **more)

    return call


def test_a_mode_that_cannot_be_set_costs_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "chmod", refuse(errno.EPERM))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["open", "fsync"])
def test_a_folder_that_cannot_be_synchronized_costs_one_warning(name, tmp_path, monkeypatch):
    """As one without read permission, or on a file system that refuses."""
    path = tmp_path / "file"

    def of_folder(what, *_):
        return os.path.isdir(what)  # of a name that is there, or of a descriptor

    monkeypatch.setattr(os, name, refuse(errno.EACCES, of_folder, getattr(os, name)))
    with pytest.warns(RuntimeWarning, match=f"{path} is written") as caught:
        write_atomically(path, b"new")
    assert len(caught) == 1
    assert path.read_bytes() == b"new"
    assert not left(tmp_path)


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_or_broken_disk_names_the_path(name, code, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, name, refuse(code))
    with pytest.raises(OSError, match="file") as caught:
        write_atomically(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert path.read_bytes() == b"old"
    assert not left(tmp_path)


def test_a_write_that_stops_half_way_names_the_path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import resource, signal, sys\n"
        "from rnncore.disk import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(sys.argv[1], bytes(5000))\n"
        "except OSError as error: print(error.errno, error.filename)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"{errno.EFBIG} {path}"
    assert path.read_bytes() == b"old"
    assert not left(tmp_path)


def test_links_are_followed_or_refused_but_never_replaced(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    link, dangling, circle = (tmp_path / name for name in ("link", "dangling", "circle"))
    dangling.symlink_to(inside / "new")
    link.symlink_to(dangling)
    write_atomically(link, b"data")
    assert (inside / "new").read_bytes() == b"data"
    circle.symlink_to(circle)
    for write in (lambda: write_atomically(circle, b"data"), lambda: check_writable(circle)):
        with pytest.raises(OSError, match="circle") as caught:
            write()
        assert caught.value.errno == errno.ELOOP
    assert all(path.is_symlink() for path in (link, dangling, circle))


@pytest.mark.parametrize("path", ["/proc/x", "missing/x", "x" * 300])
def test_where_nothing_can_be_written_is_known_at_once(path, tmp_path):
    path = os.path.join(tmp_path, path)
    for write in (check_writable, lambda path: write_atomically(path, b"")):
        with pytest.raises(OSError, match="x") as caught:
            write(path)
        assert caught.value.filename == path


@pytest.mark.parametrize("name", ["x" * 255, "é" * 120, "𝛼" * 60, "a\nb"])
def test_every_name_that_a_file_can_have_can_be_written(name, tmp_path):
    check_writable(tmp_path / name)
    write_atomically(tmp_path / name, b"data")
    assert os.listdir(tmp_path) == [name]
