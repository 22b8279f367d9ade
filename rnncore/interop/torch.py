"""Weights of PyTorch's nn.RNN, nn.LSTM, nn.GRU and their cells, of nn.Embedding and nn.Linear: in, and back.

PyTorch need not be installed to read a state dict from a ``.safetensors`` file or from NumPy arrays.

PyTorch keeps two biases, ``bias_ih`` and ``bias_hh``, where we keep their sum, which cannot be taken apart
again. So that a round trip returns the same bits, a layer remembers the two that it was given, for as long as
its bias is still their sum, bit for bit; after training ``bias_ih`` is the sum and ``bias_hh`` zero. The n
rows of a GRU are no sum: ``bias`` and ``bias_hn`` hold them apart, always. A copy of a network, or one read
from a file, remembers nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..data.table import listed
from ..disk import reading
from ..files import read_tensors
from ..layers import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, Layer
from ..network import Network
from .cells import REVERSE, directions, fill, options
from .state import State, as_arrays, fold_norms, unwrap

Array = NDArray[Any]
Path = str | os.PathLike[str]

KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}  # by the number of gates
NONLINEARITIES = ("tanh", "relu")
_RECURRENT = re.compile(r"(?P<prefix>.*?)(?P<name>(weight|bias)_(ih|hh|hr)_l(?P<level>\d{1,4})(_reverse)?)")


@dataclass(frozen=True)
class _Origin:
    """The biases a layer came with, by PyTorch's names without the level; empty where it had none."""

    biases: dict[str, Array]


_ORIGINS: WeakKeyDictionary[Layer, _Origin] = WeakKeyDictionary()


def load_state_dict(
    source: Any,
    net: Network | None = None,
    names: Sequence[str] | None = None,
    nonlinearity: str | None = None,
) -> Network:
    """Take the weights of PyTorch modules.

    Parameters
    ----------
    source
        A live module, a state dict (of tensors on the CPU or of arrays) or a checkpoint with one in it, or
        the path of a ``.safetensors`` file. Pickled files are not read: they can run code. Weight norm is
        folded; 16-bit numbers become float32, with a warning.
    net
        The network to fill, in the dtype of the weights; each of its layers with parameters takes the next
        of the source's modules, in the order of the state dict, a module of several levels one layer for
        each level.
        None makes a network, where the source is one nn.RNN, nn.LSTM, nn.GRU or cell of these, or where
        ``names`` takes one out of it. A network that is made is in evaluation mode.
    names
        The modules' names in the order of the layers of ``net``, such as ``("embedding", "rnn", "head")``,
        where the state dict has another order or more modules. A name may leave out what is in front of it,
        such as ``module.`` or ``model.``, where only one module is meant then.
    nonlinearity
        ``"tanh"`` or ``"relu"``: what a state dict does not say of nn.RNN. A live module says it itself.

    Returns
    -------
    net
        Time-major as ever: ``batch_first`` is a matter of the call, not of the weights.

    Raises
    ------
    TypeError, ValueError
        If the weights are no such modules', or do not fit; ``net`` is as before then.
    """
    state, module = _read(source)
    try:
        return _load(state, module, net, names, nonlinearity)
    except ValueError as error:
        if isinstance(source, (str, os.PathLike)):
            raise ValueError(f"{os.fspath(source)} cannot be taken: {str(error)[:500]}") from error
        raise


def _load(
    state: State, module: Any, net: Network | None, names: Sequence[str] | None, nonlinearity: str | None
) -> Network:
    groups = _group(state)
    if names is not None:
        groups = {prefix: groups[prefix] for prefix in (_find(name, groups) for name in names)}
    for prefix, group in groups.items():
        _check_group(prefix, group)
    if net is None:
        net = _make(groups, module, nonlinearity)
    parts = [part for prefix, group in groups.items() for part in _parts(prefix, group)]
    layers = [(place, layer) for place, layer in enumerate(net.layers) if layer.parameter_shapes()]
    if len(parts) != len(layers):
        raise ValueError(
            f"the source has {len(parts)} layers with parameters, {listed([label for label, _ in parts])}, "
            f"but the network {len(layers)}: pass names= with the modules that belong to it, in its order"
        )
    todo: list[tuple[str, Layer, State, _Origin]] = []
    for (place, layer), (label, group) in zip(layers, parts, strict=True):
        _check_nonlinearity(place, layer, nonlinearity or getattr(module, "nonlinearity", None))
        todo.append((f"layer {place}, {layer},", layer, *_to_ours(layer, group, f"{label!r} of the source")))
    # The first pass checks on scrap, so that a network is either filled or as before.
    for who, layer, values, _ in todo:
        fill({name: np.empty_like(view) for name, view in layer.params.items()}, values, who)
    for who, layer, values, origin in todo:
        fill(layer.params, values, who)
        _ORIGINS[layer] = origin
    return net


