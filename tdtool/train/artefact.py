"""Exported nets, run without the code that built them: .pt2 by torch.export, .onnx by onnxruntime; .safetensors are
weights, for which the net is built anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from tdtool.errors import InputError, MissingExtraError, ResourceError, UsageError
from tdtool.train.net_card import KEY, NetCard, parse_card
from tdtool.train.pixels_in import PixelsIn
from tdtool.train.pt2_guard import guarded_archive
from tdtool.train.stored_net import net_of_safetensors

Function = Callable[[torch.Tensor], torch.Tensor]


class Artefact(NamedTuple):
    """A net in a file.

    logits : pixels (B, 3, S, S) uint8, red, green, blue -> (B, K) float32, both on the CPU; card : what its classes and
    its input are; kind : pt2, onnx or safetensors.
    """

    logits: Function
    card: NetCard
    kind: str


def open_artefact(path: Path, *, kind: str | None = None, device: str = "cpu", threads: int | None = None) -> Artefact:
    """Open an exported net. Nothing in the file is run but operators on tensors.

    kind : as the suffix says, where None; device : "cpu" or "cuda"; threads : of onnxruntime, None: all cores.
    Raises InputError for what is not a net of `tdtool export`, MissingExtraError without onnxruntime.
    """
    kind = kind if kind is not None else path.suffix.lower().removeprefix(".")
    openers: dict[str, Callable[[], tuple[Function, NetCard]]] = {
        "pt2": lambda: _open_pt2(path, device),
        "onnx": lambda: _open_onnx(path, device, threads),
        "safetensors": lambda: _open_safetensors(path, device),
    }
    if kind not in openers:
        raise UsageError(f"{kind or 'nothing'} is no suffix of a net", path=path, hint=f"one of .{', .'.join(openers)}")
    logits, card = openers[kind]()
    _check_answers(logits, card, path)
    return Artefact(logits, card, kind)


def _open_pt2(path: Path, device: str) -> tuple[Function, NetCard]:
    archive, extra = guarded_archive(path)
    card = parse_card(extra.get(KEY), path)
    try:
        program = torch.export.load(archive)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module(check_guards=False)
    except Exception as error:  # the file is not ours, and torch stumbles in any way over what is not there
        raise _damaged(path, error) from error
    return _on_device(module, device), card


def _open_onnx(path: Path, device: str, threads: int | None) -> tuple[Function, NetCard]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    data = _bytes_of(path)  # as bytes, so that no tensor can lie in another file of this machine
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        raise ResourceError("this onnxruntime has no CUDA", hint="install onnxruntime-gpu, or: --device cpu")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[wanted])
        texts = session.get_modelmeta().custom_metadata_map
        (given,), (taken,) = session.get_inputs(), session.get_outputs()
    except Exception as error:  # onnxruntime's classes have nothing in common but this
        raise _damaged(path, error) from error
    card = parse_card(texts.get(KEY), path)
    return lambda pixels: torch.from_numpy(session.run([taken.name], {given.name: pixels.numpy()})[0]), card


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no such file", path=path) from error
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror})", path=path) from error


def _open_safetensors(path: Path, device: str) -> tuple[Function, NetCard]:
    net, card = net_of_safetensors(path)
    return _on_device(PixelsIn(net, card).eval().to(device), device), card


def _on_device(module: torch.nn.Module, device: str) -> Function:
    def logits(pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return module(pixels.to(device)).cpu()

    return logits


def _check_answers(logits: Function, card: NetCard, path: Path) -> None:
    """InputError unless one black image gets an answer of as many numbers as there are classes."""
    size = card.net.image_size
    try:
        answer = logits(torch.zeros((1, 3, size, size), dtype=torch.uint8))
    except Exception as error:  # of torch or onnxruntime, over a graph that only looks like one
        raise _damaged(path, error) from error
    if answer.shape != (1, len(card.classes)) or answer.dtype != torch.float32:
        raise InputError(f"its answers are {tuple(answer.shape)} of {answer.dtype}, not as its card says", path=path)


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return InputError(
        f"it is no exported net, or damaged ({reason})",
        path=path,
        hint="write it again: tdtool export RUN; .pt2 files are opened by the torch that wrote them, or a newer one",
    )
