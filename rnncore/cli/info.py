"""``rnncore info``: a model file, and the machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import click
import numpy as np

import rnncore.kernels.dispatch as dispatch
import rnncore.kernels.threads as threads

from ..data import Forecast, Task
from ..data.table import listed
from ..files import load
from ..version import __version__
from .terminal import echo

LIBRARIES = ("numpy", "scipy", "safetensors", "matplotlib")


@click.command()
@click.argument("model", required=False, type=click.Path(dir_okay=False))
def info(model: str | None) -> None:
    """Show what the file MODEL holds; without one, what this machine computes with."""
    rows = machine_rows() if model is None else model_rows(model)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        echo(f"{name:<{width}}  {value}".rstrip())


def machine_rows() -> list[tuple[str, str]]:
    """Names and values of what decides about speed."""
    import scipy.linalg.cython_blas  # noqa: F401  (its BLAS is the one that counts)
    from threadpoolctl import threadpool_info

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    others = ", ".join(name for name in dispatch.levels() if name != dispatch.level())
    rows = [
        ("rnncore", f"{__version__}, Python {platform.python_version()}"),
        ("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)),
        ("machine", f"{platform.system()} {platform.machine()}, {cores} cores for this process"),
        ("instruction set", f"{dispatch.level()} (RNNCORE_LEVEL chooses; also here: {others or 'no other'})"),
        ("kernel threads", f"{threads.get_num_threads()} (OMP_NUM_THREADS chooses)"),
    ]
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kind = f"{pool['internal_api']} {pool['version']}, {pool.get('architecture', 'unknown')}"
            rows.append(("BLAS", f"{kind}, {pool['num_threads']} threads, {pool['filepath']}"))
    return rows


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def model_rows(path: str) -> list[tuple[str, str]]:
    """Names and values of what is in a model file.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    net = load(path)
    rows = [
        ("file", f"{path}, {os.path.getsize(path):,} bytes"),
        ("parameters", f"{net.params.flat.size:,}, {net.dtype}"),
    ]
    for position, layer in enumerate(net.layers):
        rows.append((f"layer {position}", repr(layer)))
        shapes = layer.parameter_shapes()
        rows += [("", f"  {name:<10} {' x '.join(map(str, shape))}") for name, shape in shapes.items()]
    largest = np.abs(net.params.flat).max(initial=0)
    rows.append(("largest weight", f"{largest:.3g}"))
    rows += task_rows(net.task)
    vocabulary = net.vocabulary
    if vocabulary is not None:
        characters = "".join(vocabulary.to_list())
        shown = characters if len(characters) <= 120 else characters[:120] + "..."
        rows.append(("vocabulary", f"{len(vocabulary)} characters: {shown!r}"))
    return rows


def task_rows(task: Task | None) -> list[tuple[str, str]]:
    """Names and values of what a network's data are; nothing for None."""
    if task is None:
        return []
    if isinstance(task, Forecast):
        missing = ", and what of them is missing" if task.masked else ""
        read = f"{task.window} steps of {listed(task.columns)}{missing}"
        said = f"{task.horizon} steps of {listed(task.targets)}, season {task.season}"
        when = [] if task.time is None else [("times", f"{task.time!r}, a row every {task.frequency}")]
        whose = [] if task.series is None else [("series", f"by {task.series!r}")]
        return [("reads", read), ("forecasts", said), *when, *whose]
    column = "" if task.text is None else f" of column {task.text!r}"
    read = f"{task.tokens.units}{column}, {len(task.tokens):,} ids"
    return [("reads", read), ("labels", f"{len(task.labels)}: {listed(task.labels)}")]
