"""Recurrent networks on a CPU: fast, small, exact, and open about where the gradient goes."""

from .clipping import ClipNorm, ClipStep, ClipValue
from .layers import GRU, LSTM, Dense, Dropout, Elman, Embedding, LastStep, MeanPool
from .losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSprop

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "ClipNorm",
    "ClipStep",
    "ClipValue",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Elman",
    "Embedding",
    "LastStep",
    "MeanPool",
    "Network",
    "RMSprop",
    "SquaredError",
]
