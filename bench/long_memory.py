"""Which remedy solves what, up to which length, at what cost: ``python -m bench.long_memory [--full]``.

Every run, one (row, remedy, learning rate, seed), becomes a line of ``runs.csv`` in the folder ``--out`` as
soon as it ends; what stands there is not run again, so a table that was broken off goes on. From the lines
come ``table.md`` and ``map.png``; those of ``--full`` are ``full.csv``, ``full.md`` and ``full.png``. All
remedies of a row have the same budget of updates, the same learning rates and seeds; the table shows each
remedy at its best rate, the CSV has all of them. One process per core, one thread each; seconds are those of
the processor, without the looks at whether the problem is solved.

The default profile takes about ten minutes on two cores; ``--full`` a night.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # a script and a module find them alike

from memory_report import write_map, write_table
from memory_runs import REMEDIES, Row, clipper, rows

from rnncore.problems import Problem

FIELDS = (
    "problem", "length", "remedy", "rate", "seed", "solved", "updates", "sequences", "seconds", "error",
    "threshold", "naive", "weights", "clipped", "ended",
)  # fmt: skip
KEY = FIELDS[:5]
LOOK = 1280  # sequences on which a run is looked at between updates


class Watch:
    """A monitor: looks every so many updates whether the problem is solved, and ends the run then."""

    def __init__(self, row: Row, problem: Problem, limit: float) -> None:
        self.problem = problem
        self.every, self.limit, self.began = row.check, limit, time.perf_counter()
        self.threshold = self.problem.threshold if row.stop is None else row.stop
        self.looking = 0.0

    def on_step(self, trainer: Any) -> None:
        if trainer.step % self.every == 0:
            began = time.process_time()
            if self.problem.evaluate(trainer.net, LOOK, "validation") < self.threshold:
                trainer.stop("solved")
            self.looking += time.process_time() - began
        if time.perf_counter() - self.began > self.limit:
            trainer.stop("time")


def run(number: int, full: bool, remedy: str, rate: float, seed: int, limit: float) -> dict[str, Any]:
    """One line of the table."""
    from rnncore import Trainer, set_num_threads

    set_num_threads(1)
    row, chosen = rows(full)[number], REMEDIES[remedy]
    problem = row.problem(seed, row.batch)
    net = chosen.network(problem, row.units_of(remedy), row.length, seed)
    clip, watch = clipper(chosen), Watch(row, problem, limit)
    penalty = None if chosen.penalty is None else chosen.penalty()
    trainer = Trainer(
        net, problem.loss, row.optimizer(rate), clip=clip, regularizer=penalty, monitor=watch, progress="off"
    )
    began = time.process_time()
    try:
        # The process has forked from one whose BLAS had counted cores already.
        with threadpool_limits(1):
            ended = trainer.fit(problem, steps=row.updates).stopped
    except FloatingPointError as error:
        ended = f"exploded: {error}"[:120]
    seconds = time.process_time() - began - watch.looking
    error = math.nan if ended.startswith("exploded") else problem.evaluate(net, row.test)
    return {
        "problem": row.name, "length": row.length, "remedy": remedy, "rate": rate, "seed": seed,
        "solved": int(error < problem.threshold), "updates": trainer.step,
        "sequences": trainer.step * row.batch,
        "seconds": round(seconds, 2), "error": f"{error:.6g}", "threshold": f"{problem.threshold:.6g}",
        "naive": f"{min(problem.naive().values()):.6g}", "weights": net.params.flat.size,
        "clipped": 0 if clip is None else clip.clipped, "ended": ended,
    }  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV that is there, or none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def planned(options: argparse.Namespace) -> list[tuple[int, str, float, int]]:
    """All runs of the profile: (number of the row, remedy, rate, seed)."""
    chosen = []
    for number, row in enumerate(rows(options.full)):
        if options.rows and not any(part in row.name for part in options.rows.split(",")):
            continue
        for remedy in row.remedies:
            if not options.remedies or remedy in options.remedies.split(","):
                chosen += [
                    (number, remedy, rate, options.seed + seed)
                    for rate in row.rates
                    for seed in range(options.seeds)
                ]
    return chosen


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with an error that lists what there is, where a row or a remedy is asked for that is not there."""
    known = {"rows": sorted({row.name for row in rows(options.full)}), "remedies": list(REMEDIES)}
    for part in filter(None, options.rows.split(",")):
        if not any(part in name for name in known["rows"]):
            parser.error(f"--rows has {part!r}, which is in none of {', '.join(known['rows'])}")
    for part in filter(None, options.remedies.split(",")):
        if part not in known["remedies"]:
            parser.error(f"--remedies has {part!r}, which is none of {', '.join(known['remedies'])}")
    for name in ("seeds", "seed", "jobs", "limit"):
        least = 1 if name == "jobs" else 0
        if not getattr(options, name) >= least:
            parser.error(f"--{name} is {getattr(options, name)}, but at least {least} is wanted")


def execute(todo: list[tuple[int, str, float, int]], options: argparse.Namespace, path: Path) -> None:
    """Run all, each in one of the processes; every line is on the disk when its run ends."""
    from tqdm import tqdm

    table = rows(options.full)
    # The longest first: at the end no core waits for one that has just begun.
    todo = sorted(todo, key=lambda job: -table[job[0]].updates * table[job[0]].length)
    new = not path.exists()
    with (
        open(path, "a", newline="", encoding="utf-8") as file,
        ProcessPoolExecutor(options.jobs) as pool,
        tqdm(total=len(todo), unit="run", dynamic_ncols=True) as bar,
    ):
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        futures = {
            pool.submit(run, number, options.full, remedy, rate, seed, options.limit): (number, remedy)
            for number, remedy, rate, seed in todo
        }
        try:
            for future in as_completed(futures):
                line = future.result()
                writer.writerow(line)
                file.flush()
                solved = "solved" if line["solved"] else "not"
                bar.set_postfix_str(f"{line['problem']} {line['length']}, {line['remedy']}: {solved}")
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--full", action="store_true", help="all lengths and remedies with their full budgets"
    )
    parser.add_argument("--out", type=Path, default=Path("long_memory"), help="folder of the results")
    parser.add_argument("--rows", default="", help="only rows whose name holds one of these, by commas")
    parser.add_argument("--remedies", default="", help="only these, by commas")
    parser.add_argument("--seeds", type=int, default=0, help="runs of each; 0: 2, or 3 with --full")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds after which a run is given up")
    parser.add_argument(
        "--report", action="store_true", help="run nothing, write table and map of what is there"
    )
    options = parser.parse_args()
    check(parser, options)
    options.seeds = options.seeds or (3 if options.full else 2)
    options.out.mkdir(parents=True, exist_ok=True)
    names = ("full.csv", "full.md", "full.png") if options.full else ("runs.csv", "table.md", "map.png")
    path, table_path, map_path = (options.out / name for name in names)
    if not options.report:
        done = {tuple(line[key] for key in KEY) for line in read(path)}
        table = rows(options.full)
        todo = [
            job for job in planned(options)
            if (table[job[0]].name, str(table[job[0]].length), job[1], str(job[2]), str(job[3])) not in done
        ]  # fmt: skip
        execute(todo, options, path)
    lines = read(path)
    if not lines:
        raise SystemExit("there is no run to report")
    write_table(table_path, lines, rows(options.full))
    write_map(map_path, lines)
    print(f"{len(lines)} runs: {path}, {table_path}, {map_path}")


if __name__ == "__main__":
    main()