def state_dict(net: Network, names: Sequence[str] | None = None, tensors: bool = False) -> dict[str, Any]:
    """The network's weights under PyTorch's names.

    Parameters
    ----------
    net
        Recurrent layers of one kind that follow each other are the levels of one module.
    names
        A prefix for each module, such as ``("embedding", "rnn", "head")``, or for each layer that has
        parameters, where each is a module of its own. None where there is only one module.
    tensors
        True for torch tensors, which ``module.load_state_dict`` wants (needs PyTorch); False for NumPy
        arrays, which ``safetensors.numpy.save_file`` writes.

    Returns
    -------
    dict
        Copies. The biases are those that came, bit for bit, where the layer was filled by
        ``load_state_dict`` and not trained since; otherwise ``bias_ih`` is the sum and ``bias_hh`` zero.

    Raises
    ------
    ValueError
        If a layer has no counterpart in PyTorch, or ``names`` are not as many as the modules.
    """
    layers = [layer for layer in net.layers if layer.parameter_shapes()]
    modules = _modules(net)
    if names is not None and len(names) == len(layers):
        modules = [[layer] for layer in layers]
    if names is None and len(modules) == 1:
        names = ("",)
    if names is None or len(names) != len(modules):
        kinds = ", ".join(type(module[0]).__name__ for module in modules) or "none"
        came = "none" if names is None else len(names)
        raise ValueError(
            f"names are {came}, but one is wanted for each of the {len(modules)} modules: {kinds}"
        )
    found: dict[str, Any] = {}
    for name, module in zip(names, modules, strict=True):
        for level, layer in enumerate(module):
            found |= {f"{_prefix(name)}{own}": value for own, value in _to_theirs(layer, level).items()}
    if tensors:
        try:
            import torch
        except ModuleNotFoundError:
            raise ModuleNotFoundError("tensors=True needs PyTorch: pip install torch") from None
        return {name: torch.from_numpy(value) for name, value in found.items()}
    return found


def _prefix(name: str) -> str:
    return f"{name}." if name and not name.endswith(".") else name


