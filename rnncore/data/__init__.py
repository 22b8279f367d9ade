"""From text, tables and arrays to batches, and the count models that a network is measured against."""

from .batch import Batch, Source
from .mapped import MappedStream, map_bytes
from .prefetch import Prefetch
from .ragged import Ragged, RaggedSource
from .text import TextStream, builtin_text, read_text, split
from .vocabulary import Vocabulary
from .yardsticks import CountModel

__all__ = [
    "Batch",
    "CountModel",
    "MappedStream",
    "Prefetch",
    "Ragged",
    "RaggedSource",
    "Source",
    "TextStream",
    "Vocabulary",
    "builtin_text",
    "map_bytes",
    "read_text",
    "split",
]
