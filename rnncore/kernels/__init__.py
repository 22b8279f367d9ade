"""Compiled kernels: arrays in, arrays out; they know no model and check nothing."""

import os

from .activations import activate, activate_backward
from .bidirectional import join_directions, reverse_rows, split_directions
from .clipping import all_finite, clip_norm, clip_value, global_norm
from .clockwork import clockwork_backward, clockwork_forward, clockwork_scratch_size
from .crf import crf_best, crf_loss, crf_scratch_size
from .ctc import ctc_loss, ctc_scratch_size, ctc_search, ctc_search_sizes
from .dense import dense_backward, dense_forward, dense_scratch_size, pack_dense
from .elman import elman_backward, elman_forward
from .embedding import embedding_backward, embedding_forward
from .gru import gru_backward, gru_forward
from .leaky import leaky_backward, leaky_forward
from .losses import (
    first_class_outside,
    sigmoid_cross_entropy,
    smoothed_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)
from .lstm import lstm_backward, lstm_forward
from .plan import panels_size, scratch_size
from .recurrence import pack_recurrent
from .skip import skip_backward, skip_forward
from .updates import adam_update, l1_penalty, l2_penalty, rmsprop_update, sgd_update

__all__ = [
    "activate",
    "activate_backward",
    "adam_update",
    "all_finite",
    "clip_norm",
    "clip_value",
    "clockwork_backward",
    "clockwork_forward",
    "clockwork_scratch_size",
    "crf_best",
    "crf_loss",
    "crf_scratch_size",
    "ctc_loss",
    "ctc_scratch_size",
    "ctc_search",
    "ctc_search_sizes",
    "dense_backward",
    "dense_forward",
    "dense_scratch_size",
    "elman_backward",
    "elman_forward",
    "embedding_backward",
    "embedding_forward",
    "first_class_outside",
    "get_include",
    "global_norm",
    "gru_backward",
    "gru_forward",
    "join_directions",
    "l1_penalty",
    "l2_penalty",
    "leaky_backward",
    "leaky_forward",
    "lstm_backward",
    "lstm_forward",
    "pack_dense",
    "pack_recurrent",
    "panels_size",
    "reverse_rows",
    "rmsprop_update",
    "scratch_size",
    "sgd_update",
    "sigmoid_cross_entropy",
    "skip_backward",
    "skip_forward",
    "smoothed_cross_entropy",
    "softmax_cross_entropy",
    "split_directions",
    "squared_error",
]


def get_include() -> str:
    """The folder of rnncore's C headers, for ``include_dirs`` of an extension that cimports from rnncore."""
    return os.path.dirname(os.path.abspath(__file__))
