"""tdtool doctor"""

from __future__ import annotations

import click

from tdtool.cli import options
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json


@click.command(
    cls=Command,
    examples=(
        ("tdtool doctor", "what to put into a bug report"),
        ("tdtool doctor --bench", "and how fast this machine multiplies, copies and writes"),
    ),
)
@option(
    "--bench",
    section="Output",
    is_flag=True,
    help="Measure matrix products, memory, FFT and disk, and the GPU (8 seconds each).",
)
@options.as_json
@options.common
def doctor(bench: bool, as_json: bool) -> None:
    """Describe this machine and installation.

    Versions, cores, memory, disk, the BLAS in use, the optional extras with the line that installs each, and the GPU or
    why there is none.
    """
    from tdtool.report import tables
    from tdtool.run.doctor import examine

    report = examine(bench=bench)
    if as_json:
        say_json(report)
        return
    for title, facts in report.items():
        say(f"{title}\n{tables.facts_text(facts)}\n" if isinstance(facts, dict) else f"{title}: {facts}")
