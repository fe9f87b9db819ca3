"""What a benchmark found: rows, ratios, and how they are shown."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

#: Columns where there is no terminal that has its own.
_WIDTH_OF_FILES = 200
#: The system that ratios refer to; variants of it have longer names.
_OURS = "tdtool"


@dataclasses.dataclass
class Row:
    """One system on one case. seconds is None when it did not finish; the note says why."""

    system: str
    version: str
    case: str
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_mb: float | None = None
    quality: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass
class Result:
    """A whole benchmark. about : lines that say what was measured and how."""

    bench: str
    threads: int
    hardware: str
    about: list[str]
    rows: list[Row] = dataclasses.field(default_factory=list)

    def ratios(self) -> dict[str, dict[str, float]]:
        """case -> {peer: its seconds / seconds of tdtool}, for the peers that finished."""
        ours = {row.case: row.seconds for row in self.rows if row.system == _OURS}
        found: dict[str, dict[str, float]] = {}
        for row in self.rows:
            mine = ours.get(row.case)
            if not row.system.startswith(_OURS) and mine and row.seconds is not None:
                found.setdefault(row.case, {})[row.system] = row.seconds / mine
        return found

    def as_json(self) -> dict[str, Any]:
        """The result as plain JSON values; figures that are not numbers are null."""
        values = dataclasses.asdict(self)
        for row in values["rows"]:
            row["quality"] = {name: _finite(value) for name, value in row["quality"].items()}
        return values | {"ratios": self.ratios()}

    def print_table(self, qualities: dict[str, tuple[str, str]]) -> None:
        """Print one table. qualities : key of Row.quality -> (title, format); those that no row has are left out."""
        qualities = {key: column for key, column in qualities.items() if any(key in row.quality for row in self.rows)}
        console = Console()
        if not console.is_terminal:
            console.width = _WIDTH_OF_FILES
        console.print(f"{self.bench}: {self.threads} threads; {self.hardware}", soft_wrap=True, highlight=False)
        for line in self.about:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        table = Table()
        for title in ("case", "system", "version"):
            table.add_column(title, no_wrap=True)
        for title in [title for title, _ in qualities.values()] + ["seconds", "CPU s", "peak MB", "x ours"]:
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("note", overflow="fold")
        ratios = self.ratios()
        for row in self.rows:
            figures = [_number(row.quality.get(key), form) for key, (_, form) in qualities.items()]
            figures += [_number(row.seconds, ".2f"), _number(row.cpu_seconds, ".2f"), _number(row.peak_rss_mb, ",.0f")]
            figures += [_number(ratios.get(row.case, {}).get(row.system), ".1f")]
            table.add_row(row.case, row.system, row.version, *figures, row.note)
        console.print(table)


def case_name(path: str) -> str:
    """What a file is called in tables: "ap" for docword.ap.txt.gz; its folder's name where its own says little."""
    stem = re.sub(r"^docword\.", "", Path(path).name).partition(".")[0]
    return Path(path).resolve().parent.name if stem in ("docs", "docword", "corpus", "") else stem


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
