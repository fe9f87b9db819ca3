"""Activations computed again in the backward pass, to hold fewer of them (Chen et al. 2016, arXiv:1604.06174).

Units of a net are gathered in segments; a segment keeps its input alone and is run again when its gradient is due.
sqrt: one level of segments (n units: about sqrt(n) inputs and one segment's activations are held), one more forward
pass. block: every unit is a segment. recursive: segments of segments, O(log n) levels of a few parts each (section 4.4
of the paper), one more forward pass a level. The last part of every level is held as it is: its gradient is due first.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from tdtool.nn.costs import LayerCost, count
from tdtool.nn.net import Net, run_in_turn

MODES = ("none", "sqrt", "block", "recursive")
#: Parts of a level of `recursive`, at most about.
_BRANCHES = 8
#: What is held: places of units run as they are, and segments (tuples of the same) that are run again.
Tree = tuple["int | Tree", ...]


def recompute(model: Net, mode: str) -> None:
    """From now on `model` runs its features by `mode`, one of MODES; gradients stay the same to the last bit.

    Statistics of batch normalisation are counted in the first run alone; random draws (dropout) are repeated.
    """
    if mode not in MODES:
        raise ValueError(f"the mode of recomputation is {mode!r}; have {', '.join(MODES)}")
    model.runner = run_in_turn if mode == "none" else _Recomputing(segments(model, mode))


def segments(model: Net, mode: str) -> Tree:
    """The segments of `mode` over the places of model.units(), cut by bytes: units of wide maps make short ones."""
    layers = count(model).layers[:-1]
    if mode == "block":
        return (*((place,) for place in range(len(layers) - 1)), len(layers) - 1)
    levels = 1 if mode == "sqrt" else max(2, math.ceil(math.log(len(layers), _BRANCHES)))
    return _cut(layers, 0, levels)[0]


def _cut(layers: Sequence[LayerCost], first: int, levels: int) -> tuple[Tree, int]:
    """Segments of `layers`, whose first one has the place `first`, and the bytes held at worst."""
    saved = [layer.saved_bytes for layer in layers]
    best: tuple[Tree, int] = (tuple(range(first, first + len(layers))), sum(saved))
    if levels == 0 or len(layers) == 1:
        return best
    for parts in _numbers_of_parts(len(layers), levels):
        tree: list[int | Tree] = []
        held, worst = 0, 0
        starts = _starts(saved, sum(saved) / parts)
        for start, end in zip(starts, [*starts[1:], len(layers)], strict=True):
            inner, peak = _cut(layers[start:end], first + start, levels - 1)
            tree += [inner] if end < len(layers) else inner
            held, worst = held + layers[start].input_bytes, max(worst, peak)
        if held + worst < best[1]:
            best = tuple(tree), held + worst
    return best


def _numbers_of_parts(n: int, levels: int) -> list[int]:
    """Numbers of parts worth trying: about the root of n that shares it evenly over the levels."""
    even = n ** (1 / (levels + 1))
    return sorted({min(n, max(2, round(even * factor))) for factor in (0.5, 0.7, 1, 1.4, 2, 2.8, 4)})


def _starts(saved: list[int], limit: float) -> list[int]:
    """Where parts begin, when one ends before it would hold more than `limit` bytes."""
    starts, held = [0], 0
    for place, size in enumerate(saved):
        if place > starts[-1] and held + size > limit:
            starts.append(place)
            held = 0
        held += size
    return starts


class _Recomputing:
    """A runner (net.py) that goes through the units by a tree of segments."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __call__(self, units: list[list[nn.Module]], x_BCHW: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return run_in_turn(units, x_BCHW)
        return self._run(self.tree, units, x_BCHW)

    def _run(self, tree: Tree, units: list[list[nn.Module]], x_BCHW: torch.Tensor) -> torch.Tensor:
        for item in tree:
            if isinstance(item, int):
                x_BCHW = run_in_turn([units[item]], x_BCHW)
                continue
            run = functools.partial(self._run, item, units)
            if torch.compiler.is_compiling():  # what is compiled writes the statistics once in any case
                x_BCHW = checkpoint(run, x_BCHW, use_reentrant=False)
            else:
                contexts = functools.partial(_contexts, [units[place] for place in _places(item)])
                x_BCHW = checkpoint(run, x_BCHW, use_reentrant=False, context_fn=contexts)
        return x_BCHW


def _places(tree: Tree) -> Iterator[int]:
    for item in tree:
        if isinstance(item, int):
            yield item
        else:
            yield from _places(item)


def _contexts(
    units: list[list[nn.Module]],
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    return contextlib.nullcontext(), _statistics_kept(units)


@contextlib.contextmanager
def _statistics_kept(units: list[list[nn.Module]]) -> Iterator[None]:
    """Batch normalisation does all it does, but writes the statistics where nobody reads them."""
    norms = [
        norm
        for unit in units
        for module in unit
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.training and norm.running_mean is not None
    ]
    own = [(norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.running_mean, norm.running_var = torch.empty_like(norm.running_mean), torch.empty_like(norm.running_var)
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, kept in zip(norms, own, strict=True):
            norm.running_mean, norm.running_var, norm.num_batches_tracked = kept
