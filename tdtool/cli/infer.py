"""tdtool infer"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from tdtool.cli import options
from tdtool.cli.device_options import device_options
from tdtool.cli.options import Command
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import ComputeConfig, SourceConfig, SparkConfig


@click.command(
    cls=Command,
    examples=(
        ("tdtool infer news.topics.h5 today/", "the topics of a directory of new documents"),
        ("tdtool infer news.topics.h5 today.jsonl --export today.documents.csv", "as a table: one row a document"),
    ),
)
@click.argument("model", type=options.FILE)
@click.argument("corpus")
@options.result("CORPUS.documents.h5")
@options.exports(options.TOPIC_EXPORTS)
@options.as_json
@options.force
@options.source_options
@spark_options
@device_options
@options.workers
@options.memory
@options.common
def infer(
    model: Path,
    corpus: str,
    output: str | None,
    exports: tuple[Path, ...],
    as_json: bool,
    force: bool,
    source_config: SourceConfig,
    spark: SparkConfig | None,
    compute: ComputeConfig,
    workers: int | None,
    memory: int | None,
) -> None:
    """Find the topics of new documents with a model.

    MODEL is a file of `tdtool topics`; CORPUS is read as there, and its words are made as the model's were. Words the
    model does not know are counted. The same documents always get the same topics.
    """
    from tdtool.report import tables
    from tdtool.run.delivery import delivered
    from tdtool.run.device import on_device
    from tdtool.run.infer import infer_documents
    from tdtool.run.outputs import check_outputs

    with delivered(output, corpus, "documents", force=force) as to:
        check_outputs([model, corpus], to.path, exports, force=force)
        with on_device(compute) as gpu:
            result = infer_documents(
                model,
                corpus,
                to.path,
                source=source_config,
                workers=workers,
                memory=memory,
                spark=spark,
                gpu=gpu,
                force=force,
                exports=tuple(map(str, exports)),
            )
    result = dataclasses.replace(result, path=to.place)
    if as_json:
        say_json(result.as_dict())
        return
    say(tables.summary_text(result.as_dict()))
    say(str(result.path))
