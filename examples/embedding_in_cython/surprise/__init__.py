"""How far each value of a series lies from what a network foretold.

The network is made and trained with rnncore in Python; its weights go into a compiled loop without the GIL.
"""

import rnncore

from ._forecast import Forecast

__all__ = ["Forecast", "forecast"]


def forecast(net: rnncore.Network) -> Forecast:
    """The compiled form of a network LSTM(1, H), Dense(H, 1) of float32."""
    kinds = [type(layer) for layer in net.layers]
    if kinds != [rnncore.LSTM, rnncore.Dense] or net.dtype != "float32":
        raise ValueError(f"net is {net}, but LSTM(1, H), Dense(H, 1) of float32 is wanted")
    names = ("0.weight_ih", "0.weight_hh", "0.bias", "1.weight", "1.bias")
    return Forecast(*(net.params[name] for name in names))
