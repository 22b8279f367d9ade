"""Layers: one a file, forward beside backward."""

from .activation import Activation
from .attention import AttentionPool
from .base import Layer
from .bidirectional import Bidirectional
from .clockwork import Clockwork
from .composition import Add, Concat, Multiply, Residual
from .crf import CRF
from .dense import Dense
from .dropout import Dropout
from .elman import Elman
from .embedding import Embedding
from .gru import GRU
from .leaky import LeakyElman
from .lstm import LSTM
from .nested import Chain
from .pooling import LastStep, MaxOverTime, MeanPool
from .registry import register
from .skip import SkipElman
from .turning import Reverse
from .within import WithinStep

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "AttentionPool",
    "Bidirectional",
    "Chain",
    "Clockwork",
    "Concat",
    "Dense",
    "Dropout",
    "Elman",
    "Embedding",
    "LastStep",
    "Layer",
    "LeakyElman",
    "MaxOverTime",
    "MeanPool",
    "Multiply",
    "Residual",
    "Reverse",
    "SkipElman",
    "WithinStep",
    "register",
]

for _name in __all__:
    if _name not in ("Layer", "register"):
        register(globals()[_name])
