"""Recurrent networks on a CPU: fast, small, exact, and open about where the gradient goes."""

from .layers import GRU, LSTM, Dense, Dropout, Elman, Embedding, LastStep, MeanPool
from .network import Network

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "Dense",
    "Dropout",
    "Elman",
    "Embedding",
    "LastStep",
    "MeanPool",
    "Network",
]
