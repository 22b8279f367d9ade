"""From text, tables and arrays to batches, and the count models that a network is measured against."""

from .batch import Batch, Source
from .labelled import Classification, LabelledText, random_split
from .mapped import MappedStream, map_bytes
from .prefetch import Prefetch
from .ragged import Ragged, RaggedSource
from .series import Forecast, Windows, check_series, naive_forecasts, split_times
from .table import Table, read_table
from .tasks import Task, task_from_dict
from .text import TextStream, builtin_text, read_text, split
from .tokens import Tokens
from .vocabulary import Vocabulary
from .yardsticks import CountModel

__all__ = [
    "Batch",
    "Classification",
    "CountModel",
    "Forecast",
    "LabelledText",
    "MappedStream",
    "Prefetch",
    "Ragged",
    "RaggedSource",
    "Source",
    "Table",
    "Task",
    "TextStream",
    "Tokens",
    "Vocabulary",
    "Windows",
    "builtin_text",
    "check_series",
    "map_bytes",
    "naive_forecasts",
    "random_split",
    "read_table",
    "read_text",
    "split",
    "split_times",
    "task_from_dict",
]
