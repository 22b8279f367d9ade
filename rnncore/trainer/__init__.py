"""Training: the loop, its history, its checkpoints."""

from .history import History
from .loop import Trainer

__all__ = ["History", "Trainer"]
