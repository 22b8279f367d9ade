"""``python bench/race [--quick] [OPTIONS]``: run the race, or go on with one, and write what came out."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

if __name__ == "__main__":
    here = Path(__file__).resolve().parent  # the package is wanted on the path, not its files one by one
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if Path(entry).resolve() != here)]

from race import grid, machine, measure, picture, report, summary
from race.crew import Crew
from race.results import Results

HERE = Path(__file__).resolve().parents[1] / "results"
QUICK = {"batch": (1, 32), "hidden": (32, 128, 512)}
LOOK_EVERY = 12  # cases between two measurements of the machine itself


class Listed(click.ParamType):
    """Words or numbers with commas between, each of a given set or of a type."""

    name = "list"

    def __init__(self, allowed: tuple[str, ...] | None = None) -> None:
        self.allowed = allowed

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        words = [word.strip() for word in value.split(",")]
        if self.allowed is not None:
            for word in words:
                if word not in self.allowed:
                    self.fail(f"{word!r} is none of {', '.join(self.allowed)}", param, ctx)
            return tuple(words)
        for word in words:
            if not word.isdecimal() or int(word) < 1:
                self.fail(f"{word!r} is no number of at least 1", param, ctx)
        return tuple(map(int, words))


@click.command()
@click.option("--quick", is_flag=True, help="Six shapes, three minutes; to results/quick.")
@click.option("--cells", type=Listed(tuple(grid.GATES)), default=tuple(grid.GATES), help="elman,lstm,gru")
@click.option("--batch", type=Listed(), help="Numbers of rows; default 1,8,32,128.")
@click.option("--hidden", type=Listed(), help="Numbers of units; default 32,128,256,512,1024.")
@click.option("--threads", type=Listed(), default=grid.THREADS, help="Thread counts; default 1,2.")
@click.option("--mode", type=Listed(grid.MODES), default=grid.MODES, help="training,inference,stream")
@click.option("--kinds", type=Listed(tuple(grid.KINDS)), help="Beyond the grid; default all, quick none.")
@click.option("--grid/--no-grid", "whole", default=True, help="Whether to run the grid.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds; default 5, quick 3.")
@click.option("--seconds", type=click.FloatRange(0.001), help="Seconds in a round; default 0.15.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default bench/results.")
@click.option("--fresh", is_flag=True, help="Measure again what is there.")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing: write anew.")
def main(
    quick, cells, batch, hidden, threads, mode, kinds, whole, rounds, seconds, out, fresh, only_report
) -> None:
    """Race rnncore against its NumPy reference, PyTorch, JAX and ONNX Runtime.

    A run that was ended goes on where it was when the same command is given again, as long as machine and
    versions are the same.
    """
    out = out or (HERE / "quick" if quick else HERE)
    shapes = {"batch": batch or (QUICK["batch"] if quick else grid.BATCH)}
    shapes["hidden"] = hidden or (QUICK["hidden"] if quick else grid.HIDDEN)
    plan = measure.Plan(rounds or (3 if quick else 5), seconds or (0.1 if quick else 0.15))
    path = out / "race.json"
    if only_report:
        if not path.exists():
            raise click.ClickException(f"{path} is not there: run the race first")
        write(Results.read(path).content, out)
        return
    wanted = grid.cases(cells, mode, **shapes) if whole else []
    wanted += grid.further(cells, mode, kinds or (() if quick else tuple(grid.KINDS)))
    entrants = grid.entrants(sorted(set(threads)))
    with Crew(entrants, machine.cores()) as crew:
        results = Results.open(path, machine.identity(), crew.versions, fresh)
        results.content["absent"] = {str(entrant): why for entrant, why in crew.absent.items()}
        for entrant, why in crew.absent.items():
            click.echo(f"Not in the race: {entrant}: {why}", err=True)
        try:
            run(wanted, crew, results, plan)
        except KeyboardInterrupt:
            click.echo("Ended; the same command goes on from here.", err=True)
        results.content["absent"] = {str(entrant): why for entrant, why in crew.absent.items()}
        results.save()
    write(results.content, out)
    different = [entry for entry in summary.missing(results.content) if entry[2].startswith("DIFFERS")]
    for case, entrant, why in different:
        click.echo(f"{case}, {entrant}: {why}", err=True)
    sys.exit(bool(different))


def look_around(crew: Crew, results: Results) -> None:
    """Measure, while no library is timed, what other processes use, and the machine's peak."""
    share = machine.busy()
    if share is not None:
        results.content["busy"].append(round(share, 3))
        if share > summary.QUIET:
            tqdm.write(f"Other processes use {share:.0%} of the machine: figures will be noisy.", sys.stderr)
    results.content["peak"] += measure.peak(crew)


def run(wanted: list[grid.Case], crew: Crew, results: Results, plan: measure.Plan) -> None:
    """Measure the cases that the results lack, the machine before, after and in between; save after each."""
    lacking = [case for case in wanted if results.lacks(case, crew.workers)]
    if len(lacking) < len(wanted):
        there = f"{len(wanted) - len(lacking)} of {len(wanted)} cases are there already"
        click.echo(f"{there}; --fresh measures them again.", err=True)
    with tempfile.TemporaryDirectory(prefix="race-") as folder, tqdm(lacking, unit="case") as progress:
        for number, case in enumerate(progress):
            progress.set_description(str(case))
            if number % LOOK_EVERY == 0:
                look_around(crew, results)
            crew.revive()
            record = measure.measure(case, crew, plan, Path(folder))
            results.add(record)
            results.save()
            for library, counts in record["missing"].items():
                for count, why in counts.items():
                    progress.write(f"{case}, {library}, {count}: {why}", file=sys.stderr)
    if lacking:
        look_around(crew, results)


def write(content: dict[str, Any], out: Path) -> None:
    """race.md, the fragment for a README, race.png."""
    (out / "race.md").write_text(report.report(content))
    (out / "readme.md").write_text(report.fragment(content))
    click.echo("\n".join(["", *report.targets(content)]))
    written = ["race.json", "race.md", "readme.md"]
    try:
        picture.draw(content, out / "race.png")
        written.append("race.png")
    except ImportError as error:
        click.echo(f"No picture: {error}", err=True)
    click.echo(f"{out}: {', '.join(written)}")


if __name__ == "__main__":
    main()
