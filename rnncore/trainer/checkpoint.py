"""Checkpoints: all that a training run needs to go on as if it had never stopped, in one .safetensors file.

The file is written atomically and read as a stranger's (see files.py). Whoever takes part in training and
changes with it, such as an optimizer or a schedule, is a *part*: it has ``state()``, a dictionary of numbers
and arrays, and ``load_state()``. Arrays become tensors, everything else JSON.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import LARGEST
from ..disk import Path
from ..files import Claims, read_tensors, write_tensors
from ..network import Network
from .history import History
from .segments import leaves, map_state

Array = NDArray[Any]

KIND = "rnncore training checkpoint"
VERSION = 2
MAX_DEPTH = 8  # a state is a tuple of layers' states, which are tuples of arrays


@dataclass
class Position:
    """Where a run stands: between two minibatches.

    ``window``, ``weight``, ``unit``, ``loss`` and ``penalty`` belong to the minibatches accumulated since the
    last update: how many, their valid steps (or the sum of these steps' weights), those of the first of them,
    the sum of the losses over their valid steps, and that of the penalties on activity.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    time: int = 0  # first step of the next segment in the batch
    window: int = 0
    weight: float = 0.0
    unit: float = 0.0
    loss: float = 0.0
    penalty: float = 0.0
    unvalidated: bool = False  # a validation is due, or was broken off
    best: float = float("inf")
    best_step: int = 0
    waited: int = 0  # validations since the best one
    seconds: float = 0.0


@dataclass
class Run:
    """All that changes while a network trains."""

    net: Network
    parts: dict[str, Any]  # name to object with state and load_state
    generators: dict[str, np.random.Generator]
    settings: dict[str, Any]  # what must be the same when the run is resumed
    lr: float  # that was given, before schedule or monitor changed it
    position: Position = field(default_factory=Position)
    carry: Any = None
    best_params: Array | None = None
    history: History = field(default_factory=History)


def save_checkpoint(path: Path, run: Run) -> None:
    """Write a run to a file, atomically.

    Raises
    ------
    OSError
        If the file cannot be written; one that stood there before is untouched.
    """
    tensors = {"params": run.net.params.flat, "history.steps": run.history.steps.array}
    tensors["history.validations"] = run.history.validations.array
    if run.position.window:
        tensors["grads"] = run.net.grads.flat
    if run.best_params is not None:
        tensors["best"] = run.best_params
    parts: dict[str, Any] = {}
    for name, part in run.parts.items():
        state = part.state()
        tensors |= {f"{name}.{key}": value for key, value in state.items() if isinstance(value, np.ndarray)}
        parts[name] = {
            "type": type(part).__name__,
            "state": {key: value for key, value in state.items() if not isinstance(value, np.ndarray)},
        }
    leaves: list[Array] = []

    def place(leaf: Array) -> int:
        leaves.append(leaf)
        return len(leaves) - 1

    carry = map_state(place, run.carry)
    tensors |= {f"state.{number}": leaf for number, leaf in enumerate(leaves)}
    metadata = {
        "kind": KIND,
        "version": VERSION,
        "layers": run.net.config()["layers"],
        "settings": run.settings,
        "lr": run.lr,
        "position": asdict(run.position),
        "parts": parts,
        "generators": {name: rng.bit_generator.state for name, rng in run.generators.items()},
        "carry": carry,
    }
    write_tensors(path, tensors, metadata)


def load_checkpoint(path: Path, run: Run) -> None:
    """Bring a run to where the file stands. All is checked first: after an error the run is as it was.

    The learning rate is that of the file, unless another one was given than when the file was written.

    Raises
    ------
    ValueError
        If the file is damaged, or comes from a run with another network, optimizer or setting.
    OSError
        If it cannot be opened.
    """

    def check(claims: Claims, metadata: dict[str, Any]) -> None:
        _check_match(metadata, run)
        flat = run.net.params.flat
        for name, (dtype, shape) in claims.items():
            alike = name in {"params", "grads", "best"} or name.startswith("optimizer.")
            if alike and (dtype != flat.dtype or shape != flat.shape):
                raise ValueError(
                    f"{name} is {dtype} {shape}, but the network's parameters are {flat.dtype} {flat.shape}"
                )

    tensors, metadata = read_tensors(path, check)
    try:
        _restore(run, tensors, metadata)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]  # what a stranger wrote
        raise ValueError(f"{os.fspath(path)} is a damaged checkpoint: {reason}") from error