def _read(source: Any) -> tuple[State, Any]:
    """The arrays of a source by name, and the live module if it is one."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with reading(path) as file:
            if file.read(2) in (b"PK", b"\x80\x02"):
                raise ValueError(
                    f"{path} cannot be read: it is pickled, which can run code; write it anew with "
                    "safetensors.torch.save_file(module.state_dict(), ...), of a TorchScript file by way of "
                    "torch.jit.load, or pass torch.load(path, weights_only=True) or torch.jit.load(path)"
                )
        try:
            tensors = read_tensors(path)[0]
        except TypeError as error:  # of the safetensors package, for what NumPy does not have
            raise ValueError(
                f"{path} cannot be read: it has numbers that NumPy does not know ({str(error)[:100]}): pass "
                "safetensors.torch.load_file(path)"
            ) from error
        return fold_norms(as_arrays(tensors)), None
    module = None
    if not isinstance(source, Mapping) and hasattr(source, "state_dict"):
        module, source = source, source.state_dict()
    if not isinstance(source, Mapping):
        came = type(source).__name__
        raise TypeError(f"source is a {came}, but a module, a state dict or a .safetensors file is wanted")
    return fold_norms(as_arrays(unwrap(source))), module


def _group(state: State) -> dict[str, State]:
    """The state dict by module, in its order: prefix to (name to array)."""
    groups: dict[str, State] = {}
    for name, array in state.items():
        match = _RECURRENT.fullmatch(name)
        prefix, own = (match["prefix"], match["name"]) if match else (name[: name.rfind(".") + 1], "")
        groups.setdefault(prefix, {})[own or name[len(prefix) :]] = array
    if not groups:
        raise ValueError("the source holds no weights")
    for prefix, group in groups.items():
        if "weight_hh" in group:  # a cell alone is a module of one level
            groups[prefix] = {f"{name}_l0": array for name, array in group.items()}
    return groups


def _check_group(prefix: str, group: State) -> None:
    """Raise ValueError for a module that is none of ours, before its arrays are looked at."""
    for own, array in group.items():
        if "_hr_" in own:
            raise ValueError(
                f"{prefix + own!r} belongs to an LSTM with a projection (proj_size), which has no layer here"
            )
        if own in ("running_mean", "running_var", "num_batches_tracked"):
            raise ValueError(
                f"{prefix + own!r} belongs to a batch norm, which has no layer here: pass names= with the "
                "modules that have"
            )
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"{prefix + own!r} is {array.dtype}, but float32 or float64 is wanted: convert it first"
            )


def _find(name: str, groups: dict[str, State]) -> str:
    """The prefix of the module of this name, which may lack what is in front of it."""
    prefix = _prefix(name)
    if prefix in groups:
        return prefix
    found = [have for have in groups if prefix and have.endswith(f".{prefix}")]
    if len(found) == 1:
        return found[0]
    modules = listed([have.removesuffix(".") for have in found or groups])
    if found:
        raise ValueError(f"names has {name!r}, but that may be any of {modules}")
    raise ValueError(f"names has {name!r}, but the source has {modules}")


def _parts(prefix: str, group: State) -> Iterator[tuple[str, State]]:
    """A group by level, the level gone from its names; a group of another module as it is."""
    levels: dict[int, State] = {}
    for name, array in group.items():
        match = _RECURRENT.fullmatch(name)
        if match is None:
            levels = {}
            break
        levels.setdefault(int(match["level"]), {})[re.sub(r"_l\d+", "", name)] = array
    if not levels:
        yield prefix.removesuffix("."), group
        return
    if sorted(levels) != list(range(len(levels))):
        raise ValueError(
            f"{prefix.removesuffix('.')!r} of the source has levels {sorted(levels)}, not all from 0"
        )
    for level in sorted(levels):
        yield f"{prefix}l{level}", levels[level]


def _make(groups: dict[str, State], module: Any, nonlinearity: str | None) -> Network:
    """A network for one recurrent module."""
    if len(groups) != 1:
        have = listed([prefix.removesuffix(".") for prefix in groups])
        raise ValueError(
            f"the source holds {have}: pass net, the network that they belong to, or names= with the one "
            "that is to be a network"
        )
    prefix, group = next(iter(groups.items()))
    module = _submodule(module, prefix.removesuffix("."))
    chain: list[Layer] = []
    for label, part in _parts(prefix, group):
        units, inputs = _sizes(part, label)
        kind = KINDS.get(len(part["weight_hh"]) // units)
        if kind is None or len(part["weight_hh"]) % units:
            rows = part["weight_hh"].shape
            raise ValueError(f"{label!r} of the source has weight_hh {rows}, which is no RNN, LSTM or GRU")
        if kind == "RNN":
            nonlinearity = getattr(module, "nonlinearity", nonlinearity)
            if nonlinearity not in NONLINEARITIES:
                raise ValueError(f"nonlinearity is {nonlinearity!r}, but an nn.RNN needs one: tanh or relu")
        cells: dict[str, Any] = {"GRU": GRU, "LSTM": LSTM}
        cell = Elman(inputs, units, nonlinearity or "") if kind == "RNN" else cells[kind](inputs, units)
        dropout = float(getattr(module, "dropout", 0.0))
        if chain and dropout:
            chain.append(Dropout(dropout))
        chain.append(Bidirectional(cell) if f"weight_ih{REVERSE}" in part else cell)
    dtype = next(iter(group.values())).dtype
    return Network(*chain, dtype=dtype, initialize=False).eval()


def _submodule(module: Any, name: str) -> Any:
    """The live module of this name inside another, or None."""
    if module is None or not name:
        return module
    return dict(module.named_modules()).get(name) if hasattr(module, "named_modules") else None


def _sizes(part: State, label: str) -> tuple[int, int]:
    """Units and inputs of one level."""
    for name in ("weight_ih", "weight_hh"):
        array = part.get(name)
        if array is None or array.ndim != 2 or not array.size:
            came = f"no {name}" if array is None else f"{name} {array.shape}"
            raise ValueError(f"{label!r} of the source has {came}: it is no nn.RNN, nn.LSTM or nn.GRU")
    return part["weight_hh"].shape[1], part["weight_ih"].shape[1]


def _check_nonlinearity(place: int, layer: Layer, nonlinearity: str | None) -> None:
    for cell, _ in directions(layer):
        if isinstance(cell, Elman) and nonlinearity is not None and cell.activation != nonlinearity:
            raise ValueError(
                f"layer {place} has activation {cell.activation!r}, but the source's nonlinearity is "
                f"{nonlinearity!r}"
            )


def _expressible(layer: Layer) -> None:
    """Raise ValueError if PyTorch has no module for the layer."""
    if isinstance(layer, Bidirectional) and layer.merge != "concat":
        raise ValueError(f"{layer} cannot be expressed in PyTorch: it has merge={layer.merge!r}")
    for cell, _ in directions(layer):
        if type(cell) not in (Elman, GRU, LSTM):
            raise ValueError(f"{cell} cannot be expressed in PyTorch: it has no such module")
        given = options(cell, {"activation"} if isinstance(cell, Elman) else set(), "PyTorch")
        if given.get("activation", "tanh") not in NONLINEARITIES:
            raise ValueError(
                f"{cell} cannot be expressed in PyTorch: it has activation={cell.config()['activation']!r}"
            )
    if not directions(layer) and not isinstance(layer, (Embedding, Dense)):
        raise ValueError(f"{layer} cannot be expressed in PyTorch: it has no such module")
    if "slope" in layer.parameter_shapes():
        raise ValueError(f"{layer} cannot be expressed in PyTorch: PReLU is a module there")


def _to_ours(layer: Layer, group: State, label: str) -> tuple[State, _Origin]:
    """A module's arrays under our names, and its biases as they came."""
    _expressible(layer)
    biases = {name: array.copy() for name, array in group.items() if name.startswith("bias")}
    values = {name: array for name, array in group.items() if name not in biases}
    if not directions(layer):
        if isinstance(layer, Dense):
            values["bias"] = biases.get("bias", np.zeros(layer.out_features, layer.dtype))
        return values, _Origin(biases)
    wanted = {f"{stem}{suffix}" for _, suffix in directions(layer) for stem in ("bias_ih", "bias_hh")}
    if biases and biases.keys() != wanted:
        raise ValueError(
            f"{label} has {', '.join(biases)}, but {', '.join(sorted(wanted))} or none are wanted"
        )
    for cell, suffix in directions(layer):
        rows = (cell.gates * cell.hidden_size,)
        zeros = np.zeros(rows, layer.dtype)
        pair = [biases.get(f"{stem}{suffix}", zeros) for stem in ("bias_ih", "bias_hh")]
        for stem, bias in zip(("bias_ih", "bias_hh"), pair, strict=True):
            if bias.shape != rows:
                raise ValueError(f"{label} has {stem}{suffix} of shape {bias.shape}, but {rows} is wanted")
        values |= _sum(cell, pair[0], pair[1], suffix)
    return values, _Origin(biases)


