"""The C file that rnncore exports, built by the system's compiler for this processor; streams only."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from c_export import compiled

from race import ours
from race.problem import Arrays, Problem

COMMAND = ["cc", "-O3", "-march=native"]


def start(threads: int) -> dict[str, str]:
    """Returns the compiler's version; raises where there is none."""
    version = subprocess.run([COMMAND[0], "--version"], check=True, capture_output=True, text=True).stdout
    return {"compiler": version.splitlines()[0]}


class Layer:
    """The network's file, built and loaded."""

    def __init__(self, library: str, problem: Problem) -> None:
        self.x = np.ascontiguousarray(problem.x[:, 0])
        self.y = np.empty((len(self.x), problem.dy.shape[2]), np.float32)
        with tempfile.TemporaryDirectory() as folder:
            self.run = compiled(ours.Layer("rnncore", problem).net, COMMAND, Path(folder))

    def stream(self) -> np.ndarray:
        self.run(self.x, self.y)
        return self.y

    def arrays(self, mode: str) -> Arrays:
        return {"y": self.stream()}
