"""Recurrent modules for PyTorch models on the CPU: ``pip install rnncore[torch]``.

``RNN``, ``LSTM`` and ``GRU`` are PyTorch's modules with another forward and backward pass: constructor,
parameters, ``state_dict`` and results are the same. ``accelerate(model)`` turns those of a model into these.
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("rnncore.torch needs PyTorch: pip install rnncore[torch]") from error

from .accelerating import accelerate, restore
from .modules import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "accelerate", "restore"]
