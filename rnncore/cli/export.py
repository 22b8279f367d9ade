"""``rnncore export``: a model file for hosts without Python."""

from __future__ import annotations

from pathlib import Path

import click

from ..files import load
from ..interop.c import export as export_c


@click.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("--c", "c_file", required=True, type=click.Path(dir_okay=False), help="The C99 file to write.")
@click.option("--name", help="What the names in it begin with; else the file's name.")
@click.option("--softmax", is_flag=True, help="End with the softmax of the last layer's numbers.")
def export(model: str, c_file: str, name: str | None, softmax: bool) -> None:
    """Write the network in the file MODEL as one self-contained C file with a step function."""
    net = load(model)
    export_c(net, c_file, name=name, softmax=softmax)
    size = Path(c_file).stat().st_size
    click.echo(f"{c_file}: {net.params.flat.size:,} parameters, {size:,} bytes; link it with -lm")
