"""In which order a batch of activations meets the factors of a tensor layer: the cheapest one, found once a shape.

A layer is a network of tensors: the activation x (its modes are 0 ... N-1, besides the batch) and weights, each an
array whose axes have labels; two tensors with a label in common are summed over it. The plan says which weights are
merged with each other first, and in which order the activation absorbs the merged ones. No torch here.

Letters: B batch, N order, I_n size and R_n rank of mode n, K outputs.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

#: Labels: mode n is n, its rank RANK + n, the rank of the outputs OUT, the outputs CLASS.
RANK, OUT, CLASS = 100, 200, 201
#: Images that a plan is made for; it is static, so that a traced graph serves batches of every size.
BATCH = 64
#: What moving one value, one call and one of many small products cost, in floating-point operations (a CPU core does
#: some 5e10 of these a second, reads or writes 3e9 values, and makes 2e5 calls). They decide between orders of similar
#: arithmetic: two small modes are better merged than contracted one by one in thousands of tiny products.
_MOVE, _CALL, _PIECE = 16, 200_000, 500

Labels = tuple[int, ...]
#: How weights are merged: the number of a weight, or two such merges.
Merge = int | tuple["Merge", "Merge"]


@dataclasses.dataclass(frozen=True)
class Step:
    """The activation absorbs one weight. merge : which of the weights it is made of; weight : its labels;
    contracted : those that are summed over, in their order in the activation; new : those that take their place."""

    merge: Merge
    weight: Labels
    contracted: Labels
    new: Labels


@dataclasses.dataclass(frozen=True)
class Plan:
    """data, result : labels of the activation before and after, in their order in memory, the batch left out;
    fixed : operations on the weights alone; per_image : operations for each image of a batch."""

    data: Labels
    result: Labels
    steps: tuple[Step, ...]
    fixed: int
    per_image: int

    def flops(self, batch: int) -> int:
        """Operations of a forward pass; a multiply-add counts twice."""
        return self.fixed + batch * self.per_image


@dataclasses.dataclass(frozen=True)
class _Network:
    """sizes : (label, size) pairs; weights : labels of each."""

    sizes: tuple[tuple[int, int], ...]
    data: Labels
    weights: tuple[Labels, ...]


def contraction_plan(shape: Sequence[int], ranks: Sequence[int | None], *, channels_last: bool = False) -> Plan:
    """How a TCL contracts. shape : I_0, I_1, ...; ranks : R_n, None where a mode is left alone; channels_last : mode 0
    is the last in memory. The weights are the factors of the modes that have one, in order."""
    sizes = _sizes(shape, ranks)
    weights = tuple((mode, RANK + mode) for mode, rank in enumerate(ranks) if rank is not None)
    return _cheapest(_Network(sizes, _in_memory(len(shape), channels_last), weights))


def regression_plan(
    shape: Sequence[int],
    ranks: Sequence[int | None],
    n_outputs: int,
    rank_out: int | None = None,
    *,
    channels_last: bool = False,
) -> Plan:
    """How a Tucker TRL contracts. n_outputs : K; rank_out : of the outputs, None where the core ends in them.

    The weights are the factors of the modes that have one, the core, and the factor of the outputs if there is one.
    The activation is projected; weights are merged into the full one, (I_0, ..., I_{N-1}, K), only where K is at most
    BATCH, so that it is smaller than the activations, and that needs the fewest operations (K below the ranks).
    """
    sizes = (*_sizes(shape, ranks), (CLASS, n_outputs), (OUT, rank_out or 1))
    weights = [(mode, RANK + mode) for mode, rank in enumerate(ranks) if rank is not None]
    core = [mode if rank is None else RANK + mode for mode, rank in enumerate(ranks)]
    weights.append((*core, CLASS if rank_out is None else OUT))
    if rank_out is not None:
        weights.append((CLASS, OUT))
    return _cheapest(_Network(sizes, _in_memory(len(shape), channels_last), tuple(weights)))


def cp_flops(shape: Sequence[int], rank: int, n_outputs: int, batch: int) -> int:
    """Operations of a CP regression: the largest mode by one product, the others by their Khatri-Rao product, then the
    outputs. Every order costs the first term, I_0 ... I_{N-1} R."""
    rest = math.prod(shape) // max(shape)
    return 2 * batch * rank * (math.prod(shape) + rest + n_outputs) + rank * rest


def _sizes(shape: Sequence[int], ranks: Sequence[int | None]) -> tuple[tuple[int, int], ...]:
    modes = list(enumerate(shape))
    return (*modes, *((RANK + mode, rank) for mode, rank in enumerate(ranks) if rank is not None))


def _in_memory(order: int, channels_last: bool) -> Labels:
    return (*range(1, order), 0) if channels_last else tuple(range(order))


@functools.lru_cache(maxsize=256)
def _cheapest(network: _Network) -> Plan:
    """The plan that is fastest by the model above, among those that need no more operations than mode by mode."""
    plain = _one_by_one(network)
    regression = any(CLASS in weight for weight in network.weights)
    slope, few = plain.per_image, BATCH if regression else 1  # merging a core pays from some images on
    if _few_outputs(network):
        slope = min(slope, 2 * math.prod(dict(network.sizes)[label] for label in (*network.data, CLASS)))
    for move, call, piece in ((_MOVE, _CALL, _PIECE), (0, 0, 0)):
        plan = _Search(network, move, call, piece).plan()
        if plan.per_image <= slope and plan.flops(few) <= plain.flops(few):  # and so for every larger batch
            return plan
    return _Search(network, 0, 0, 0, merging=False).plan()


def _few_outputs(network: _Network) -> bool:
    """True where the full weight has no more values than the activations of BATCH images."""
    return dict(network.sizes).get(CLASS, BATCH + 1) <= BATCH


def _one_by_one(network: _Network) -> Plan:
    """The weights in their order: channels first, then mode by mode, then the core."""
    search = _Search(network, 0, 0, 0)
    labels, taken, total = network.data, [], 0
    for number in range(len(network.weights)):
        step, labels = search.step(labels, number, network.weights[number])
        taken.append(step)
        total += search.products(step, labels)
    return Plan(network.data, labels, tuple(taken), 0, total)


class _Search:
    """All orders, each part of the problem solved once."""

    def __init__(self, network: _Network, move: int, call: int, piece: int, *, merging: bool = True) -> None:
        self._network, self._move, self._call, self._piece, self._merging = network, move, call, piece, merging
        self._size = dict(network.sizes)
        self._merged: dict[frozenset[int], tuple[float, int, Merge, Labels]] = {}
        self._best: dict[tuple[Labels, frozenset[int]], tuple[float, int, int, tuple[Step, ...], Labels]] = {}

    def plan(self) -> Plan:
        """The cheapest."""
        everything = frozenset(range(len(self._network.weights)))
        _, fixed, per_image, steps, result = self._absorb(self._network.data, everything)
        return Plan(self._network.data, result, steps, fixed, per_image)

    def step(self, labels: Labels, merge: Merge, weight: Labels) -> tuple[Step, Labels]:
        """The activation with `labels` absorbs a weight: the step and the labels after it. What is new stands where
        the first of what is contracted stood; a run of neighbours is contracted without a copy."""
        contracted = tuple(label for label in labels if label in weight)
        new = tuple(label for label in weight if label not in labels)
        # Rows and columns that are merged keep the order they had: their ranks replace them one by one.
        new = tuple(sorted(new, key=lambda label: _place(label, labels)))
        first = labels.index(contracted[0])
        before = tuple(label for label in labels[:first] if label not in contracted)
        after = tuple(label for label in labels[first:] if label not in contracted)
        return Step(merge, weight, contracted, new), before + new + after

    def products(self, step: Step, after: Labels) -> int:
        """Operations of a step for one image."""
        return 2 * self._count(step.contracted) * self._count(after)

    def _count(self, labels: Sequence[int]) -> int:
        return math.prod(self._size[label] for label in labels)

    def _absorb(self, labels: Labels, left: frozenset[int]) -> tuple[float, int, int, tuple[Step, ...], Labels]:
        """(cost, operations on weights, operations for an image, steps, last labels) of what is left to absorb."""
        if not left:
            return 0.0, 0, 0, (), labels
        if (labels, left) in self._best:
            return self._best[labels, left]
        best = None
        for chosen in self._parts(left):
            cost, fixed, merge, weight = self._merge(chosen)
            if not set(weight) & set(labels):
                continue
            step, after = self.step(labels, merge, weight)
            per_image = self.products(step, after)
            rest = self._absorb(after, left - chosen)
            cost += BATCH * per_image + self._overhead(labels, step, after) + rest[0]
            if best is None or cost < best[0]:
                best = cost, fixed + rest[1], per_image + rest[2], (step, *rest[3]), rest[4]
        if best is None:
            raise ValueError(f"no weight of {self._network.weights} shares a mode with the activation's {labels}")
        self._best[labels, left] = best
        return best

    def _parts(self, left: frozenset[int]) -> Iterator[frozenset[int]]:
        largest = len(left) if self._merging else 1
        regression = any(CLASS in weight for weight in self._network.weights)
        for size in range(1, largest + 1):
            if regression and 1 < size == len(self._network.weights) and not _few_outputs(self._network):
                return  # that would be the full weight
            yield from map(frozenset, itertools.combinations(sorted(left), size))

    def _merge(self, chosen: frozenset[int]) -> tuple[float, int, Merge, Labels]:
        """(cost, operations, how, labels) of one weight made of several."""
        if chosen in self._merged:
            return self._merged[chosen]
        if len(chosen) == 1:
            (number,) = chosen
            found: tuple[float, int, Merge, Labels] = (0.0, 0, number, self._network.weights[number])
        else:
            found = min((self._join(left, chosen - left) for left in _halves(chosen)), key=lambda join: join[0])
        self._merged[chosen] = found
        return found

    def _join(self, left: frozenset[int], right: frozenset[int]) -> tuple[float, int, Merge, Labels]:
        one, two = self._merge(left), self._merge(right)
        labels = tuple(x for x in one[3] if x not in two[3]) + tuple(x for x in two[3] if x not in one[3])
        shared = set(one[3]) & set(two[3])
        flops = (2 if shared else 1) * self._count(labels) * self._count(tuple(shared))
        moved = self._count(one[3]) + self._count(two[3]) + self._count(labels)
        cost = one[0] + two[0] + flops + self._move * moved + self._call
        return cost, one[1] + two[1] + flops, (one[2], two[2]), labels

    def _overhead(self, labels: Labels, step: Step, after: Labels) -> float:
        """What a step costs besides its arithmetic."""
        moved = BATCH * (self._count(labels) + self._count(after)) + self._count(step.weight)
        first = labels.index(step.contracted[0])
        run = labels[first : first + len(step.contracted)]
        if set(run) != set(step.contracted):
            moved += BATCH * 2 * self._count(labels)  # put side by side by a copy
        pieces = 0 if labels[-1] in run else BATCH * self._count(labels[:first])
        return self._move * moved + self._piece * pieces + self._call


def _place(label: int, labels: Labels) -> tuple[int, int]:
    """Where a label that is new belongs: the rank of a mode at the mode's place, others at the end."""
    mode = label - RANK
    return (labels.index(mode), label) if mode in labels else (len(labels), label)


def _halves(chosen: frozenset[int]) -> Iterator[frozenset[int]]:
    """Every way to part a set in two, once: the half with its smallest member."""
    first, *others = sorted(chosen)
    for size in range(len(others)):
        for some in itertools.combinations(others, size):
            yield frozenset((first, *some))
