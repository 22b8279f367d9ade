"""Layers by name: what files and configurations may ask for."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from .base import Layer

Kind = TypeVar("Kind", bound=type[Layer])

#: names from this list, never an import by name
KNOWN: dict[str, type[Layer]] = {}


def register(layer: Kind) -> Kind:
    """Make a class of layers known by its name, so that files can save and load it.

    Parameters
    ----------
    layer
        A subclass of `Layer`. Its ``config`` returns the arguments of its constructor as JSON holds them.

    Returns
    -------
    type
        The class itself: ``@rnncore.register`` in front of a class will do.

    Raises
    ------
    TypeError, ValueError
        If it is not a class of layers, lacks a method, or another one has its name.
    """
    if not isinstance(layer, type) or not issubclass(layer, Layer):
        raise TypeError(f"layer is {reprlib.repr(layer)}; expected a subclass of rnncore.layers.Layer")
    name = layer.__name__
    for method in ("forward", "backward"):
        if getattr(layer, method) is getattr(Layer, method):
            raise TypeError(f"{name} has no method {method!r}; a layer needs forward and backward")
    if layer.__init__ is not Layer.__init__ and layer.config is Layer.config:
        raise TypeError(f"{name} has no method 'config', which returns the arguments of its constructor")
    if KNOWN.get(name, layer) is not layer:
        raise ValueError(f"there is another layer {name!r} already; give this class another name")
    KNOWN[name] = layer
    return layer


def describe(layer: Layer) -> dict[str, Any]:
    """A layer's configuration with its name as ``type``, from which `build` makes it again."""
    name, config = layer.stored(KNOWN.get(type(layer).__name__) is type(layer))
    return {"type": name, **config}


def build(config: Mapping[str, Any]) -> Layer:
    """The layer that a configuration describes; ValueError where there is none of its name."""
    kind = config.get("type")
    if not isinstance(kind, str) or kind not in KNOWN:
        raise ValueError(f"a layer is of type {reprlib.repr(kind)}; known are {', '.join(sorted(KNOWN))}")
    return KNOWN[kind](**{name: value for name, value in config.items() if name != "type"})
