"""``python bench/campaign [OPTIONS]``: try, print the table; status 1 if anything failed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # the parent of all children makes no threads
    os.environ[name] = "1"
HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # the package is wanted on the path, not its files one by one
    sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

from campaign.kept import make_tests, read  # noqa: E402
from campaign.ledger import Ledger  # noqa: E402
from campaign.subjects import NAMES, subject  # noqa: E402
from campaign.turns import Campaign  # noqa: E402

OUT = HERE.parents[1] / "build" / "campaign"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python bench/campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long; default 30")
    parser.add_argument("--tries", type=int, help="so many tries of each subject instead")
    parser.add_argument("--only", default=",".join(NAMES), help=f"some of {','.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=1, help="what tries are drawn from; default 1")
    parser.add_argument("--resume", action="store_true", help="go on with the campaign in the folder")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="the folder of what is kept; default build/campaign"
    )
    parser.add_argument("--again", type=Path, metavar="JSON", help="try one kept failure again, and say all")
    parser.add_argument("--tests", action="store_true", help="make tests of what is kept, in tests/kept")
    given = parser.parse_args()
    given.only = [word.strip() for word in given.only.split(",")]
    for word in given.only:
        if word not in NAMES:
            parser.error(f"--only has {word!r}; known are {', '.join(NAMES)}")
    return given


def main() -> int:
    given = arguments()
    if given.again is not None:
        outcome = read(given.again).again()
        print(outcome.kind, outcome.what, outcome.where, outcome.details, sep="\n")
        return int(outcome.fault)
    if given.tests:
        for path in make_tests(given.out / "kept"):
            print(path)
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(given.out / "ledger.json", given.seed)
    if given.resume:
        ledger.resume()
    else:
        shutil.rmtree(given.out / "kept", ignore_errors=True)
    subjects = [subject(name) for name in given.only]
    campaign = Campaign(subjects, ledger, given.out)
    try:
        campaign.tries(given.tries) if given.tries else campaign.run(60 * given.minutes)
    except KeyboardInterrupt:
        print("interrupted; --resume goes on", file=sys.stderr)
    ledger.save()
    print(ledger.table({name: subject(name).about for name in ledger.rows}))
    if ledger.faults:
        print(
            f"{ledger.faults} faults; kept in {given.out / 'kept'}: --again FILE shows one, --tests makes "
            "tests"
        )
    return int(ledger.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
