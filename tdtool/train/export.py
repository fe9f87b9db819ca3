"""A trained net as a file that other programs run: a graph from pixels to logits, or its weights."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tdtool.errors import InputError, MissingExtraError, TdtoolError, UsageError
from tdtool.train.artefact import open_artefact
from tdtool.train.net_card import KEY, NetCard
from tdtool.train.pixels_in import PixelsIn

FORMATS = ("pt2", "onnx", "safetensors")
#: Numbers of images that the written file must answer as the net does; the graph was traced with another one.
CHECKED_BATCHES = (1, 2, 5)
_TRACED_BATCH = 3
#: Largest difference of logits, as a share of the largest logit, that other kernels may leave.
_TOLERANCES = {"pt2": 1e-5, "onnx": 1e-4, "safetensors": 1e-5}
_LARGEST_BATCH = 1 << 16
_ONNX_BYTES = (1 << 31) - (1 << 20)  # a protobuf message ends at 2 GiB


def export_net(net: torch.nn.Module, card: NetCard, kind: str, path: Path) -> float:
    """Write `net` to `path` and check what was written; returns the largest difference of logits, over the largest.

    net : in evaluation mode, on the CPU, float32; kind : of FORMATS. Raises TdtoolError where the file answers
    otherwise than the net does, InputError where the net's own answers are no numbers.
    """
    model = PixelsIn(net, card).eval()
    batches = [_pixels(card, n) for n in CHECKED_BATCHES]
    batches += [pixels.contiguous(memory_format=torch.channels_last) for pixels in batches]
    expected = [_logits(model, pixels) for pixels in batches]
    if not all(bool(torch.isfinite(logits_BK).all()) for logits_BK in expected):
        raise InputError("the net's answers are no numbers: its training diverged", hint="export an earlier checkpoint")
    writers = {"pt2": _write_pt2, "onnx": _write_onnx, "safetensors": _write_safetensors}
    writers[kind](model, card, path)
    written = open_artefact(path, kind=kind)
    if written.card != card:
        raise TdtoolError("the file that was written does not say what it should", path=path)
    largest = max(float(logits_BK.abs().max()) for logits_BK in expected)
    gaps = [written.logits(pixels) - logits_BK for pixels, logits_BK in zip(batches, expected, strict=True)]
    difference = max(float(gap.abs().max()) for gap in gaps) / max(largest, 1e-30)
    if not difference <= _TOLERANCES[kind]:
        raise TdtoolError(
            f"the exported net differs from the net by {difference:.1e} of its largest answer, at most "
            f"{_TOLERANCES[kind]:.0e} is allowed; nothing was written",
            path=path,
            hint="try another --format, and report this with the name of the net and the versions: tdtool doctor",
        )
    return difference


def traced(model: PixelsIn, card: NetCard) -> Any:
    """The graph of torch.export, for any number of images. Holds no names of files and no Python source."""
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    with torch.no_grad(), _quiet():
        program = torch.export.export(model, (_pixels(card, _TRACED_BATCH),), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(name, None)
    return program


def _write_pt2(model: PixelsIn, card: NetCard, path: Path) -> None:
    program = traced(model, card)
    program._example_inputs = None  # torch would pickle them
    program._guards_code = []  # source that says what the sizes of the input are, which whoever runs it checks
    with path.open("wb") as file, _quiet():
        torch.export.save(program, file, extra_files={KEY: card.to_json()})


def _write_onnx(model: PixelsIn, card: NetCard, path: Path) -> None:
    check_onnx_packages()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > _ONNX_BYTES:
        raise UsageError(f"the net has {size / 2**30:.1f} GiB, an ONNX file ends at 2", hint="use --format pt2")
    with _quiet():
        written = torch.onnx.export(
            traced(model, card),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["pixels"],
            output_names=["logits"],
        )
    graph = written.model.graph
    for node in graph:
        node.metadata_props.clear()  # lines of Python files, with their places on this machine
    for value in (*graph.inputs, *graph.outputs):
        value.shape[0] = "batch"
    for value in (output for node in graph for output in node.outputs if output not in graph.outputs):
        value.shape = None  # says no more than the operators do, under another name of the batch
    written.model.metadata_props[KEY] = card.to_json()
    written.save(path)


def check_onnx_packages() -> None:
    """MissingExtraError unless what writes and runs ONNX is installed."""
    import importlib.util

    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "onnx")


def _write_safetensors(model: PixelsIn, card: NetCard, path: Path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in model.net.state_dict().items()}
    save_file(tensors, path, metadata={KEY: card.to_json(), "format": "pt"})


def _pixels(card: NetCard, n: int) -> torch.Tensor:
    """(n, 3, S, S) uint8 noise, the same for the same n."""
    size = card.net.image_size
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


def _logits(model: PixelsIn, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(pixels)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporters speak of their own affairs: deprecated calls among themselves, packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            yield
    finally:
        logger.setLevel(before)
