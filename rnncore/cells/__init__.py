"""Recurrent cells, each written as its equation, and what one's own are written with."""

from ..layers.registry import register
from .cell import Cell
from .continuous import LEM, AntisymmetricRNN, CfC, CoRNN, PlasticRate
from .deep import RHN, SLSTM
from .functions import (
    ACTIVATIONS,
    abs_,
    clip,
    cos,
    elu,
    exp,
    gelu,
    hard_sigmoid,
    identity,
    leaky_relu,
    log,
    maximum,
    mean,
    minimum,
    relu,
    sigmoid,
    silu,
    sin,
    softplus,
    softsign,
    sqrt,
    tanh,
    where,
)
from .gated import JANET, MGU, UGRNN, ChaosFree, FastGRNN
from .independent import SRU, ComplexLRU, DiagonalLRU, IndRNN, MinGRU, MinLSTM
from .normalized import LayerNormGRU, LayerNormLSTM, ProjectedLSTM
from .stored import StoredCell
from .values import CellError

register(StoredCell)

#: the cells that come with rnncore, by name
GALLERY: dict[str, type[Cell]] = {
    cell.__name__: register(cell)
    for cell in (
        MGU, UGRNN, JANET, ChaosFree, FastGRNN, LayerNormLSTM, LayerNormGRU, ProjectedLSTM, IndRNN, SRU,
        MinGRU, MinLSTM, DiagonalLRU, ComplexLRU, AntisymmetricRNN, CoRNN, LEM, CfC, PlasticRate, RHN, SLSTM,
    )
}  # fmt: skip

__all__ = [
    "ACTIVATIONS",
    "GALLERY",
    "JANET",
    "LEM",
    "MGU",
    "RHN",
    "SLSTM",
    "SRU",
    "UGRNN",
    "AntisymmetricRNN",
    "Cell",
    "CellError",
    "CfC",
    "ChaosFree",
    "CoRNN",
    "ComplexLRU",
    "DiagonalLRU",
    "FastGRNN",
    "IndRNN",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "PlasticRate",
    "ProjectedLSTM",
    "StoredCell",
    "abs_",
    "clip",
    "cos",
    "elu",
    "exp",
    "gelu",
    "hard_sigmoid",
    "identity",
    "leaky_relu",
    "log",
    "maximum",
    "mean",
    "minimum",
    "relu",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "softsign",
    "sqrt",
    "tanh",
    "where",
]
