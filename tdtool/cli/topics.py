"""tdtool topics"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tdtool.cli import options
from tdtool.cli.device_options import device_options
from tdtool.cli.moments_options import asked_number, check_applies, given
from tdtool.cli.options import Command, NumberOrAuto, option
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import ComputeConfig, IngestConfig, SparkConfig, TopicsConfig

if TYPE_CHECKING:
    from tdtool.run.topics import TopicsResult

_DEFAULT = TopicsConfig()
_MEGABYTE = 1_000_000

_model_options = options.combined(
    option(
        "-k",
        "--n-topics",
        "n_topics",
        section="Model",
        type=NumberOrAuto(2),
        metavar="N|auto",
        default="auto",
        help="Number of topics; auto takes the fewest that are as coherent as any.",
    ),
    option(
        "--alpha0",
        section="Model",
        type=click.FloatRange(0, min_open=True),
        metavar="F",
        default=_DEFAULT.alpha0,
        help="Dirichlet sum assumed by the spectral step: lower for documents of few topics.",
    ),
    option(
        "--polish",
        section="Model",
        type=NumberOrAuto(0),
        metavar="N|auto",
        default=_DEFAULT.polish,
        help="Variational passes after the spectral step.",
    ),
    option(
        "--m3",
        section="Model",
        type=click.Choice(["auto", "implicit", "dense", "sketch"]),
        default=_DEFAULT.m3,
        help="How the third moment is used; auto takes the cheapest exact way.",
    ),
    option(
        "--hash-length",
        section="Model",
        type=click.IntRange(1, 1 << 26),
        metavar="N",
        default=_DEFAULT.hash_length,
        help="--m3 sketch: length of a sketch (default: by the number of topics).",
    ),
    option(
        "--sketches",
        section="Model",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=_DEFAULT.sketches,
        help="--m3 sketch: independent sketches, of which the median is taken (default: 1).",
    ),
    option(
        "--held-out",
        section="Model",
        type=click.FloatRange(0, 0.5),
        metavar="F",
        default=_DEFAULT.held_out,
        help="Share of documents kept out of the fit, to score it.",
    ),
)


@click.command(
    cls=Command,
    examples=(
        ("tdtool topics corpus/", "a directory of text files; the number of topics is chosen"),
        ("tdtool topics docs.tsv.gz --column text -k 50 -o news.h5 --export news.csv", "one column of a table"),
        ("zcat docs.jsonl.gz | tdtool topics - --field body --json", "from a pipe, for a program"),
        ("tdtool topics s3a://bucket/corpus/ -k 100 --master yarn -o news.h5", "the same on a Spark cluster"),
        ("tdtool topics docs.tsv.gz -k 500 --device cuda --gpu-memory 20G", "on a GPU, or an error that says why not"),
        ("tdtool topics news.moments.h5 -k 50", "from moments, without the documents"),
    ),
)
@click.argument("source")
@_model_options
@options.result("SOURCE.topics.h5")
@options.exports(options.TOPIC_EXPORTS)
@options.top()
@option("--dry-run", section="Output", is_flag=True, help="Read the source, say what a run would take, and stop.")
@options.as_json
@options.force
@options.ingest_options
@spark_options
@device_options
@options.seed
@options.workers
@options.memory
@options.common
@click.pass_context
def topics(
    context: click.Context,
    source: str,
    n_topics: int | Literal["auto"],
    alpha0: float,
    polish: int | Literal["auto"],
    m3: Literal["auto", "implicit", "dense", "sketch"],
    hash_length: int | None,
    sketches: int | None,
    held_out: float,
    output: str | None,
    exports: tuple[Path, ...],
    n_words: int,
    dry_run: bool,
    as_json: bool,
    force: bool,
    ingest_config: IngestConfig,
    spark: SparkConfig | None,
    compute: ComputeConfig,
    seed: int,
    workers: int | None,
    memory: int | None,
) -> None:
    """Find the topics of a corpus.

    SOURCE is a directory of text files, a file of documents (lines, JSON lines, CSV, TSV, Parquet, word counts; plain
    or compressed; tar or zip of text files), a corpus made by `tdtool ingest`, or - for standard input. The format is
    recognised. Of moments, made by `tdtool ingest --moments`, it finds topics without documents, and does not polish.
    """
    from tdtool.run import topics as run
    from tdtool.run.delivery import delivered
    from tdtool.run.device import on_device
    from tdtool.run.moments import moments_kind
    from tdtool.run.outputs import check_outputs

    config = TopicsConfig(
        None if n_topics == "auto" else n_topics,
        alpha0=alpha0,
        m3=m3,
        hash_length=hash_length,
        sketches=sketches,
        polish=polish,
        held_out=held_out,
        seed=seed,
    )
    with delivered(output, source, "topics", force=force) as to:
        check_outputs([source], to.path, exports, force=force)
        if moments_kind(source) is not None:
            with on_device(compute) as gpu:
                result = _of_moments(context, source, to.path, exports, workers=workers, gpu=gpu, force=force)
        elif dry_run:
            _plan(as_json, source, ingest=ingest_config, topics=config, workers=workers, memory=memory)
            return
        else:
            with on_device(compute) as gpu:
                result = run.fit_topics(
                    source,
                    to.path,
                    ingest=ingest_config,
                    topics=config,
                    workers=workers,
                    memory=memory,
                    spark=spark,
                    gpu=gpu,
                    force=force,
                    exports=tuple(map(str, exports)),
                )
    _say(as_json, dataclasses.replace(result, path=to.place), n_words)


def _of_moments(
    context: click.Context, source: str, output: Path, exports: tuple[Path, ...], **settings: Any
) -> TopicsResult:
    from tdtool.run.topics_of_moments import topics_of_moments

    check_applies(context, source, known=("n_topics", "polish"), lacking="documents")
    k = asked_number(context, "n_topics", source)
    names = tuple(map(str, exports))
    return topics_of_moments(Path(source), output, n_topics=k, seed=given(context, "seed"), exports=names, **settings)


def _say(as_json: bool, result: TopicsResult, n_words: int) -> None:
    if as_json:
        say_json(result.as_dict())
    else:
        _print_result(result, n_words)


def _print_result(result: TopicsResult, n_words: int) -> None:
    from tdtool.report import tables

    if result.selection:
        tables.print_selection(result.selection, result.n_topics)
        say("")
    rows = zip(range(result.n_topics), result.sizes, result.coherence, result.top_words(n_words), strict=True)
    tables.print_topics([tables.TopicRow(topic, float(size), float(npmi), words) for topic, size, npmi, words in rows])
    say("\n" + tables.scores_text(result.scores))
    for warning in result.warnings:
        say(f"Warning: {warning}")
    say(f"{result.ledger}\n{result.n_topics} topics in {result.seconds:.1f} s")
    say(str(result.path))


def _plan(as_json: bool, source: str, **settings: Any) -> None:
    from tdtool.report import tables
    from tdtool.run.plan import plan_topics

    plan = plan_topics(source, **settings)
    if as_json:
        say_json(plan.as_dict())
        return
    facts = {
        "documents": plan.documents,
        "vocabulary": plan.vocabulary,
        "tokens": plan.tokens,
        "topics": ", ".join(map(str, plan.topics)),
        "memory": f"about {plan.memory_bytes / _MEGABYTE:,.0f} MB",
        "scratch on disk": f"about {plan.scratch_bytes / _MEGABYTE:,.0f} MB",
        "time": f"about {plan.seconds:,.0f} s",
    }
    say(f"{tables.facts_text(facts)}\n{plan.ledger}")
