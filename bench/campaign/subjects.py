"""What a subject of the campaign is, and the list of all; each is a file of its own."""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import Generator

from campaign.hostile import mutate_bytes
from campaign.isolation import Limits, Outcome, isolated

Run = Callable[[Generator, Path], None]

NAMES = (
    *("models", "checkpoints", "arrays", "keras", "onnx", "state_dicts", "texts"),
    *("coverage", "kills", "interrupts", "disks", "allocations"),
    *("threads", "forks", "settings", "calls", "gradients", "bits", "soak"),
)
FORMATS = NAMES[:7]


@dataclass(frozen=True)
class Subject:
    """One kind of try.

    Attributes
    ----------
    name, about
        For the table.
    run
        One try, in a child process: it is given a generator and a folder of its own, or, of a subject of
        files, the path of one.
    make
        The bytes of a file to try, for a subject of files; made in the parent.
    mutate
        Of such bytes, bytes that are a little different.
    suffix
        Of that file's name.
    limits
        Of the child; a subject of files has its memory limited by the size of the file.
    weight
        Share of the time, beside 1 of the others.
    needs
        Modules without which there is nothing to try.
    batch
        Instead of ``run``: makes many tries in its own way, within so many seconds, in a folder that lasts.
    """

    name: str
    about: str
    run: Run
    make: Callable[[Generator], bytes] | None = None
    mutate: Callable[[Generator, bytes], bytes] = mutate_bytes
    suffix: str = ""
    limits: Limits = field(default_factory=Limits)
    weight: float = 1
    needs: tuple[str, ...] = ()
    batch: Callable[[float, int, Path], Batch] | None = None

    def lacks(self) -> str:
        """The first module that is missing, empty if none is."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), "")


@dataclass
class Batch:
    """What a batch came to: how many tries, and the files that failed."""

    tries: int = 0
    failed: list[tuple[str, bytes]] = field(default_factory=list)  # the format, and the file
    note: str = ""


def subject(name: str) -> Subject:
    """A subject by its name; its module is imported only now."""
    place = f"campaign.formats.{name}" if name in FORMATS else f"campaign.{name}"
    found: Subject = importlib.import_module(place).SUBJECT
    return found


def generator(seed: int, name: str, number: int, part: int = 0) -> Generator:
    """What the try of this number draws from."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number, part])


def attempt(of: Subject, folder: Path, rng: Generator, data: bytes | None = None) -> Outcome:
    """One try, of this file if the subject is one of files."""
    limits, place = of.limits, folder
    if data is not None:
        place = folder / f"file{of.suffix}"
        place.write_bytes(data)
        limits = Limits(limits.seconds, 20 * len(data) + 50_000_000, limits.allowed)
    return isolated(lambda: of.run(rng, place), limits)
