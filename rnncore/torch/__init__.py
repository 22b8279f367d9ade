"""Recurrent modules for PyTorch models on the CPU: ``pip install rnncore[torch]``.

``RNN``, ``LSTM`` and ``GRU`` are PyTorch's modules with another forward and backward pass: constructor,
parameters, ``state_dict`` and results are the same. ``accelerate(model)`` turns those of a model into these.
``Recurrent`` is a module of any recurrent layer, cells of one's own among them.
"""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    message = "rnncore.torch needs PyTorch: pip install rnncore[torch]"
    raise ModuleNotFoundError(message, name="torch") from error

from .accelerating import accelerate, restore
from .modules import GRU, LSTM, RNN
from .recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "accelerate", "restore"]
