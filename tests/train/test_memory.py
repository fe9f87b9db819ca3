"""Memory is predicted before it is taken: by part, against a real process, and for the answers that depend on it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tdtool.config import DeviceConfig, NetConfig, OptimiserConfig, TrainConfig, as_json
from tdtool.errors import ResourceError
from tdtool.train.memory import answer_oom, choose_recompute, fit_batch, oom_answered, predict

SMALL = TrainConfig(
    net=NetConfig(model="resnet18", width=16, image_size=32, n_classes=7),
    device=DeviceConfig(device="cpu", precision="fp32"),
    batch=32,
)
#: Trains some steps and prints the most memory it has held.
CHILD = """
import json, sys
from pathlib import Path
import numpy as np, torch
from tdtool.config import TrainConfig
from tdtool.nn.models import build
from tdtool.nn.recompute import recompute
from tdtool.train import worker
from tdtool.train.batches import Batch
from tdtool.train.optimisers import make_optimiser
from tdtool.train.precision import compute_dtype
from tdtool.train.run_folder import config_from_json
from tdtool.train.step import Updater
config = config_from_json(TrainConfig, json.loads(sys.argv[1]))
torch.set_num_threads(1)
net = build(config.net).to(memory_format=torch.channels_last)
recompute(net, config.device.recompute)
optimiser = make_optimiser(net, config.optimiser, batch=config.batch, small_images=True)
device = torch.device("cpu")
dtype = compute_dtype(config.device.precision, device)
updater = Updater(net, optimiser, config.optimiser, device=device, dtype=dtype, seed=0, rank_id=0)
size = config.net.image_size
pixels = torch.zeros(config.batch, size, size, 3, dtype=torch.uint8).random_(0, 255)
batch = Batch(pixels, torch.zeros(config.batch, dtype=torch.int64), None, np.arange(config.batch))
for step in range(4):
    updater.update([batch], step, 1e-6)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def changed(config: TrainConfig = SMALL, *, batch: int | None = None, **device: object) -> TrainConfig:
    return dataclasses.replace(config, batch=batch or config.batch, device=dataclasses.replace(config.device, **device))


def measured(config: TrainConfig) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(as_json(config))], capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024


def assert_predicted(config: TrainConfig) -> None:
    plan = predict(config)
    # The child writes no checkpoint.
    assert plan.total - plan.parts["saving"] == pytest.approx(measured(config), rel=0.15)


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")


@linux
def test_the_peak_is_predicted() -> None:
    assert_predicted(dataclasses.replace(SMALL, net=dataclasses.replace(SMALL.net, width=32), batch=64))


@linux
@pytest.mark.study
@pytest.mark.parametrize(
    ("net", "batch", "precision", "mode", "optimiser"),
    [
        (NetConfig(model="resnet18", image_size=32), 128, "fp32", "none", "sgd"),
        (NetConfig(model="resnet50", image_size=32), 32, "bf16", "none", "adamw"),
        (NetConfig(model="resnet50"), 8, "fp32", "none", "sgd"),
        (NetConfig(model="vgg16"), 4, "fp32", "none", "sgd"),
        (NetConfig(model="alexnet"), 32, "fp32", "none", "adamw"),
        (NetConfig(model="resnet34"), 32, "bf16", "sqrt", "sgd"),
    ],
)
def test_the_peak_is_predicted_for_all_kinds(
    net: NetConfig, batch: int, precision: str, mode: str, optimiser: str
) -> None:
    device = DeviceConfig(device="cpu", precision=precision, recompute=mode)  # type: ignore[arg-type]
    optimiser_config = OptimiserConfig(name=optimiser)  # type: ignore[arg-type]
    assert_predicted(TrainConfig(net=net, optimiser=optimiser_config, device=device, batch=batch))


def test_parts_are_what_they_are_called() -> None:
    config = dataclasses.replace(SMALL, optimiser=OptimiserConfig(name="adamw", ema=0.99))
    parts = predict(config).parts
    assert parts["optimiser"] == 2 * parts["gradients"]
    assert parts["average"] == parts["weights"] > parts["gradients"]
    # Half of float32's; the casts of weights and the statistics of norms do not shrink.
    assert predict(changed(precision="bf16")).parts["activations"] < 0.7 * predict(SMALL).parts["activations"]


def test_activations_grow_with_the_part_of_a_batch_that_is_computed_at_a_time() -> None:
    one, double = (predict(changed(batch=batch)).parts["activations"] for batch in (32, 64))
    assert double == pytest.approx(2 * one, rel=0.05)
    halves = predict(dataclasses.replace(SMALL, batch=64, accumulate=2))
    assert halves.micro_batch == 32
    assert halves.parts["activations"] < 0.6 * double
    shared = predict(changed(batch=64, gpus=2))
    assert (shared.micro_batch, shared.parts["activations"], shared.processes) == (32, one, 2)


def test_recomputation_holds_less_and_shards_are_shared() -> None:
    assert predict(changed(recompute="sqrt")).parts["activations"] < 0.8 * predict(SMALL).parts["activations"]
    whole, sharded = predict(changed(gpus=2)), predict(changed(gpus=2, strategy="fsdp"))
    assert sharded.parts["optimiser"] == whole.parts["optimiser"] // 2


def test_the_batch_is_the_largest_that_fits() -> None:
    usual, plan, words = fit_batch(SMALL, 1 << 40)
    assert usual == plan.batch == 128
    assert "the usual batch" in words
    free = int(predict(changed(batch=128)).total / 0.9) - (4 << 20)
    batch, plan, words = fit_batch(SMALL, free)
    assert batch == 64
    assert plan.total < 0.9 * free
    assert "128 would not fit" in words
    assert fit_batch(SMALL, 1 << 40, most=100)[0] == 64
    assert fit_batch(changed(gpus=3), 1 << 40)[0] % 3 == 0


def test_no_batch_at_all_is_an_error_that_says_what_is_there() -> None:
    with pytest.raises(ResourceError, match=r"a batch of 1 takes .* 100 MB are free"):
        fit_batch(SMALL, 100_000_000)


def test_recomputation_is_chosen_by_what_is_free() -> None:
    config = changed(batch=256)
    none, root = (predict(changed(config, recompute=mode)).total for mode in ("none", "sqrt"))
    assert choose_recompute(config, 1 << 40) == "none"
    assert choose_recompute(config, int((none + root) / 2 / 0.9)) == "sqrt"
    assert choose_recompute(config, 1) == "recursive"


def test_out_of_memory_is_answered_with_what_fits() -> None:
    config = changed(batch=512)
    free = int(predict(changed(batch=128)).total / 0.9) + (8 << 20)
    error = answer_oom(config, free)
    assert "a batch of 512 takes about" in error.what
    assert error.hint is not None
    assert "--batch 128 fits" in error.hint
    assert "--accumulate" in error.hint
    with pytest.raises(ResourceError, match="--batch 128 fits"), oom_answered(config, free, "cpu"):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(ResourceError), oom_answered(config, free, "cpu"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="shapes"), oom_answered(config, free, "cpu"):
        raise RuntimeError("shapes do not fit")
