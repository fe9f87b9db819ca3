"""tdtool evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tdtool.cli import options
from tdtool.cli.options import Command, option
from tdtool.cli.output import say, say_json
from tdtool.cli.spark_options import spark_options
from tdtool.config import SourceConfig, SparkConfig
from tdtool.errors import UsageError

_COMMUNITIES, _TRAINING = "tdtool.communities", "tdtool.training"
#: Options that mean something for a corpus, and for communities.
_OF_A_CORPUS = (
    "format",
    "column",
    "id_column",
    "field",
    "id_field",
    "vocabulary",
    "seed",
    "workers",
    "memory",
    "master",
)
_OF_A_TRUTH = ("truth_format", "all_nodes", "omega")
_OF_A_NET = ("data", "split", "batch", "device")
_KNOWN_SHOWN = 20
_CLASSES_SHOWN, _CONFUSIONS_SHOWN = 20, 10

_truth_options = options.combined(
    option(
        "--truth",
        section="Source",
        metavar="FILE",
        help="Known communities: one a line, a table (node, community, weight), JSON, or a communities.h5.",
    ),
    option(
        "--truth-format",
        section="Source",
        type=click.Choice(["auto", "lines", "table", "json", "hdf5"]),
        default="auto",
        help="Format of --truth; auto looks at the content.",
    ),
    option(
        "--all-nodes",
        section="Source",
        is_flag=True,
        help="Score all nodes of the graph, not only those that --truth puts into a community.",
    ),
    option("--omega", section="Source", is_flag=True, help="Count the omega index beyond 5,000 nodes, too."),
)
_net_options = options.combined(
    option("--data", section="Images", metavar="SOURCE", help="Images to score a net on. [default: those of the run]"),
    option(
        "--split",
        section="Images",
        type=click.Choice(["auto", "test", "validation", "training", "held-out", "all"]),
        default="auto",
        help="Which of them; auto: test, else validation, else what the run held out, else all.",
    ),
    option("--batch", section="Images", type=click.IntRange(1), metavar="N", default=256, help="Images at a time."),
    option(
        "--device",
        section="Images",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="Where a net is computed; auto: on a GPU where there is one.",
    ),
)


@click.command(
    cls=Command,
    examples=(
        ("tdtool evaluate news.topics.h5 test/", "perplexity and coherence on documents the model has not seen"),
        ("tdtool evaluate news.topics.h5 test.corpus.h5 --json", "for a program"),
        ("tdtool evaluate friends.communities.h5 --truth circles.txt", "found communities against known ones"),
        ("tdtool evaluate resnet18-images.train", "accuracy of a trained net on the test images of its data"),
        ("tdtool evaluate net.onnx --data photos/", "an exported net on other images"),
    ),
)
@click.argument("model", type=options.FILE)
@click.argument("corpus", required=False)
@options.as_json
@options.source_options
@_truth_options
@_net_options
@spark_options
@options.seed
@options.workers
@options.memory
@options.common
@click.pass_context
def evaluate(
    context: click.Context,
    model: Path,
    corpus: str | None,
    as_json: bool,
    source_config: SourceConfig,
    truth: str | None,
    truth_format: str,
    all_nodes: bool,
    omega: bool,
    data: str | None,
    split: str,
    batch: int,
    device: str,
    spark: SparkConfig | None,
    seed: int,
    workers: int | None,
    memory: int | None,
) -> None:
    """Score a model on other documents, known communities or images.

    Topics: every document of CORPUS is scored: half of its words tell its topics, the other half are predicted
    (perplexity by document completion). Coherence is that of the model's topics in CORPUS.

    Communities: compared with those in --truth, by overlapping mutual information, F1, omega, the error of the
    memberships and the recovery ratio.

    Nets: MODEL is the directory of a run of `tdtool train`, or a file of `tdtool export` (.pt2, .onnx, .safetensors),
    which is run without the code that built it; CORPUS, or --data, the images. Classes are matched by name.
    """
    from tdtool.run.evaluate_net import is_net

    if is_net(model):
        _check_net_arguments(context, corpus, data, truth)
        _evaluate_net(as_json, model, data or corpus, split=split, batch=batch, device=device, threads=workers)
        return
    _check_arguments(context, model, corpus, truth)
    if truth is not None:
        _evaluate_communities(as_json, model, truth, truth_format=truth_format, all_nodes=all_nodes, omega=omega)
        return
    from tdtool.report import tables
    from tdtool.run.evaluate import evaluate_topics

    result = evaluate_topics(
        model, str(corpus), source=source_config, workers=workers, memory=memory, spark=spark, seed=seed
    )
    if as_json:
        say_json(result.as_dict())
        return
    say(tables.scores_text(result.scores))
    say(tables.summary_text({name: value for name, value in result.as_dict().items() if name != "scores"}))


def _check_arguments(context: click.Context, model: Path, corpus: str | None, truth: str | None) -> None:
    """UsageError where the kind of the model and the arguments do not fit."""
    from tdtool.run.evaluate_communities import model_kind

    kind = model_kind(model)
    if kind == _TRAINING:
        hint = f"name the directory: tdtool evaluate {model.parent}"
        raise UsageError(
            "this says how a net was trained; the net is in the directory of its run", path=model, hint=hint
        )
    if kind == _COMMUNITIES and truth is None:
        raise UsageError(
            "communities are scored against known ones", path=model, hint="name them: --truth communities.txt"
        )
    if truth is not None and corpus is not None:
        raise UsageError(
            "CORPUS and --truth exclude each other",
            hint="CORPUS is for a topic model, --truth for communities",
        )
    if truth is not None and kind not in (None, _COMMUNITIES):
        raise UsageError(f"--truth is for communities, and this is a {kind} file", path=model, hint="name a CORPUS")
    if truth is None and corpus is None:
        raise UsageError(
            "nothing to score it on", path=model, hint="name a CORPUS for a topic model, --truth FILE for communities"
        )
    _refuse(context, _OF_A_NET, "a net: the directory of a run, .pt2, .onnx or .safetensors")
    if truth is None:
        _refuse(context, _OF_A_TRUTH, "communities (--truth)")
    else:
        _refuse(context, _OF_A_CORPUS, "a CORPUS")


def _check_net_arguments(context: click.Context, corpus: str | None, data: str | None, truth: str | None) -> None:
    """UsageError for what does not go with a net."""
    if truth is not None:
        raise UsageError("--truth is for communities, and this is a net", hint="name images: --data STORE")
    if corpus is not None and data is not None:
        raise UsageError("images are named twice", hint=f"{corpus}, or --data {data}")
    _refuse(context, _OF_A_TRUTH, "communities (--truth)")
    _refuse(context, tuple(name for name in _OF_A_CORPUS if name != "workers"), "a CORPUS")


def _refuse(context: click.Context, names: tuple[str, ...], whose: str) -> None:
    """UsageError for options of another kind of model; settings of files and environment are for all commands."""
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is for {whose}")


def _evaluate_communities(as_json: bool, model: Path, truth: str, *, omega: bool, **settings: Any) -> None:
    from tdtool.report import cover_scores as report
    from tdtool.run.evaluate_communities import evaluate_communities

    result = evaluate_communities(model, truth, omega=True if omega else None, **settings)
    plain = result.as_dict()
    if as_json:
        say_json(plain)
        return
    report.print_known(plain["communities"], most=_KNOWN_SHOWN)
    say(f"\n{report.compared_text(result.n_found, result.n_true, result.n_nodes, result.truth)}\n")
    report.print_scores(result.scores)
    say("")
    for note in result.notes:
        say(f"Note: {note}")
    say(result.ledger.text("rows" if "table" in result.truth else "communities"))


def _evaluate_net(as_json: bool, model: Path, data: str | None, **settings: Any) -> None:
    from tdtool.report import nets
    from tdtool.run.evaluate_net import evaluate_net

    plain = evaluate_net(model, data, **settings).as_dict()
    if as_json:
        say_json(plain)
        return
    nets.print_classes(plain["classes"], most=_CLASSES_SHOWN)
    if plain["confusions"]:
        say("")
        nets.print_confusions(plain["confusions"], most=_CONFUSIONS_SHOWN)
    say(f"\n{nets.scored_text(plain)}\n")
    nets.print_scores(plain)
    for note in plain["notes"]:
        say(f"\nNote: {note}")
    if plain["n_bad"]:
        say(f"\n{plain['n_bad']:,} images cannot be decoded and are left out: {', '.join(plain['bad'])}")