def _short(value: Any) -> str:
    """What a stranger's file holds, as far as it fits into a message."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _check_match(metadata: Mapping[str, Any], run: Run) -> None:
    """The file is a checkpoint, and of a run like this one."""
    if metadata.get("kind") != KIND:
        raise ValueError("it is no training checkpoint of rnncore")
    if metadata.get("version") != VERSION:
        raise ValueError(f"it has version {_short(metadata.get('version'))}, but version {VERSION} is wanted")
    layers, own = metadata.get("layers"), run.net.config()["layers"]
    if layers != own:
        what = f"its layers are {_short(layers)}"
        if isinstance(layers, list) and len(layers) == len(own):
            place = next(n for n, layer in enumerate(layers) if layer != own[n])
            what = f"layer {place} is {_short(layers[place])}, here {own[place]}"
        raise ValueError(f"it belongs to another network: {what}")
    settings = metadata.get("settings")
    if settings != run.settings:
        raise ValueError(_difference(settings, run.settings))
    parts = metadata.get("parts")
    given = parts if isinstance(parts, dict) else {}
    kinds = {name: part.get("type") if isinstance(part, dict) else part for name, part in given.items()}
    wanted = {name: type(part).__name__ for name, part in run.parts.items()}
    if kinds != wanted:
        raise ValueError(_difference(kinds, wanted))


def _difference(written: Any, here: Mapping[str, Any]) -> str:
    """What two dictionaries do not have in common, as a message."""
    if not isinstance(written, dict):
        return f"it was written with {_short(written)}, but this run has {here}"
    names = [name for name in {**written, **here} if written.get(name) != here.get(name)]
    before, now = (", ".join(f"{name} {_short(of.get(name))}" for name in names) for of in (written, here))
    return f"it was written with {before}, but this run has {now}"


def _restore(run: Run, tensors: dict[str, Array], metadata: dict[str, Any]) -> None:
    position = _position(metadata["position"])
    states = {}
    for name, part in run.parts.items():
        arrays = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        states[name] = {**metadata["parts"][name]["state"], **arrays}
        copy.copy(part).load_state(states[name])  # load_state replaces, never writes into: shallow will do
    generators = metadata["generators"]
    for name in run.generators:
        np.random.default_rng(0).bit_generator.state = generators[name]
    carry = _carry(metadata["carry"], tensors)
    rows = next((leaf.shape[-2] for leaf in leaves(carry) if leaf.ndim > 1), 1)
    run.net._check_states("its carried state", carry, rows)
    history = History()
    history.steps.extend(_rows(tensors["history.steps"], len(history.steps.fields)))
    history.validations.extend(_rows(tensors["history.validations"], len(history.validations.fields)))
    params, grads, best = tensors["params"], tensors.get("grads"), tensors.get("best")
    if position.window and grads is None:
        raise ValueError("grads are missing")

    run.net.params.flat[...] = params
    run.net.grads.flat[...] = 0 if grads is None else grads
    for name, part in run.parts.items():
        part.load_state(states[name])
    for name, rng in run.generators.items():
        rng.bit_generator.state = generators[name]
    run.position, run.carry, run.best_params, run.history = position, carry, best, history
    given = metadata.get("lr")
    if not isinstance(given, float) or run.lr in (given, states["optimizer"].get("lr")):
        run.lr = given if isinstance(given, float) else run.lr
    else:
        run.parts["optimizer"].lr = run.lr


def _position(entries: Any) -> Position:
    """A position of the right types, or ValueError."""
    defaults = asdict(Position())
    if not isinstance(entries, dict) or set(entries) != set(defaults):
        raise ValueError(f"its position is {_short(entries)}")
    for entry in fields(Position):
        kind, value = type(defaults[entry.name]), entries[entry.name]
        if type(value) is not kind or (kind is int and not 0 <= value <= LARGEST):
            raise ValueError(f"its position has {entry.name} {_short(value)}")
    return Position(**entries)


def _carry(tree: Any, tensors: Mapping[str, Array], depth: int = 0) -> Any:
    """The carried state: numbers of tensors in lists, which JSON made of tuples."""
    if depth > MAX_DEPTH:
        raise ValueError(f"its carried state is nested more than {MAX_DEPTH} deep")
    if tree is None:
        return None
    if isinstance(tree, list):
        return tuple(_carry(part, tensors, depth + 1) for part in tree)
    return tensors[f"state.{int(tree)}"]


def _rows(array: Array, columns: int) -> Array:
    if array.ndim != 2 or array.shape[1] != columns or array.dtype != np.float64:
        raise ValueError(f"its history is {array.dtype} of shape {array.shape}")
    return array
