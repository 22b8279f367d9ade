"""Problems with known answers that ask for a long memory: generated, seeded, of any length."""

from .arithmetic import Adding, Multiplication
from .base import Problem
from .digits import Digits
from .names import DelayedName
from .series import Sine
from .symbols import CopyMemory, RandomPermutation, TemporalOrder
from .warps import WarpedRecall

__all__ = [
    "Adding",
    "CopyMemory",
    "DelayedName",
    "Digits",
    "Multiplication",
    "Problem",
    "RandomPermutation",
    "Sine",
    "TemporalOrder",
    "WarpedRecall",
]
