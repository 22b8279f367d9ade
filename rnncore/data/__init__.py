"""From text, tables and arrays to batches, and the count models that a network is measured against."""

from .batch import Batch, Source
from .labelled import Classification, LabelledText, random_split
from .mapped import MappedStream, map_bytes
from .naive import naive_forecasts
from .panel import Panel, Treatment, make_panel
from .prefetch import Prefetch
from .ragged import Ragged, RaggedSource
from .series import Forecast, check_series, split_times
from .table import Table, read_table
from .tasks import Task, task_from_dict
from .text import TextStream, builtin_text, read_text, split
from .times import Frequency, parse_times
from .tokens import Tokens
from .vocabulary import Vocabulary
from .windows import Windows
from .yardsticks import CountModel

__all__ = [
    "Batch",
    "Classification",
    "CountModel",
    "Forecast",
    "Frequency",
    "LabelledText",
    "MappedStream",
    "Panel",
    "Prefetch",
    "Ragged",
    "RaggedSource",
    "Source",
    "Table",
    "Task",
    "TextStream",
    "Tokens",
    "Treatment",
    "Vocabulary",
    "Windows",
    "builtin_text",
    "check_series",
    "make_panel",
    "map_bytes",
    "naive_forecasts",
    "parse_times",
    "random_split",
    "read_table",
    "read_text",
    "split",
    "split_times",
    "task_from_dict",
]
