"""Compiled kernels: arrays in, arrays out; they know no model and check nothing."""

from ..reference import (
    elman_backward,
    elman_forward,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    scratch_size,
)
from .embedding import embedding_backward, embedding_forward

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
