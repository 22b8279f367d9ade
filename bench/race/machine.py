"""What the machine is, as far as it says."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

CPU = Path("/sys/devices/system/cpu")


def read(path: Path) -> str:
    """A small file's text; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def processor() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    for line in read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cores() -> list[int]:
    """The processors that this process may use, one for each core; empty where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    found = {}
    for number in sorted(os.sched_getaffinity(0)):
        siblings = read(CPU / f"cpu{number}/topology/thread_siblings_list") or str(number)
        found.setdefault(siblings, number)
    return list(found.values())


def caches() -> str:
    """Sizes by level, those for instructions left out: "L1 48K, L2 1024K, L3 32768K"."""
    sizes = []
    for index in sorted(CPU.glob("cpu0/cache/index*")):
        if read(index / "type") != "Instruction":
            sizes.append(f"L{read(index / 'level')} {read(index / 'size')}")
    return ", ".join(sizes)


def identity() -> dict[str, str | int]:
    """What must be the same for two runs to stand in one table."""
    return {
        "processor": processor(),
        "cores": len(cores()) or os.cpu_count() or 1,
        "caches": caches(),
        "system": f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}",
    }


def ticks() -> list[int]:
    """Time of all cores since the start, by use: the fourth is idle, the fifth waits for disks."""
    words = read(Path("/proc/stat")).partition("\n")[0].split()
    return [int(word) for word in words[1:9]]


def busy(seconds: float = 0.5) -> float | None:
    """The share of all cores' time that is used, or stolen by other guests of the host, from now on.

    While the workers sleep it is what others use. None where the system does not say.
    """
    before = ticks()
    time.sleep(seconds)
    spent = [after - then for after, then in zip(ticks(), before, strict=True)]
    return 1 - sum(spent[3:5]) / sum(spent) if sum(spent) else None
