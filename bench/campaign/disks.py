"""Disks that are full, broken, or write half of what they are given: the old file or the new one is there."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path

from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.failing import fail, failed, under_it
from campaign.isolation import Broken, Limits
from campaign.subjects import Subject

TIMES = 60  # calls that fail, in a try
CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR)


def run(rng: Generator, folder: Path) -> None:
    under_it("campaign.disks", rng, folder)


def inside(rng: Generator, folder: Path) -> None:
    warnings.simplefilter("ignore")
    path = folder / "model.safetensors"
    old, new = (rnncore.Network(rnncore.GRU(2, 40), seed=seed) for seed in (1, 2))
    rnncore.save(old, path)
    for _ in range(TIMES):
        kind = nets.one(rng, ("write", "short write", "fsync", "rename", "read"))
        code = int(nets.one(rng, CODES))
        saving = rng.random() < 0.6
        fail(kind, int(rng.integers(1, 5)), code)
        try:
            rnncore.save(new, path) if saving else rnncore.load(path)
            complaint = None
        except OSError as error:
            complaint = error
        hit = failed()
        fail(None)
        if complaint is not None and complaint.filename != str(path):
            raise Broken(f"{kind} {errno.errorcode[code]}: the error does not name the file: {complaint}")
        if complaint is not None and not hit:
            raise Broken(f"an error where no call has failed: {complaint}")
        found = rnncore.load(path).params.flat.tobytes()
        if found not in (old.params.flat.tobytes(), new.params.flat.tobytes()):
            raise Broken(f"{kind}: the file holds neither the old nor the new network")
        if saving and complaint is None and found != new.params.flat.tobytes():
            raise Broken(f"{kind}: the network was not saved, and nothing was said")
        if left := [name for name in os.listdir(folder) if name.endswith(".tmp")]:
            raise Broken(f"{kind}: temporary files are left: {left}")
        if found != old.params.flat.tobytes():
            old, new = new, old


SUBJECT = Subject("disks", f"{TIMES} reads and writes each, failing or cut short", run, limits=Limits(20))
