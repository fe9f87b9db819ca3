"""Topics, polish passes and communities: ours on the GPU and on the CPU, on the same corpora and graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.config import CommunitiesConfig, IngestConfig, SourceConfig, TopicsConfig, VocabularyConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest
from tdtool.data.planted_stream import planted_stream, planted_vocabulary, write_uci
from tdtool.kernels.device_gpu import Gpu
from tdtool.models.cover_scores import onmi_max
from tdtool.run.bench_machine import copy_rate
from tdtool.run.communities import CommunitiesResult, find_communities
from tdtool.run.engines import open_engine
from tdtool.run.fit import TopicFit, TopicFitter
from tests.bench.community_cases import load_case
from tests.bench.gpu_work import ON_CPU, OURS, Found, Work, attempts, settled

_FITTING = ("moments", "decomposition", "polish")
_SOURCES = {
    "ap": ("ap/docword.ap.txt.gz", None),
    "20news": ("20news/docs.tsv.gz", "text"),
    "papers": ("papers/docs.tsv.gz", "text"),
}


def topics(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Spectral topics with the default polish: whole fits, from a corpus that has been read."""
    for name, numbers in work.sizes.topics:
        try:
            store = corpus_of(name, work)
        except Exception as error:
            yield Found(OURS, name, note=f"no corpus: {type(error).__name__}: {error}")
            continue
        for k in numbers:
            config = TopicsConfig(n_topics=k, seed=work.seed)
            case = f"{name} k={k}"
            yield attempts(
                OURS, case, lambda store=store, config=config, case=case: _twice(gpu, work, store, config, case)
            )
            gpu.free_unused()
            if Corpus.open(store).n_documents * k > work.sizes.cells:
                yield Found(ON_CPU, case, note="not run: more documents times topics than the CPU is given")
                continue
            yield attempts(
                ON_CPU, case, lambda store=store, config=config, case=case: _on_cpu(work, store, config, case)
            )


def polish(gpu: Gpu, work: Work) -> Iterator[Found]:
    """One pass of the polish, and the time that memory alone would take for what a pass must move once."""
    bandwidth = copy_rate(gpu)
    few, many = work.sizes.polish
    for name, numbers in work.sizes.topics:
        for k in numbers:
            case = f"{name} k={k}, a pass"

            def measure(name: str = name, k: int = k, case: str = case) -> Found:
                store = corpus_of(name, work)
                seconds = []
                for passes in (few, many):
                    config = TopicsConfig(n_topics=k, polish=passes, seed=work.seed)
                    seconds.append(_fit(gpu, work, store, config, score=False).seconds["polish"])
                a_pass = (seconds[1] - seconds[0]) / (many - few)
                floor = pass_bytes(Corpus.open(store), k) / bandwidth
                quality = {"floor": floor, "of_floor": floor / a_pass if a_pass > 0 else 0.0}
                return Found(OURS, case, max(a_pass, 0.0), quality)

            yield attempts(OURS, case, measure)
            gpu.free_unused()


def pass_bytes(corpus: Corpus, n_topics: int) -> float:
    """Bytes that any pass moves at least once, in single precision.

    An entry: word and count, the ratio written and read, its place and document by word; a document: its topics read
    and written; a word: its topics read, their sums written and read. Rows of words read again from cache do not count.
    """
    entries = corpus.n_entries * (4 + 4 + 4 + 4 + 8.0)
    return entries + 4.0 * n_topics * (2 * corpus.n_documents + 3 * corpus.n_terms)


def _fit(gpu: Gpu | None, work: Work, store: Path, config: TopicsConfig, *, score: bool = True) -> TopicFit:
    with open_engine(str(store), IngestConfig(), workers=work.threads, gpu=gpu) as engine:
        fitter = TopicFitter(engine, config)
        return fitter.fit(min(fitter.prepare(config.n_topics or 2), config.n_topics or 2), score=score)


def _fitting(fit: TopicFit) -> float:
    return sum(fit.seconds[stage] for stage in _FITTING)


def _quality(fit: TopicFit) -> dict[str, float]:
    stages = {stage: fit.seconds[stage] for stage in _FITTING}
    return {name: fit.scores[name] for name in ("perplexity", "npmi") if name in fit.scores} | stages


