"""Every setting of a run, as frozen dataclasses: what the command line fills in and a result file remembers."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """Where documents come from. format "auto" looks at the content; the rest only where the format has a choice."""

    format: str = "auto"
    column: str | None = None  # CSV, TSV, Parquet: the text column, by name or 1-based number
    id_column: str | None = None
    field: str = "text"  # JSON lines: the text field, dots go inwards ("body.text")
    id_field: str | None = None
    vocabulary: str | None = None  # counts: a file with one term a line, when it is not beside the data
    max_ratio: int = 1000  # a compressed stream may grow this many times ...
    max_bytes: int = 1 << 40  # ... and never beyond this


@dataclasses.dataclass(frozen=True)
class TokenConfig:
    """How text becomes words. Lengths are in characters (code points)."""

    min_length: int = 2
    max_length: int = 40
    numbers: Literal["keep", "drop", "replace"] = "drop"  # words of digits alone; "replace" makes them all "#"
    lowercase: bool = True
    ngrams: int = 1  # 2 or 3: join frequent phrases ("new_york") by normalised PMI


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """Which words are kept. Document frequencies below 1 are fractions of the documents, others are counts."""

    stop_words: str = "auto"  # "auto" (recognise the language), a language code, a file, or "none"
    min_df: float | None = None  # None: 5, 2 for fewer than 1,000 documents, 1 for fewer than 50
    max_df: float | None = None  # None: 0.3, all for fewer than 50 documents
    max_size: int | None = None


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """From a source to a corpus."""

    source: SourceConfig = SourceConfig()
    tokens: TokenConfig = TokenConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()


@dataclasses.dataclass(frozen=True)
class TopicsConfig:
    """How topics are found (DESIGN: spectral LDA, then a variational polish)."""

    n_topics: int | None = None  # None: choose
    alpha0: float = 1.0  # sum of the Dirichlet parameters that the moments assume
    m3: Literal["auto", "implicit", "dense", "sketch"] = "auto"
    hash_length: int | None = None  # m3 "sketch"; None: from the number of topics
    sketches: int | None = None  # m3 "sketch": repeats, of which the median is taken; None: 1
    polish: int | Literal["auto"] = 8
    held_out: float = 0.1  # share of the documents kept out of the fit, at most `max_held_out`
    max_held_out: int = 5000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class TensorConfig:
    """Where a tensor comes from. format "auto" looks at the content; the rest only where the format has a choice."""

    format: str = "auto"
    key: str | None = None  # .npz, .h5, .mat: the array inside ("group/name"); None: the only one, else the largest
    mask: str | None = None  # .npz, .h5, .mat: a bool array of the same shape, true where a value is missing
    columns: str | None = None  # CSV: the columns of the indices, by name or 1-based number, comma between
    value: str | None = None  # CSV: the column of the values
    max_ratio: int = 1000  # a compressed stream may grow this many times ...
    max_bytes: int = 1 << 40  # ... and never beyond this


@dataclasses.dataclass(frozen=True)
class DecomposeConfig:
    """How a tensor is decomposed."""

    method: Literal["tucker", "hosvd", "cp", "cp-nonneg", "power", "sketch"] = "cp"
    rank: int | None = None  # CP rank; None: choose
    ranks: tuple[int, ...] | None = None  # Tucker ranks, one a mode; None: choose
    max_error: float = 0.05  # relative error that chosen Tucker ranks may leave
    max_rank: int = 10  # CP ranks up to this are tried where the rank is chosen
    max_iters: int = 200
    tol: float = 1e-6  # a sweep that changes the relative error by less ends the iteration
    restarts: int = 3
    hash_length: int = 1 << 12  # sketches
    sketches: int = 10  # sketches: independent repeats, of which the median is taken
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class FactorsConfig:
    """How factors of a table are found."""

    n_factors: int | None = None  # None: parallel analysis
    rotation: Literal["promax", "varimax", "oblimin", "none"] = "promax"
    columns: str | None = (
        None  # comma between; names, globs (t*), ranges (first:last); None: all that measure something
    )
    stack: str | None = None  # a column whose values are the slices of a stack of tables, or ends of column names
    id_column: str | None = None
    missing: Literal["pairwise", "drop"] = "pairwise"
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class GraphConfig:
    """Where a graph comes from. format "auto" looks at the content; the rest only where the format has a choice."""

    format: str = "auto"
    columns: str | None = None  # edge lists and tables: the columns of the two ends, by name or 1-based number, comma
    weight: str | None = None  # column or attribute of the weights; None: recognised; "none": every edge counts once
    key: str | None = None  # .npz: the array inside
    bipartite: bool = False  # the two ends of an edge are of two kinds (readers and books)
    max_ratio: int = 1000  # a compressed stream may grow this many times ...
    max_bytes: int = 1 << 40  # ... and never beyond this


@dataclasses.dataclass(frozen=True)
class CommunitiesConfig:
    """How communities are found (DESIGN: spectral MMSB, then a Poisson polish)."""

    n_communities: int | None = None  # None: choose
    max_communities: int | None = None  # None: from the number of nodes; of the numbers that are tried
    mode: Literal["auto", "dense", "sparse"] = "auto"  # sparse: label propagation and a few communities a node
    alpha0: float = 0.0  # sum of the Dirichlet parameters that the moment assumes; 0: pure nodes
    tau: float = 0.01  # regularisation of the degrees, in mean degrees
    split: bool = False  # the moment from four parts of the nodes, each leaf from one of its own
    polish: int = 12  # iterations; 0: the spectral memberships
    overlap: bool = True  # False: every node is in one community
    holdout: float = 0.0  # share of the edges kept out and predicted
    stability: int = 0  # further runs, from other seeds, to compare with
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class MomentsConfig:
    """Which moments are kept, for topics or communities that are found without documents or edges."""

    rank: int = 100  # topics or communities that they can tell apart at most
    alpha0: float = 1.0  # documents: sum of the Dirichlet parameters that the moments assume
    m3: Literal["auto", "dense", "sketch"] = "auto"  # documents: how the third moment is kept
    hash_length: int | None = None  # m3 "sketch"; None: from the rank
    sketches: int | None = None  # m3 "sketch": repeats, of which the median is taken; None: 1
    held_out: float = 0.1  # share of the documents that is left out, at most `max_held_out`: those of TopicsConfig
    max_held_out: int = 5000
    tau: float = 0.01  # graphs: regularisation of the degrees, in mean degrees
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SparkConfig:
    """The cluster that a run uses. Sizes in bytes; None: from the size of the data, or as the cluster says."""

    master: str | None = None  # local[n], local-cluster[n,cores,MB], spark://..., yarn, k8s://...; None: spark-submit's
    settings: tuple[tuple[str, str], ...] = ()  # further ones, by their names in Spark; they win
    executor_memory: int | None = None
    driver_memory: int | None = None


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """What tensors, corpora and graphs are worked on with. gpu_memory in bytes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one that can be used
    gpu_memory: int | None = None  # that arrays on the GPU may take; None: what is free
    tf32: bool = False  # products of float32 on the GPU round their factors to ten bits


