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
    contracted : those that are summed over, in their order in the activation; new : those that take their place;
    folds : what is contracted is copied to the end of the activation first, for one large product in place of many."""

    merge: Merge
    weight: Labels
    contracted: Labels
    new: Labels
    folds: bool


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
    weights: tuple[Labels, ...] = tuple((mode, RANK + mode) for mode, rank in enumerate(ranks) if rank is not None)
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
    The activation is projected. Weights are merged into the full one, (I_0, ..., I_{N-1}, K), only where that needs the
    fewest operations: with fewer outputs than ranks, and K below BATCH, so that it is smaller than the activations.
    """
    sizes = (*_sizes(shape, ranks), (CLASS, n_outputs), (OUT, rank_out or 1))
    weights: list[Labels] = [(mode, RANK + mode) for mode, rank in enumerate(ranks) if rank is not None]
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
    """The fastest by the model above among the plans that need no more operations than the ordinary ways: mode by mode,
    and, where there are few outputs, by the full weight."""
    plain = _one_by_one(network)
    bounds = [(plain, BATCH if _outputs(network) else 1)]  # merging a core with factors pays from some images on
    if 0 < _outputs(network) <= BATCH:
        bounds.append((_rebuilt(network), 1))
    for model in (_Costs(BATCH, _MOVE, _CALL, _PIECE), _Costs(BATCH), _Costs(1 << 20)):
        plan = _Search(network, model).plan()
        if all(_at_most(plan, bound, few) for bound, few in bounds):
            return plan
    return _Search(network, _Costs(BATCH), merging=False).plan()


def _at_most(plan: Plan, bound: Plan, few: int) -> bool:
    """True where a plan needs no more operations than another for every batch of `few` images or more."""
    return plan.per_image <= bound.per_image and plan.flops(few) <= bound.flops(few)


def _outputs(network: _Network) -> int:
    """K; 0 where the layer only contracts."""
    return dict(network.sizes).get(CLASS, 0)


def _one_by_one(network: _Network) -> Plan:
    """The weights in their order: channels first, then mode by mode, then the core."""
    search = _Search(network, _Costs(1))
    labels, total = network.data, 0
    taken: list[Step] = []
    for number in range(len(network.weights)):
        step, labels = search.step(labels, number, network.weights[number])
        taken.append(step)
        total += search.products(step, labels)
    return Plan(network.data, labels, tuple(taken), 0, total)


def _rebuilt(network: _Network) -> Plan:
    """The full weight from the core, mode by mode; then one product."""
    size = dict(network.sizes)
    core = next(weight for weight in network.weights if len(weight) == len(network.data) + 1)
    labels, fixed = list(core), 0
    for factor in (weight for weight in network.weights if weight != core):
        (inner,) = set(factor) & set(labels)
        (outer,) = set(factor) - {inner}
        fixed += 2 * math.prod(size[label] for label in labels) * size[outer]
        labels[labels.index(inner)] = outer
    return Plan(network.data, (CLASS,), (), fixed, 2 * math.prod(size[label] for label in labels))


@dataclasses.dataclass(frozen=True)
class _Costs:
    """Images in a batch; what moving a value, a call and a small product cost besides the arithmetic."""

    batch: int
    move: int = 0
    call: int = 0
    piece: int = 0


class _Search:
    """All orders, each part of the problem solved once."""

    def __init__(self, network: _Network, costs: _Costs, *, merging: bool = True) -> None:
        self._network, self._costs, self._merging = network, costs, merging
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
        the first of what is contracted stood, or, where the step folds, at the end."""
        contracted = tuple(label for label in labels if label in weight)
        new = tuple(label for label in weight if label not in labels)
        # Rows and columns that are merged keep the order they had: their ranks replace them one by one.
        new = tuple(sorted(new, key=lambda label: _place(label, labels)))
        first = labels.index(contracted[0])
        before, after = labels[:first], tuple(label for label in labels[first:] if label not in contracted)
        folds = bool(after) and (bool(before) or self._count(new) > self._count(after))
        result = before + after + new if folds else before + new + after
        return Step(merge, weight, contracted, new, folds), result

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
            cost += self._costs.batch * per_image + self._overhead(labels, step, after) + rest[0]
            if best is None or cost < best[0]:
                best = cost, fixed + rest[1], per_image + rest[2], (step, *rest[3]), rest[4]
        if best is None:
            raise ValueError(f"no weight of {self._network.weights} shares a mode with the activation's {labels}")
        self._best[labels, left] = best
        return best

    def _parts(self, left: frozenset[int]) -> Iterator[frozenset[int]]:
        largest = len(left) if self._merging else 1
        for size in range(1, largest + 1):
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
        cost = one[0] + two[0] + flops + self._costs.move * moved + self._costs.call
        return cost, one[1] + two[1] + flops, (one[2], two[2]), labels

    def _overhead(self, labels: Labels, step: Step, after: Labels) -> float:
        """What a step costs besides its arithmetic."""
        batch = self._costs.batch
        moved = batch * (self._count(labels) + self._count(after)) + self._count(step.weight)
        first = labels.index(step.contracted[0])
        if step.folds or labels[first : first + len(step.contracted)] != step.contracted:
            moved += batch * 2 * self._count(labels)  # put side by side, or at the end, by a copy
        pieces = 0 if step.folds or labels[-1] in step.contracted else batch
        return self._costs.move * moved + self._costs.piece * pieces + self._costs.call


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
