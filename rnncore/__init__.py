"""Recurrent networks on a CPU: fast, small, exact, and open about where the gradient goes."""

import importlib
from typing import TYPE_CHECKING, Any

from . import late as _late  # noqa: F401  # what a fork waits for
from .clipping import ClipNorm, ClipParameter, ClipStep, ClipValue
from .kernels import get_include
from .kernels.float_state import keep_denormals
from .kernels.threads import get_num_threads, set_num_threads
from .layers import (
    CRF,
    GRU,
    LSTM,
    Activation,
    Add,
    AttentionPool,
    Bidirectional,
    Chain,
    Clockwork,
    Concat,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MaxOverTime,
    MeanPool,
    Multiply,
    Residual,
    Reverse,
    SkipElman,
    WithinStep,
    register,
)
from .losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSprop
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import (  # noqa: F401
        cells,
        data,
        diagnostics,
        metrics,
        pictures,
        problems,
        regularizers,
        reservoir,
        schedules,
    )
    from .crf import CRFLoss
    from .ctc import CTC
    from .files import load, save
    from .trainer import Trainer

__all__ = [
    "CRF",
    "CTC",
    "GRU",
    "LSTM",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Add",
    "AttentionPool",
    "Bidirectional",
    "BinaryCrossEntropy",
    "CRFLoss",
    "Chain",
    "ClipNorm",
    "ClipParameter",
    "ClipStep",
    "ClipValue",
    "Clockwork",
    "Concat",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Elman",
    "Embedding",
    "LastStep",
    "LeakyElman",
    "MaxOverTime",
    "MeanPool",
    "Multiply",
    "Network",
    "RMSprop",
    "Residual",
    "Reverse",
    "SkipElman",
    "SquaredError",
    "Trainer",
    "WithinStep",
    "diagnostics",
    "get_include",
    "get_num_threads",
    "keep_denormals",
    "load",
    "register",
    "save",
    "set_num_threads",
]

# Imported when they are first asked for: who only runs a network does not wait for them.
_LATE = {"CRFLoss": "crf", "CTC": "ctc", "Trainer": "trainer", "load": "files", "save": "files"}
_MODULES = {
    "cells", "data", "diagnostics", "metrics", "pictures", "problems", "regularizers", "reservoir",
    "schedules", "sklearn",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE, *_MODULES})