@dataclasses.dataclass(frozen=True)
class ImagesConfig:
    """How images become a store."""

    format: str = "auto"  # folder, tar, cifar, npz, idx; auto looks at the content
    size: int | None = None  # pixels: shorter side, the middle square is kept; None: as they are
    encoding: Literal["auto", "pixels", "files"] = "auto"  # auto: pixels where all are of one small size
    max_bad: float = 0.01  # images that cannot be read: below 1 a share of all, else how many; more end the run
    max_ratio: int = 1000  # a compressed stream may grow this many times ...
    max_bytes: int = 1 << 40  # ... and never beyond this


@dataclasses.dataclass(frozen=True)
class NetConfig:
    """Which net. head : see nn/head_spec.py."""

    model: str = "resnet50"
    width: int = 64  # channels of the first stage
    head: str = "fc"
    n_classes: int = 1000
    image_size: int = 224  # rows = columns of what the net sees
    dropout: float | None = None  # in the head; None: as the model has it


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied; all of it is a function of (seed, epoch, image)."""

    crop: bool = True  # small images: shifted by up to an eighth; large: a random part, resized
    flip: bool = True  # left and right
    colour: float = 0.0  # strength of brightness, contrast, saturation
    mixup: float = 0.0  # alpha of the Beta distribution; 0: none


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
    """How weights are updated."""

    name: Literal["sgd", "adamw", "lars"] = "sgd"
    learning_rate: float | None = None  # for the whole batch; None: the usual for 256 images, scaled linearly
    momentum: float = 0.9
    weight_decay: float | None = None  # None: 5e-4 for small images, 1e-4 for others, 0.05 for adamw; not on biases
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: float | None = None  # epochs; None: a twentieth of all, at most 5
    label_smoothing: float = 0.0
    clip: float | None = None  # largest norm of the gradient
    ema: float = 0.0  # decay of the averaged weights, which are then scored and exported; 0: none


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """Where a net is trained, and what for in memory and time."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus: int = 1  # processes of this node, one a GPU
    nodes: int = 1
    rendezvous: str | None = None  # HOST:PORT of one node, where the others meet
    strategy: Literal["ddp", "fsdp"] = "ddp"
    compress: Literal["none", "fp16", "bf16", "powersgd"] = "none"  # gradients on their way between processes
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    recompute: Literal["none", "sqrt", "block", "recursive", "auto"] = "none"
    threads: int | None = None  # of the node; None: the cores this process may use
    max_restarts: int = 0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a net is trained."""

    net: NetConfig = NetConfig()
    augment: AugmentConfig = AugmentConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    device: DeviceConfig = DeviceConfig()
    epochs: int = 10
    max_steps: int | None = None
    batch: int = 128  # images of one update, over all processes
    accumulate: int = 1  # parts of a batch that a process takes one after the other
    holdout: float = 0.1  # share of the training images that is scored, where the data has no validation or test part
    max_bad: float = 0.01  # images that cannot be read: below 1 a share of all, else how many; more end the run
    save_every: float = 10.0  # minutes between checkpoints
    track: Literal["none", "tensorboard", "wandb"] = "none"
    seed: int = 0


def as_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values, for a result file."""
    return dataclasses.asdict(config)
