"""``rnncore export``: a model file for hosts without Python, and for other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from ..files import load
from ..interop.c import export as export_c
from .options import check_outputs
from .terminal import echo


@click.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("--c", "c_file", type=click.Path(dir_okay=False), help="The C99 file to write.")
@click.option("--onnx", "onnx_file", type=click.Path(dir_okay=False), help="The ONNX file to write.")
@click.option("--name", help="What the names in the C file begin with; else the file's name.")
@click.option(
    "--weights", type=click.Path(dir_okay=False), help="Write the weights here, not into the C file."
)
@click.option(
    "--lanes", type=click.Choice(["1", "2", "4", "8", "16"]), default="8", show_default=True,
    help="Rows in the C file are padded to a multiple of it; 1 for processors without vectors.",
)  # fmt: skip
@click.option("--lengths", is_flag=True, help="The ONNX model takes the rows' lengths as a second input.")
@click.option("--softmax", is_flag=True, help="End with the softmax of the last layer's numbers.")
def export(
    model: str,
    c_file: str | None,
    onnx_file: str | None,
    name: str | None,
    weights: str | None,
    lanes: str,
    lengths: bool,
    softmax: bool,
) -> None:
    """Write the network in the file MODEL as a self-contained C file, as an ONNX model, or as both."""
    if c_file is None and onnx_file is None:
        raise click.UsageError("nothing to write: give --c FILE, --onnx FILE or both")
    about_c = {"--name": name is not None, "--weights": weights is not None, "--lanes": lanes != "8"}
    for option, given in about_c.items():
        if given and c_file is None:
            raise click.UsageError(f"{option} is about the C file: give --c FILE too")
    if lengths and onnx_file is None:
        raise click.UsageError("--lengths is about the ONNX file: give --onnx FILE too")
    check_outputs([model], {"--c": c_file, "--weights": weights, "--onnx": onnx_file})
    net = load(model)
    if c_file is not None:
        sizes = export_c(net, c_file, name=name, softmax=softmax, weights=weights, lanes=int(lanes))
        size = Path(c_file).stat().st_size
        echo(f"{c_file}: {net.params.flat.size:,} parameters, {size:,} bytes; link it with -lm")
        echo(f"{sizes}")
    if onnx_file is not None:
        from ..interop.onnx import export as export_onnx  # the onnx package is an extra

        report = export_onnx(net, onnx_file, lengths=lengths, softmax=softmax)
        size = Path(onnx_file).stat().st_size
        apart = f"largest difference in {report.runtime} {report.difference:.2g}"
        echo(f"{onnx_file}: {net.params.flat.size:,} parameters, {size:,} bytes; {apart}")
