"""Which rnncore is tested: the installed package, or the source tree where it has been built in place."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = [*ROOT.glob("rnncore/kernels/dispatch.*.so"), *ROOT.glob("rnncore/kernels/dispatch.*.pyd")]

# `python -m pytest` and `python -c` put the working directory on the path, where the source tree would hide
# the installed package.
if not BUILT or "RNNCORE_TESTED" in os.environ:
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != ROOT]


def pytest_report_header():
    import rnncore
    from rnncore.kernels import dispatch

    return f"rnncore: {Path(rnncore.__file__).parent}, {dispatch.level()}"
