"""State dicts of PyTorch as plain arrays: out of checkpoints, weight norm folded, half precision widened."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import take_array

Array = NDArray[Any]
State = dict[str, Array]

# Where training loops keep a state dict among other things.
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights")
_NORMED = (
    re.compile(r"(?P<stem>(.*\.)?)parametrizations\.(?P<name>[^.]+)\.original(?P<part>[01])"),
    re.compile(r"(?P<stem>(.*\.)?)(?P<name>[^.]+)_(?P<part>[gv])"),
)
_SPECTRAL = re.compile(r"(.*\.)?(parametrizations\..*|[^.]+_(orig|u))")


def unwrap(source: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The state dict in a checkpoint; a state dict as it is.

    Raises
    ------
    ValueError
        If there are several.
    """
    nested: dict[str, Mapping[Any, Any]] = {
        str(name): value
        for name, value in source.items()
        if isinstance(value, Mapping) and _holds_arrays(value)
    }
    if not nested or _holds_arrays(source):
        return source
    known = [name for name in KEYS if name in nested]
    chosen = known or list(nested)
    if len(chosen) > 1:
        raise ValueError(
            f"the source holds several state dicts, {', '.join(map(repr, chosen))}: pass one of them, such "
            f"as source[{chosen[0]!r}]"
        )
    return nested[chosen[0]]


def _holds_arrays(source: Mapping[Any, Any]) -> bool:
    values = list(source.values())
    return bool(values) and all(hasattr(value, "shape") and hasattr(value, "dtype") for value in values)


def as_arrays(source: Mapping[Any, Any]) -> State:
    """The tensors by name; those of half precision as float32, with a warning that says so."""
    state: State = {}
    halves = []
    for name, value in source.items():
        tensor = value.detach() if hasattr(value, "detach") else value
        if str(getattr(tensor, "dtype", "")) == "torch.bfloat16":  # which NumPy does not know
            tensor = tensor.float()
            halves.append(str(name))
        array = take_array(str(name), tensor)
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{name} of the source is a {type(value).__name__}, but an array is expected; of a "
                "checkpoint pass the state dict in it"
            )
        if array.dtype == np.float16 or str(array.dtype) == "bfloat16":
            array = array.astype(np.float32)
            halves.append(str(name))
        state[str(name)] = array
    if halves:
        warnings.warn(
            f"{len(halves)} arrays of the source, {halves[0]!r} among them, have 16 bits; they are "
            "converted to float32",
            UserWarning,
            stacklevel=4,
        )
    return state


def fold_norms(state: State) -> State:
    """Weight norm, g v / |v|, as the plain weight that it stands for, under that one's name.

    Raises
    ------
    ValueError
        If a weight has another parametrization.
    """
    parts: dict[str, dict[str, Array]] = {}
    folded: State = {}
    for name, array in state.items():
        for pattern in _NORMED:
            match = pattern.fullmatch(name)
            if match and (match["part"] in "01" or _partner(name) in state):
                plain = match["stem"] + match["name"]
                parts.setdefault(plain, {})["g" if match["part"] in "0g" else "v"] = array
                folded.setdefault(plain, array)  # in its place
                break
        else:
            if _SPECTRAL.fullmatch(name) and (name.endswith("_orig") or "parametrizations." in name):
                raise ValueError(
                    f"{name!r} belongs to a parametrized weight that is no weight norm: remove it first, by "
                    "torch.nn.utils.parametrize.remove_parametrizations or remove_spectral_norm"
                )
            folded[name] = array
    for plain, pair in parts.items():
        if pair.keys() != {"g", "v"}:
            raise ValueError(f"the weight norm of {plain!r} lacks {'g' if 'v' in pair else 'v'}")
        folded[plain] = _fold(plain, pair["g"], pair["v"])
    return folded


def _partner(name: str) -> str:
    return name[:-1] + ("v" if name.endswith("g") else "g")


def _fold(name: str, g: Array, v: Array) -> Array:
    """G has size 1 along the axes that the norm goes over."""
    whole = g.reshape((1,) * v.ndim) if g.size == 1 else g
    if whole.ndim != v.ndim or any(
        size not in (1, real) for size, real in zip(whole.shape, v.shape, strict=True)
    ):
        raise ValueError(f"the weight norm of {name!r} has g of shape {g.shape} and v of shape {v.shape}")
    axes = tuple(axis for axis, size in enumerate(whole.shape) if size == 1)
    wide = v.astype(np.float64)
    with np.errstate(all="ignore"):  # numbers are taken as they come
        norm = np.sqrt((wide * wide).sum(axis=axes, keepdims=True))
        folded: Array = (whole * (wide / norm)).astype(v.dtype)
    return folded
