"""Training: the loop, its history, its checkpoints."""

from .history import History
from .loop import Trainer
from .prediction import predict

__all__ = ["History", "Trainer", "predict"]
