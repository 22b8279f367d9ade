"""Files that reach lines which no file has reached before: atheris mutates, and says what is new.

It runs in processes of its own, one format at a time, and keeps what was new in ``corpus``; what fails there
is tried again by itself, under the limits. Half of the mutations are those of the format, which keep lengths
and digests right.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.random import Generator

from campaign.isolation import SLOWER, Limits, Skip
from campaign.subjects import FORMATS, Batch, Subject, generator

SEEDS = 30  # files that a corpus begins with
LARGEST = 20_000  # bytes of a file


def batch(seconds: float, number: int, out: Path) -> Batch:
    """One format after the other, each for a few seconds."""
    from campaign.subjects import subject

    formats = [name for name in FORMATS if not subject(name).lacks()]
    name = formats[number % len(formats)]
    corpus = out / "corpus" / name
    if not corpus.exists():
        corpus.mkdir(parents=True)
        for n in range(SEEDS):
            data = subject(name).make(generator(0, name, n))  # type: ignore[misc]
            (corpus / f"seed-{n}").write_bytes(data)
    made = Batch()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "CAMPAIGN_SCRATCH": folder,
        }
        command = [
            sys.executable,
            "-m",
            "campaign.coverage",
            name,
            str(max(1, round(seconds))),
            str(number),
            str(corpus),
            folder,
        ]
        try:
            ran = subprocess.run(
                command, env=environment, capture_output=True, cwd=folder, timeout=60 * SLOWER + 10 * seconds,
                check=False,
            )  # fmt: skip
            words = ran.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            words = (error.stderr or b"").decode(errors="replace")
        done = re.findall(r"number_of_executed_units: (\d+)", words) or re.findall(
            r"^#(\d+)\s", words, re.MULTILINE
        )
        (out / "coverage.log").write_text(words[-20_000:])
        made.tries = int(done[-1]) if done else 0
        made.note = f"{len(list((out / 'corpus').glob('*/*')))} files in the corpus"
        failed = [path for kind in ("crash", "timeout", "oom") for path in Path(folder).glob(f"{kind}-*")]
        made.failed = [(name, path.read_bytes()) for path in failed]
    return made


def main() -> None:
    """In the process of atheris: instrument, then read file after file."""
    import atheris

    name, seconds, number, corpus, folder = sys.argv[1:]
    with atheris.instrument_imports(include=["rnncore"], enable_loader_override=False):
        from campaign.subjects import subject

        chosen = subject(name)
    from campaign.formats.reading import Refused
    from campaign.isolation import Broken

    path = Path(folder) / f"file{chosen.suffix}"
    turn = [0]

    def once(data: bytes) -> None:
        path.write_bytes(data)
        turn[0] += 1
        try:
            chosen.run(generator(int(number), name, turn[0], 1), path)
        except (Refused, Broken, *chosen.limits.allowed) as error:
            if isinstance(error, Broken):
                raise

    options = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=20", "-rss_limit_mb=4000"]
    options += [
        f"-seed={int(number) + 1}",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
        "-verbosity=1",
    ]

    def mutate(data: bytes, most: int, chance: int) -> bytes:
        rng = np.random.default_rng(chance)
        try:
            return chosen.mutate(rng, data)[:most] if rng.random() < 0.5 else atheris.Mutate(data, most)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # it is no such file
            return bytes(atheris.Mutate(data, most))

    atheris.Setup([sys.argv[0], *options, corpus], once, custom_mutator=mutate)
    atheris.Fuzz()


def run(rng: Generator, folder: Path) -> None:
    raise Skip("it comes in batches")


SUBJECT = Subject(
    "coverage",
    "all formats, led by coverage",
    run,
    limits=Limits(),
    weight=4,
    needs=("atheris",),
    batch=batch,
)

if __name__ == "__main__":
    main()
