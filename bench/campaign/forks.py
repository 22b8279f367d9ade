"""Forks at any moment, whatever other threads are in: the child computes the same bits, and hangs nowhere."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.isolation import SLOWER, Broken, Limits
from campaign.subjects import Subject
from rnncore import Network

FORKS = 8  # in a try
PATIENCE = 40 * SLOWER  # seconds that a child may take, on a machine that is busy


def run(rng: Generator, folder: Path) -> None:
    warnings.simplefilter("ignore")  # of Python about forks where there are threads
    rnncore.set_num_threads(int(rng.integers(1, 4)))
    net = nets.draw_network(rng, plain=True).eval()
    x = nets.draw_input(rng, net, 30, int(nets.one(rng, (1, 16, 64))))
    wanted = net.forward(x)[0]
    going = True

    def work(seed: int) -> None:
        own = np.random.default_rng(seed)
        while going:
            kind = int(own.integers(4))
            if kind == 0:
                nets.draw_network(own, plain=True).stream()
            elif kind == 1:
                net.forward(x)
            elif kind == 2:
                net.stream(batch=x.shape[1]).run(x)
            else:
                rnncore.save(net, folder / f"{seed}.safetensors")

    threads = [threading.Thread(target=work, args=(int(rng.integers(2**31)),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(FORKS):
            time.sleep(float(rng.exponential(3e-3)))
            child(net, x, wanted)
    finally:
        going = False
        for thread in threads:
            thread.join()


def child(net: Network, x: np.ndarray, wanted: np.ndarray) -> None:
    """Fork, and see what the child comes to."""
    process = os.fork()
    if not process:
        status = 2
        faulthandler.dump_traceback_later(0.8 * PATIENCE)
        try:
            own = Network(rnncore.GRU(8, 16, recurrent_init="orthogonal"), seed=1).eval()
            own.stream().run(np.zeros((3, 1, 8), np.float32))
            same = np.array_equal(net.forward(x)[0], wanted)
            same &= np.array_equal(net.stream(batch=x.shape[1]).run(x), wanted)
            status = 0 if same else 1
        finally:
            os._exit(status)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            break
        time.sleep(0.001)
    else:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise Broken("a child hangs")
    if status:
        raise Broken(f"a child computes other bits, or ended with {status}")


SUBJECT = Subject("forks", f"{FORKS} forks each, beside busy threads", run, limits=Limits(60))
