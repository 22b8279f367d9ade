"""What is tested is what users get: RNNCORE_TESTED names the folder that the package must come from."""

import importlib
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).resolve().parents[1]


def compiled_modules():
    return sorted(path.stem for path in (ROOT / "rnncore" / "kernels").glob("*.pyx"))


@pytest.mark.skipif("RNNCORE_TESTED" not in os.environ, reason="set by make test and make test-checked")
@pytest.mark.parametrize("name", ["rnncore", *(f"rnncore.kernels.{stem}" for stem in compiled_modules())])
def test_the_installed_package_is_tested(name):
    found = Path(importlib.import_module(name).__file__).resolve()
    assert found.is_relative_to(Path(os.environ["RNNCORE_TESTED"]).resolve())
    assert not found.is_relative_to(ROOT / "rnncore")


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("readelf") is None, reason="reads ELF files")
@pytest.mark.parametrize("stem", compiled_modules())
def test_compiled_modules_are_hardened(stem):
    """Addresses bound at the start and read-only since, guarded stacks, no search path of its own."""
    path = importlib.import_module(f"rnncore.kernels.{stem}").__file__
    command = ["readelf", "--wide", "--dynamic", "--program-headers", "--dyn-syms", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "GNU_RELRO" in said
    assert "BIND_NOW" in said
    assert "__stack_chk_fail" in said
    assert "RUNPATH" not in said
    assert "RPATH" not in said


@pytest.mark.parametrize("stem", compiled_modules())
def test_every_kernel_file_is_built(stem):
    path = Path(importlib.import_module(f"rnncore.kernels.{stem}").__file__)
    assert path.suffix in {".so", ".pyd"}


def test_what_other_packages_need_is_there():
    """Types for mypy, declarations for cimport, headers for the C compiler."""
    package = resources.files("rnncore")
    for name in ["py.typed", "kernels/__init__.pxd", "kernels/dispatch.pxd", "kernels/table.h"]:
        assert package.joinpath(name).is_file(), name


@pytest.mark.skipif("site-packages" not in rnncore.__file__, reason="built in place, or with symbols")
def test_it_takes_a_hundredth_of_a_framework():
    """PyTorch's CPU build takes 760 MB. What bytecode pip adds depends on the Python: it is not counted."""
    files = [path for path in Path(rnncore.__file__).parent.rglob("*") if path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 5_500_000


def test_the_best_level_is_in_force_and_a_lower_one_can_be():
    from rnncore.kernels import dispatch

    assert dispatch.levels()[-1] == "baseline"
    script = "from rnncore.kernels import dispatch; print(dispatch.level())"
    for level in dispatch.levels():
        environment = {**os.environ, "RNNCORE_LEVEL": level}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == level


def test_the_command_without_click_names_what_is_missing():
    script = "import runpy, sys; sys.modules['click'] = None; runpy.run_module('rnncore', {}, '__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'rnncore: click is not installed: pip install "rnncore[cli]"\n'


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("rnncore")
    except PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert rnncore.__version__ == installed
