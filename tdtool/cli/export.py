"""tdtool export"""

from __future__ import annotations

from pathlib import Path

import click

from tdtool.cli import options
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json


@click.command(
    cls=Command,
    examples=(
        ("tdtool export resnet18-images.train", "resnet18-images.pt2, which torch.export.load opens"),
        ("tdtool export resnet18-images.train -o net.onnx", "for onnxruntime and others that read ONNX"),
        ("tdtool export resnet18-images.train --format safetensors", "the weights, by torchvision's names"),
    ),
)
@click.argument("run", type=options.FILE)
@option(
    "--format",
    "kind",
    section="Output",
    type=click.Choice(["pt2", "onnx", "safetensors"]),
    help="Kind of file. [default: as the suffix of -o says, else pt2]",
)
@option("-o", "--output", section="Output", type=options.FILE, metavar="FILE", help="File. [default: ./NAME.FORMAT]")
@options.force
@options.as_json
@options.common
def export(run: Path, kind: str | None, output: Path | None, force: bool, as_json: bool) -> None:
    """Write a trained net for use elsewhere.

    RUN is a directory of `tdtool train`; its newest checkpoint is written to one file. pt2 and onnx hold the graph:
    pixels (batch, 3, size, size) uint8 in, logits out, with the normalisation inside and any number of images at a
    time. safetensors holds the weights. All carry the names of the classes. The file is read back and has to answer as
    the net does, else it is not kept. Averaged weights (--ema) are taken where there are any.
    """
    from tdtool.report import nets
    from tdtool.run.export_net import export_net

    result = export_net(run, kind, output, force=force).as_dict()
    if as_json:
        say_json(result)
        return
    say(nets.exported_text(result))
    say(result["path"])
