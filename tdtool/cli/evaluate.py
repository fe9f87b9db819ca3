"""tdtool evaluate"""

from __future__ import annotations

from pathlib import Path

import click

from tdtool.cli import options
from tdtool.cli.options import Command
from tdtool.cli.output import say, say_json
from tdtool.config import SourceConfig


@click.command(
    cls=Command,
    examples=(
        ("tdtool evaluate news.topics.h5 test/", "perplexity and coherence on documents the model has not seen"),
        ("tdtool evaluate news.topics.h5 test.corpus.h5 --json", "for a program"),
    ),
)
@click.argument("model", type=options.FILE)
@click.argument("corpus")
@options.as_json
@options.source_options
@options.seed
@options.workers
@options.memory
@options.common
def evaluate(
    model: Path,
    corpus: str,
    as_json: bool,
    source_config: SourceConfig,
    seed: int,
    workers: int | None,
    memory: int | None,
) -> None:
    """Score a model on other documents.

    Every document of CORPUS is scored: half of its words tell its topics, the other half are predicted (perplexity by
    document completion). Coherence is that of the model's topics in CORPUS.
    """
    from tdtool.report import tables
    from tdtool.run.evaluate import evaluate_topics

    result = evaluate_topics(model, corpus, source=source_config, workers=workers, memory=memory, seed=seed)
    if as_json:
        say_json(result.as_dict())
        return
    say(tables.scores_text(result.scores))
    say(tables.summary_text({name: value for name, value in result.as_dict().items() if name != "scores"}))