def _twice(gpu: Gpu, work: Work, store: Path, config: TopicsConfig, case: str) -> Found:
    cold = _fit(gpu, work, store, config)
    warm = _fit(gpu, work, store, config)
    same = np.array_equal(cold.model.word_topic, warm.model.word_topic)
    return Found(OURS, case, _fitting(warm), _quality(warm) | {"same": float(same), "cold": _fitting(cold)})


def _on_cpu(work: Work, store: Path, config: TopicsConfig, case: str) -> Found:
    _, fit = settled(lambda: _fit(None, work, store, config))
    return Found(ON_CPU, case, _fitting(fit), _quality(fit))


def corpus_of(name: str, work: Work) -> Path:
    """A corpus file, read once for all parts that use the folder."""
    store = work.folder / f"{name}-{work.sizes.documents}.corpus.h5"
    if store.exists():
        return store
    if name == "planted":
        source, config = (
            _planted(work),
            IngestConfig(vocabulary=VocabularyConfig(stop_words="none", min_df=1, max_df=1.0)),
        )
    else:
        file, column = _SOURCES[name]
        source = work.data / "text" / file
        if not source.exists():
            raise FileNotFoundError(source)
        config = IngestConfig(source=SourceConfig(column=column))
    ingest(str(source), store, config, workers=work.threads)
    return store


def _planted(work: Work) -> Path:
    """Documents of 100 known topics, as counts."""
    n_topics = min(100, max(work.sizes.terms // 10, 2))
    stream = planted_stream(work.sizes.documents, work.sizes.terms, n_topics, seed=work.seed)
    target = work.folder / "docword.planted.txt"
    with target.open("wb") as file:
        write_uci(stream, file)
    (work.folder / "vocab.planted.txt").write_text("\n".join(planted_vocabulary(work.sizes.terms)) + "\n")
    return target


def communities(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Communities of a real graph and of planted ones, from an edge list; timed is the fit, without reading."""
    for name in work.sizes.graphs:
        try:
            edges = edges_of(name, work)
        except Exception as error:
            yield Found(OURS, name, note=f"no graph: {type(error).__name__}: {error}")
            continue
        config = CommunitiesConfig(n_communities=work.sizes.communities, mode="dense", seed=work.seed)
        yield from _compared(gpu, work, edges, config, f"{name} k={work.sizes.communities}")
        if name == "dblp":
            yield from _compared(gpu, work, edges, CommunitiesConfig(seed=work.seed), f"{name} defaults")
        gpu.free_unused()


def _compared(gpu: Gpu, work: Work, edges: Path, config: CommunitiesConfig, case: str) -> Iterator[Found]:
    covers: dict[str, Any] = {}

    def fit(on: Gpu | None) -> CommunitiesResult:
        output = work.folder / "found.communities.h5"
        return find_communities(str(edges), output, communities=config, workers=work.threads, gpu=on, force=True)

    def on_gpu() -> Found:
        cold, warm = fit(gpu), fit(gpu)
        one, two = (result.fit.cover for result in (cold, warm))
        same = all(np.array_equal(getattr(one, x), getattr(two, x)) for x in ("indptr", "communities", "weights"))
        covers[OURS] = two
        quality = {"k": float(two.sizes.size), "same": float(same), "cold": cold.seconds["fit"]}
        return Found(OURS, case, warm.seconds["fit"], quality)

    def on_cpu() -> Found:
        _, found = settled(lambda: fit(None))
        quality = {"k": float(found.fit.cover.sizes.size)}
        if OURS in covers:
            quality["onmi"] = onmi_max(covers[OURS], found.fit.cover)
        return Found(ON_CPU, case, found.seconds["fit"], quality)

    yield attempts(OURS, case, on_gpu)
    yield attempts(ON_CPU, case, on_cpu)


def edges_of(name: str, work: Work) -> Path:
    """An edge list; FileNotFoundError where the real graphs are not here."""
    target = work.folder / f"{name.replace(' ', '-')}.edges"
    if name == "dblp":
        target = work.data / "graphs" / "dblp" / "edges.txt.gz"
        if not target.exists():
            raise FileNotFoundError(target)
    elif not target.exists():
        case = _toy() if name == "toy" else load_case(name, "", work.seed).edges
        np.savetxt(target, case, fmt="%d")
    return target


def _toy() -> Any:
    """Two cliques that share a node: for tests."""
    pairs = [(i, j) for i in range(8) for j in range(i)]
    return np.array([*pairs, *((i + 7, j + 7) for i, j in pairs)])
