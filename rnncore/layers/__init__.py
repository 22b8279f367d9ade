"""Layers: one a file, forward beside backward."""

from .activation import Activation
from .base import Layer
from .bidirectional import Bidirectional
from .clockwork import Clockwork
from .dense import Dense
from .dropout import Dropout
from .elman import Elman
from .embedding import Embedding
from .gru import GRU
from .leaky import LeakyElman
from .lstm import LSTM
from .pooling import LastStep, MeanPool
from .skip import SkipElman

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Bidirectional",
    "Clockwork",
    "Dense",
    "Dropout",
    "Elman",
    "Embedding",
    "LastStep",
    "Layer",
    "LeakyElman",
    "MeanPool",
    "SkipElman",
]
