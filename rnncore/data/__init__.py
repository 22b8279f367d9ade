"""From text to batches, and the count models that a network is measured against."""

from .batch import Batch, Source
from .text import TextStream, builtin_text, read_text, split
from .vocabulary import Vocabulary
from .yardsticks import CountModel

__all__ = [
    "Batch",
    "CountModel",
    "Source",
    "TextStream",
    "Vocabulary",
    "builtin_text",
    "read_text",
    "split",
]
