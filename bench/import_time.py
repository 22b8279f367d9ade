"""What ``import rnncore`` costs beyond NumPy and SciPy's BLAS: ``python bench/import_time.py [ROUNDS]``.

Each import happens in a fresh interpreter, the two kinds in turn so that a busy machine hits both; medians in
milliseconds. The target is 50 ms.
"""

import statistics
import subprocess
import sys

BASE = "import numpy, scipy.linalg.cython_blas"
TOTAL = BASE + ", rnncore"
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    """Time of one import statement in an interpreter of its own."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    seconds(TOTAL)  # warms the file cache
    pairs = [(seconds(BASE), seconds(TOTAL)) for _ in range(rounds)]
    base, total = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    beyond = 1e3 * statistics.median(after - before for before, after in pairs)
    print(f"numpy and scipy.linalg.cython_blas  {base:6.1f} ms")
    print(f"with rnncore                        {total:6.1f} ms")
    print(f"beyond                              {beyond:6.1f} ms   (median of {rounds}; target 50)")


if __name__ == "__main__":
    main()
