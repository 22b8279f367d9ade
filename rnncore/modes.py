"""Modes that a network is in for the length of a block, and leaves whatever ends the block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network

ENTERED = "_entered"  # the attribute that says which block has the network in inference mode


@contextmanager
def evaluation(network: Network) -> Iterator[Network]:
    """Evaluation for as long as the block lasts."""
    if not network.training:
        yield network
        return
    with _leaving(partial(network.train, True)):
        network.eval()
        yield network


@contextmanager
def inference(network: Network) -> Iterator[Network]:
    """`Network.inference_mode`: weights are packed and read-only for as long as the block lasts."""
    token = object()
    with _leaving(partial(_unpack, network, token)):
        # One step, so that of several threads one enters.
        if network.__dict__.setdefault(ENTERED, token) is not token:
            raise RuntimeError("this network is in inference mode already: enter it once, around all passes")
        network.params.lock(True)
        for layer in network.layers:
            layer.pack()
        network.packed = True
        yield network


def _unpack(network: Network, token: object) -> None:
    """Leave inference mode; nothing where another block has entered it, or after it is left."""
    if network.__dict__.get(ENTERED) is token:
        network.packed = False
        for layer in network.layers:
            layer.unpack()
        network.params.lock(False)
        del network.__dict__[ENTERED]


@contextmanager
def _leaving(leave: Callable[[], object]) -> Iterator[None]:
    """Call ``leave`` after the block, again if Ctrl-C comes on the way, which is raised afterwards."""
    try:
        yield
    finally:
        interrupt = None
        while True:
            try:
                leave()
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
