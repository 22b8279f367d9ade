"""Recurrent networks on a CPU: fast, small, exact, and open about where the gradient goes."""

from .clipping import ClipNorm, ClipStep, ClipValue
from .files import load, save
from .kernels.threads import get_num_threads, set_num_threads
from .layers import GRU, LSTM, Dense, Dropout, Elman, Embedding, LastStep, MeanPool
from .losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSprop
from .trainer import Trainer

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
    "Trainer",
    "get_num_threads",
    "load",
    "save",
    "set_num_threads",
]
