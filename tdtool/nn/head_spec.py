"""Which head a net has: parsed from a word, checked against the activation, counted in parameters and flops.

A head maps the last activation (C, H, W) to K classes. No torch here: the command line and the plan count with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import Literal, get_args

from tdtool.errors import UsageError
from tdtool.nn.contraction_order import contraction_plan, cp_flops, regression_plan

Kind = Literal["fc", "gap", "tcl", "trl", "cp", "auto"]
Shape = tuple[int, int, int]

GRAMMAR = (
    "a head is fc | gap | tcl:C,H,W[,fc=WIDTH] | trl:C,H,W[,OUT] | cp:RANK | auto:SHARE, with ranks of channels, rows "
    "and columns (- leaves a mode alone), such as tcl:384,5,5,fc=3072 or trl:48,3,3 or auto:0.35"
)


@dataclasses.dataclass(frozen=True)
class HeadSpec:
    """One head. str() is its canonical word, and `parse_head` reads that back.

    kind : "fc" the model's own, "gap" the mean over rows and columns and one linear layer, "tcl" a contraction before
    the fully connected layers, "trl" and "cp" a Tucker and a CP regression, "auto" to be chosen.
    ranks : tcl: of C, H, W; trl: of C, H, W and, if there are four, of the outputs; cp: one. None leaves a mode alone.
    fc : tcl only. One width: of every hidden layer; several: of exactly these; (): no hidden layers; None: the model's.
    share : auto only: the share of the fc head's parameters that the head may have.
    """

    kind: Kind
    ranks: tuple[int | None, ...] = ()
    fc: tuple[int, ...] | None = None
    share: float | None = None

    def __str__(self) -> str:
        parts = ["-" if rank is None else str(rank) for rank in self.ranks]
        if self.fc is not None:
            parts.append("fc=" + ("x".join(map(str, self.fc)) or "-"))
        if self.share is not None:
            parts.append(repr(self.share))
        return self.kind + (":" + ",".join(parts) if parts else "")


def parse_head(text: str) -> HeadSpec:
    """The head that a word stands for. UsageError with the grammar where it stands for none."""
    kind, colon, rest = text.strip().partition(":")
    parts = [part.strip() for part in rest.split(",")] if colon else []
    if kind in ("fc", "gap") and not colon:
        return HeadSpec("fc" if kind == "fc" else "gap")
    if kind == "tcl":
        widths = _widths(parts.pop(), text) if parts and parts[-1].startswith("fc=") else None
        return HeadSpec("tcl", _ranks(parts, (3,), text), widths)
    if kind == "trl":
        ranks = _ranks(parts, (3, 4), text)
        if len(ranks) == 4 and ranks[3] is None:
            ranks = ranks[:3]
        return HeadSpec("trl", ranks)
    if kind == "cp" and len(parts) == 1 and parts[0] != "-":
        return HeadSpec("cp", _ranks(parts, (1,), text))
    if kind == "auto" and len(parts) == 1:
        return HeadSpec("auto", share=_share(parts[0], text))
    raise _unreadable(text)


def parse_heads(text: str) -> list[HeadSpec]:
    """Several heads with commas between, as "fc,tcl:64,3,3,trl:48,3,3": a new one starts at a kind."""
    words: list[str] = []
    for part in text.split(","):
        if not words or part.strip().partition(":")[0] in get_args(Kind):
            words.append(part)
        else:
            words[-1] += "," + part
    return [parse_head(word) for word in words]


def check_head(spec: HeadSpec, shape: Shape, n_classes: int) -> None:
    """UsageError where the head does not fit an activation of `shape` (C, H, W) or `n_classes` outputs."""
    named = (*zip(("channels", "rows", "columns"), shape, strict=True), ("classes", n_classes))
    if spec.kind in ("tcl", "trl"):
        for rank, (mode, size) in zip(spec.ranks, named, strict=False):
            if rank is not None and rank > size:
                raise UsageError(
                    f"head {spec}: rank {rank} of the {mode} is larger than their number, {size}",
                    hint=f"the last activation is {shape[0]} x {shape[1]} x {shape[2]} (channels, rows, columns); "
                    f"ranks lie between 1 and these sizes",
                )
    if spec.kind == "cp" and spec.ranks[0] is not None:
        largest = math.prod(shape) * n_classes // max(*shape, n_classes)
        if spec.ranks[0] > largest:
            raise UsageError(f"head {spec}: no weight of {shape} x {n_classes} has a CP rank above {largest}")


def hidden_widths(spec: HeadSpec, hidden: Sequence[int]) -> tuple[int, ...]:
    """Widths of the head's hidden layers. hidden : those of the model's own fc head."""
    if spec.kind not in ("fc", "tcl"):
        return ()
    if spec.fc is None:
        return tuple(hidden)
    return spec.fc * max(len(hidden), 1) if len(spec.fc) == 1 else spec.fc


def head_parameters(spec: HeadSpec, shape: Shape, n_classes: int, hidden: Sequence[int]) -> int:
    """Number of parameters of a head, biases and all. hidden : widths of the model's own fc head, () for ResNets,
    whose fc head is pooled. auto: the most that may be chosen."""
    if spec.kind == "auto":
        return int((spec.share or 0.0) * head_parameters(HeadSpec("fc"), shape, n_classes, hidden))
    if spec.kind == "trl":
        ranks, rank_out = tucker_ranks(spec, shape, n_classes)
        kept = [n_classes if rank_out is None else rank_out, *ranks]
        factors = sum(size * rank for size, rank in zip(shape, spec.ranks, strict=False) if rank is not None)
        return factors + math.prod(kept) + (0 if rank_out is None else n_classes * rank_out) + n_classes
    if spec.kind == "cp":
        return (sum(shape) + n_classes) * int(spec.ranks[0] or 0) + n_classes
    factors = sum(size * rank for size, rank in zip(shape, spec.ranks, strict=False) if rank is not None)
    widths = [_flattened(spec, shape, hidden), *hidden_widths(spec, hidden), n_classes]
    return factors + sum(into * out + out for into, out in itertools.pairwise(widths))


def head_flops(spec: HeadSpec, shape: Shape, n_classes: int, hidden: Sequence[int], batch: int = 1) -> int:
    """Floating-point operations of the head's forward pass on `batch` images: multiply-adds count twice, what is added
    or pooled not at all. auto: of the fc head."""
    if spec.kind == "trl":
        ranks, rank_out = tucker_ranks(spec, shape, n_classes)
        wanted = tuple(ranks[mode] if spec.ranks[mode] is not None else None for mode in range(3))
        return regression_plan(shape, wanted, n_classes, rank_out).flops(batch)
    if spec.kind == "cp":
        return cp_flops(shape, int(spec.ranks[0] or 0), n_classes, batch)
    total = contraction_plan(shape, spec.ranks).flops(batch) if spec.kind == "tcl" else 0
    spec = HeadSpec("fc") if spec.kind == "auto" else spec
    widths = [_flattened(spec, shape, hidden), *hidden_widths(spec, hidden), n_classes]
    return total + 2 * batch * sum(into * out for into, out in itertools.pairwise(widths))


def tucker_ranks(spec: HeadSpec, shape: Shape, n_classes: int) -> tuple[tuple[int, ...], int | None]:
    """Sizes of a trl core: of C, H, W, and of the outputs, None where the core ends in the classes themselves."""
    inner = tuple(size if rank is None else rank for size, rank in zip(shape, spec.ranks, strict=False))
    return inner, spec.ranks[3] if len(spec.ranks) == 4 else None


def _flattened(spec: HeadSpec, shape: Shape, hidden: Sequence[int]) -> int:
    """Inputs of the first linear layer."""
    if spec.kind == "gap" or (spec.kind == "fc" and not hidden):
        return shape[0]
    ranks = spec.ranks or (None,) * 3
    return math.prod(size if rank is None else rank for size, rank in zip(shape, ranks, strict=True))


def _ranks(parts: list[str], numbers: tuple[int, ...], text: str) -> tuple[int | None, ...]:
    if len(parts) not in numbers or not all(re.fullmatch(r"[1-9][0-9]{0,6}|-", part) for part in parts):
        raise _unreadable(text)
    return tuple(None if part == "-" else int(part) for part in parts)


def _widths(part: str, text: str) -> tuple[int, ...]:
    words = part.removeprefix("fc=")
    if words == "-":
        return ()
    if not re.fullmatch(r"[1-9][0-9]{0,6}(x[1-9][0-9]{0,6})*", words):
        raise _unreadable(text)
    return tuple(int(width) for width in words.split("x"))


def _share(part: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", part) or not 0 < float(part) < 1:
        raise UsageError(f"head {text!r}: the share lies between 0 and 1, as in auto:0.35", hint=GRAMMAR)
    return float(part)


def _unreadable(text: str) -> UsageError:
    return UsageError(f"{text!r} is no head", hint=GRAMMAR)
