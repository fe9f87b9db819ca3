"""The rank plot: what tensor heads save against what they cost in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_COLOURS = {"fc": "#444444", "gap": "#8c6d31", "tcl": "#1f77b4", "trl": "#d62728", "cp": "#2ca02c"}
_MARKS = {"fc": "s", "gap": "D", "tcl": "o", "trl": "^", "cp": "v"}
_NAMES = {
    "fc": "fully connected",
    "gap": "pooled",
    "tcl": "tensor contraction",
    "trl": "tensor regression",
    "cp": "CP regression",
}


_LINES, _HEIGHT = 22, 3.0  # names that fit above each other between the lowest and the highest mark; inches between


class Point(NamedTuple):
    """One head. saved : share of the fc head's parameters that it does without; top1 : accuracy, between 0 and 1."""

    head: str
    saved: float
    top1: float


def draw_rank_plot(path: Path, points: Sequence[Point], *, title: str) -> None:
    """Draw accuracy against parameters saved into a PNG; the kinds of head differ in colour and mark."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind in dict.fromkeys(_kind(point) for point in points):
        chosen = sorted((point for point in points if _kind(point) == kind), key=lambda point: point.saved)
        xs, ys = [100 * point.saved for point in chosen], [100 * point.top1 for point in chosen]
        colour = _COLOURS.get(kind, "black")
        axes.plot(
            xs, ys, color=colour, marker=_MARKS.get(kind, "x"), linewidth=1, alpha=0.9, label=_NAMES.get(kind, kind)
        )
    _write_names(axes, points)
    _draw_reference(axes, points)
    axes.set_xlabel("head parameters saved (%)")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.margins(x=0.12, y=0.15)
    axes.legend(loc="best", frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})


def _kind(point: Point) -> str:
    return point.head.partition(":")[0]


def _write_names(axes: Any, points: Sequence[Point]) -> None:
    """Each head's name beside its mark, on the side where there is room; names of one side do not cover each other."""
    middle = (min(point.saved for point in points) + max(point.saved for point in points)) / 2
    low, high = min(point.top1 for point in points), max(point.top1 for point in points)
    least = (high - low) / _LINES
    for is_left in (True, False):
        at = -1.0
        for point in sorted((p for p in points if (p.saved > middle) == is_left), key=lambda point: point.top1):
            at = max(point.top1, at + least)
            lift = 72 * _HEIGHT * (at - point.top1) / (high - low) if high > low else 0.0
            axes.annotate(
                point.head,
                (100 * point.saved, 100 * point.top1),
                (-9 if is_left else 9, lift),
                textcoords="offset points",
                ha="right" if is_left else "left",
                va="center",
                fontsize=8,
                parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            )


def _draw_reference(axes: Any, points: Sequence[Point]) -> None:
    """A line at the accuracy of the model's own head."""
    for point in points:
        if point.head == "fc":
            axes.axhline(100 * point.top1, color=_COLOURS["fc"], linewidth=0.8, linestyle=":")
