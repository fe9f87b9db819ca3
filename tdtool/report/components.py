"""Components of a tensor as a person reads them: how large each is, and where along each mode it is strongest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tdtool.report.tables import Column, print_table

_STOPPED = {
    "tol": "settled",
    "max_iters": "stopped at --max-iters",
    "diverged": "diverged",
    "exact": "exact",
}


def print_ranks(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> None:
    """What --rank auto tried. rows : rank, relative_error, core_consistency, congruence; NaN: not known."""
    names = ("rank", "relative error", "core consistency", "split-half congruence")
    columns = [*(Column(name, right=True) for name in names), Column("")]
    print_table(
        columns,
        [
            (
                str(row["rank"]),
                f"{row['relative_error']:.4g}",
                _consistency(row["core_consistency"]),
                f"{row['congruence']:.3f}" if _known(row["congruence"]) else "-",
                "taken" if row["rank"] == chosen else "",
            )
            for row in rows
        ],
    )


def print_components(components: Sequence[Mapping[str, Any]], most: int | None = None) -> None:
    """CP components: weight, share of the sum of squares, and a line a mode of where it is strongest.

    most : components that are shown, None for all.
    """
    columns = (
        Column("component", right=True),
        Column("weight", right=True),
        Column("share", right=True),
        Column("mode"),
        Column("strongest", wrap=True),
    )
    rows = []
    for component in components[:most]:
        first = (str(component["component"]), f"{component['weight']:.4g}", f"{component['share']:.1%}")
        for i, mode in enumerate(component["modes"]):
            rows.append((*(first if i == 0 else ("", "", "")), mode["mode"], _entries(mode["top"])))
    left = len(components[most:]) if most is not None else 0
    print_table(columns, [*rows, *([("", "", "", "", f"and {left:,} more components")] if left else [])])


def print_modes(modes: Sequence[Mapping[str, Any]], most: int | None = None) -> None:
    """Components of each mode of a Tucker decomposition. most : shown of each mode, None for all."""
    columns = (
        Column("mode"),
        Column("component", right=True),
        Column("share", right=True),
        Column("strongest", wrap=True),
    )
    rows = []
    for mode in modes:
        for i, part in enumerate(mode["components"][:most]):
            name = mode["mode"] if i == 0 else ""
            rows.append((name, str(part["component"]), f"{part['share']:.1%}", _entries(part["top"])))
        left = len(mode["components"][most:]) if most is not None else 0
        rows += [("", "", "", f"and {left:,} more components")] if left else []
    print_table(columns, rows)


def print_core(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """The largest entries of a core, by the component of each mode that they join."""
    columns = [*(Column(name, right=True) for name in names), Column("core", right=True), Column("share", right=True)]
    rows = [(*map(str, entry["components"]), _value(entry["value"]), f"{entry['share']:.1%}") for entry in entries]
    print_table(columns, rows)


def core_text(modes: Sequence[Mapping[str, Any]]) -> str:
    """Shape of the core, and what each mode's factor alone leaves."""
    sizes = " x ".join(str(len(mode["components"])) for mode in modes)
    shape = " x ".join(f"{mode['size']:,}" for mode in modes)
    text = f"Core {sizes} of a tensor {shape}."
    errors = [(mode["mode"], mode.get("relative_error")) for mode in modes]
    parts = [f"{name} {error:.4f}" for name, error in errors if error is not None]
    return f"{text} Relative error of each mode alone: {', '.join(parts)}. Largest entries:" if parts else text


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") or not text else ".")


def error_text(relative_error: float) -> str:
    """Relative error and fit in a sentence."""
    return f"Relative error {relative_error:.4g}, fit {1 - relative_error:.4f}."


def course_text(n_sweeps: int, stopped: str, seconds: float) -> str:
    """How the iteration went."""
    sweeps = f"{n_sweeps:,} sweep{'' if n_sweeps == 1 else 's'}"
    return f"{sweeps}, {_STOPPED.get(stopped, stopped)}; {seconds:.1f} s"


def _entries(top: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(f"{label} {_value(value)}" for label, value in top)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"{value[0]:.3g}{value[1]:+.3g}i"
    return f"{value:.3g}"


def _consistency(value: float | None) -> str:
    """Percent; how far below 0 it is says nothing."""
    if value is None or not _known(value):
        return "-"
    return f"{value:.0f}%" if value >= 0 else "below 0%"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
