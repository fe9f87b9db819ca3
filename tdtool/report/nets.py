"""How good a net is, as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tdtool.report.tables import Column, print_table

_SHOWN_NAME = 40
_ABOUT = {
    "top1": "images whose class is the first guess",
    "top5": "images whose class is among the first five",
    "loss": "mean cross entropy, nats; 0: sure and right",
    "calibration_error": "mean gap between how sure and how often right (ECE, 15 bins)",
}
_NAMES = {"loss": "loss", "calibration_error": "calibration error"}
_FIVE = 5  # of so few classes every one is among the first five


def scored_text(scores: Mapping[str, Any]) -> str:
    """What was scored on what."""
    kind = "" if scores["kind"] == "run" else f", {scores['kind']}"
    weights = f"{'averaged ' if scores['averaged'] else ''}weights of step {scores['step']:,}"
    return (
        f"{scores['net']} with head {scores['head']}{kind}, {weights}, "
        f"on {scores['n_images']:,} {scores['split']} images of {scores['data']}."
    )


def print_scores(scores: Mapping[str, Any]) -> None:
    """A line for each score, with what it says."""
    rows = [
        ("top-1", f"{scores['top1']:.2%} ± {scores['top1_error']:.2%}", _ABOUT["top1"]),
        *([("top-5", f"{scores['top5']:.2%}", _ABOUT["top5"])] if len(scores["classes"]) > _FIVE else []),
        *((_NAMES[name], f"{scores[name]:.4f}", _ABOUT[name]) for name in _NAMES),
        ("images/s", f"{scores['images_per_second']:,.0f}", f"{scores['device']}, {scores['precision']}"),
    ]
    print_table((Column("score"), Column("value", right=True), Column("", wrap=True)), rows)


def print_classes(classes: Sequence[Mapping[str, Any]], most: int) -> None:
    """Classes that have images, those that are found worst first."""
    there = sorted((row for row in classes if row["n"]), key=lambda row: row["recall"])
    columns = (
        Column("class", wrap=True),
        Column("images", right=True),
        Column("found", right=True),
        Column("right when named", right=True),
    )
    rows = [
        (_short(row["name"]), f"{row['n']:,}", _share(row["recall"]), _share(row["precision"])) for row in there[:most]
    ]
    left = len(there) - len(rows)
    print_table(columns, [*rows, *([(f"and {left:,} better ones", "", "", "")] if left else [])])


def print_confusions(confusions: Sequence[Mapping[str, Any]], most: int) -> None:
    """Which classes are taken for which others, the most frequent first."""
    columns = (
        Column("class", wrap=True),
        Column("taken for", wrap=True),
        Column("images", right=True),
        Column("of the class", right=True),
    )
    rows = [
        (_short(row["name"]), _short(row["taken_for"]), f"{row['n']:,}", _share(row["share"]))
        for row in confusions[:most]
    ]
    print_table(columns, rows)


def exported_text(result: Mapping[str, Any]) -> str:
    """What was written, and how it was checked."""
    *first, last = map(str, result["checked_with"])
    weights = f"{'averaged ' if result['averaged'] else ''}weights of step {result['step']:,}"
    answers = (
        "It is weights and a card; its net is built by tdtool or torchvision's names."
        if result["format"] == "safetensors"
        else (
            f"It takes pixels (batch, 3, {result['image_size']}, {result['image_size']}) uint8 and gives logits "
            f"(batch, {result['n_classes']}) float32."
        )
    )
    return (
        f"{result['net']} with head {result['head']}, {weights}, {result['n_parameters']:,} parameters, "
        f"{result['n_bytes'] / 1e6:,.1f} MB as {result['format']}.\n{answers}\n"
        f"Checked with {', '.join(first)} and {last} images: largest difference {result['difference']:.1e} of the "
        f"largest logit."
    )


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN_NAME else name[: _SHOWN_NAME - 3] + "..."


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"
