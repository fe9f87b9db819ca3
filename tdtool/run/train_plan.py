"""What training a net will take: parameters, arithmetic, memory, steps; and what memory decides."""

from __future__ import annotations

import dataclasses
from typing import Any

from tdtool.config import NetConfig, TrainConfig
from tdtool.errors import UsageError
from tdtool.nn.head_spec import check_head, head_flops, head_parameters, parse_head
from tdtool.run.machine import available_memory, total_memory
from tdtool.run.train_data import TrainData, resized, with_data
from tdtool.run.train_request import TrainRequest, world_size
from tdtool.train.run_folder import SYNTHETIC


@dataclasses.dataclass(frozen=True)
class NetFacts:
    """Sizes of a net, exact. Parameters are counted in numbers; flops: of one image, forward, two a multiply-add.

    feature_shape : (C, H, W) of the map that the head reads; own_head : parameters of the model's own head, to which
    `head_parameters` is compared.
    """

    model: str
    head: str
    feature_shape: tuple[int, int, int]
    parameters: int
    head_parameters: int
    own_head: int
    flops: int
    head_flops: int
    own_head_flops: int

    @property
    def saved(self) -> float:
        """Share of the own head's parameters that this head does without."""
        return 1 - self.head_parameters / self.own_head

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "head_saved": self.saved}


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """What a run would take. memory : bytes by part; steps : of the optimiser; words : why this batch."""

    net: NetFacts
    device: str
    precision: str
    processes: int
    batch: int
    accumulate: int
    recompute: str
    image_size: int
    n_classes: int
    n_train: int
    n_scored: int
    scored: str
    steps: int | None
    memory: dict[str, int]
    memory_bytes: int
    words: str

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "net": self.net.as_dict()}


def facts_of(config: NetConfig) -> NetFacts:
    """Count a net; the head "auto" as large as it may become. UsageError: a head that does not fit the activation."""
    from tdtool.nn.costs import count
    from tdtool.nn.models import build

    spec = parse_head(config.head)
    own = build(dataclasses.replace(config, head="fc"), device="meta")
    shape, hidden, classes = own.feature_shape, own.hidden, config.n_classes
    fc = parse_head("fc")
    own_head, own_flops = head_parameters(fc, shape, classes, hidden), head_flops(fc, shape, classes, hidden)
    costs = count(own, config.image_size, batch=2)  # batch normalisation has no say on a single value
    flops = costs.flops // 2
    check_head(spec, shape, classes)
    head, its_flops = head_parameters(spec, shape, classes, hidden), head_flops(spec, shape, classes, hidden)
    return NetFacts(
        model=config.model,
        head=str(spec),
        feature_shape=shape,
        parameters=costs.parameters - own_head + head,
        head_parameters=head,
        own_head=own_head,
        flops=flops - own_flops + its_flops,
        head_flops=its_flops,
        own_head_flops=own_flops,
    )


def settled(request: TrainRequest, data: TrainData, kind: str) -> tuple[TrainConfig, TrainData, str]:
    """The settings with what the data and memory decide; the data; and why this batch, in words.

    kind : of the device. UsageError: a batch that cannot be, a head that does not fit.
    """
    config, words = with_recompute(with_data(request.config, data), kind), ""
    facts_of(config.net)
    if request.batch is None:
        from tdtool.train.memory import fit_batch

        most = data.n_train if data.n_train and data.place != SYNTHETIC else None
        batch, _, words = fit_batch(config, free_memory(kind), kind, most=most)
        config = dataclasses.replace(config, batch=batch)
        data = resized(data, config)
    check_batch(config, data, request)
    return config, data, words


def with_recompute(config: TrainConfig, kind: str) -> TrainConfig:
    """The settings with what is computed again, where memory decides it (--recompute auto)."""
    if config.device.recompute != "auto":
        return config
    from tdtool.train.memory import choose_recompute

    mode = choose_recompute(config, free_memory(kind), kind)
    return dataclasses.replace(config, device=dataclasses.replace(config.device, recompute=mode))


def free_memory(kind: str) -> int:
    """Bytes that training may take on a kind of device."""
    if kind == "cpu":
        return available_memory() or total_memory()
    from tdtool.train.memory import free_on_gpu

    return int(free_on_gpu())


def check_batch(config: TrainConfig, data: TrainData, request: TrainRequest) -> None:
    """UsageError unless every update can be made of whole parts, one for each process."""
    mixed = 2 if config.augment.mixup else 1
    parts = world_size(request) * config.accumulate * mixed
    if config.batch % parts:
        smaller = config.batch // parts * parts or parts
        of = f"{world_size(request)} processes x {config.accumulate} parts" + (" x 2 for --mixup" if mixed == 2 else "")
        hint = f"--batch {smaller} or --batch {smaller + parts} does"
        raise UsageError(f"--batch {config.batch} does not divide by {parts} ({of})", hint=hint)
    if data.n_train and config.batch > data.n_train:
        hint = f"--batch {max(parts, 2 ** (data.n_train.bit_length() - 1) // parts * parts)} or less"
        raise UsageError(f"--batch {config.batch} is more than the {data.n_train:,} training images", hint=hint)


def n_steps(config: TrainConfig, data: TrainData) -> int | None:
    """Steps of the optimiser; None: the data is not known and --max-steps not given."""
    from tdtool.train.schedules import total_steps

    if not data.n_train:
        return config.max_steps
    return total_steps(epochs=config.epochs, steps_per_epoch=data.n_train // config.batch, max_steps=config.max_steps)


def plan(config: TrainConfig, data: TrainData, request: TrainRequest, kind: str, words: str = "") -> TrainPlan:
    """What the run would take. config : with all that `with_data` and `settled` fill in."""
    from tdtool.train.memory import predict
    from tdtool.train.precision import precision_on

    memory = predict(config, kind)
    return TrainPlan(
        net=facts_of(config.net),
        device=kind,
        precision=precision_on(config.device.precision, kind),
        processes=world_size(request),
        batch=config.batch,
        accumulate=config.accumulate,
        recompute=config.device.recompute,
        image_size=config.net.image_size,
        n_classes=config.net.n_classes,
        n_train=data.n_train,
        n_scored=data.n_scored,
        scored=data.scored,
        steps=n_steps(config, data),
        memory=dict(memory.parts),
        memory_bytes=memory.total,
        words=words,
    )