def _sum(cell: Any, bias_ih: Array, bias_hh: Array, suffix: str) -> State:
    """Our biases of one direction."""
    with np.errstate(all="ignore"):  # numbers are taken as they come, infinities too
        total = bias_ih + bias_hh
    if not isinstance(cell, GRU):
        return {f"bias{suffix}": total}
    candidate = slice(2 * cell.hidden_size, None)  # the reset gate acts between the two, so they stay apart
    total[candidate] = bias_ih[candidate]
    return {f"bias{suffix}": total, f"bias_hn{suffix}": bias_hh[candidate]}


def _modules(net: Network) -> list[list[Layer]]:
    """Layers with parameters; recurrent ones of one kind and size that follow each other are together."""
    modules: list[list[Layer]] = []
    joins = False
    for layer in net.layers:
        if isinstance(layer, Dropout):
            continue
        cells = directions(layer)
        last = directions(modules[-1][-1]) if joins and modules else []
        same = len(last) == len(cells) > 0 and _kind(last[0][0]) == _kind(cells[0][0])
        if same:
            modules[-1].append(layer)
        elif layer.parameter_shapes():
            modules.append([layer])
        joins = bool(cells)
    return modules


def _kind(cell: Any) -> tuple[Any, ...]:
    return type(cell), cell.hidden_size, getattr(cell, "activation", None)


def _to_theirs(layer: Layer, level: int) -> State:
    """A layer's parameters under PyTorch's names."""
    _expressible(layer)
    origin = _ORIGINS.get(layer)
    params = layer.params
    if not directions(layer):
        bare = origin is not None and not origin.biases and "bias" in params and _zero(params["bias"])
        return {name: value.copy() for name, value in params.items() if not (bare and name == "bias")}
    biases = None if origin is None else _original(layer, origin)
    found: State = {}
    for cell, suffix in directions(layer):
        own = f"_l{level}{suffix}"
        found |= {f"{stem}{own}": params[f"{stem}{suffix}"].copy() for stem in ("weight_ih", "weight_hh")}
        if biases is None:
            total = params[f"bias{suffix}"].copy()
            apart = np.zeros_like(total)
            if isinstance(cell, GRU):
                apart[2 * cell.hidden_size :] = params[f"bias_hn{suffix}"]
            found |= {f"bias_ih{own}": total, f"bias_hh{own}": apart}
        else:
            found |= {
                f"{stem}{own}": biases[f"{stem}{suffix}"].copy()
                for stem in ("bias_ih", "bias_hh")
                if f"{stem}{suffix}" in biases
            }
    return found


def _original(layer: Layer, origin: _Origin) -> State | None:
    """The biases that came, if the layer's own are still what they made; None after training."""
    for cell, suffix in directions(layer):
        rows = cell.gates * cell.hidden_size
        zeros = np.zeros(rows, layer.dtype)
        pair = [origin.biases.get(f"{stem}{suffix}", zeros) for stem in ("bias_ih", "bias_hh")]
        for name, value in _sum(cell, pair[0], pair[1], suffix).items():
            if value.tobytes() != layer.params[name].tobytes():
                return None
    return origin.biases


def _zero(array: Array) -> bool:
    return not array.any()
