"""Every kernel again in plain NumPy: same names, same arguments, written to be read beside the equations.

It is the specification, what the tests compare with, and what the benchmarks race against. The last argument
``scratch``, working memory for the compiled kernels, is taken so that both are called alike; NumPy finds its own.
"""

from .elman import elman_backward, elman_forward
from .embedding import embedding_backward, embedding_forward
from .gru import gru_backward, gru_forward
from .lstm import lstm_backward, lstm_forward
from .recurrence import scratch_size

__all__ = [
    "elman_backward",
    "elman_forward",
    "embedding_backward",
    "embedding_forward",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "scratch_size",
]
