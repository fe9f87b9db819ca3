"""The account of every row that came in: used, or skipped with file, line and reason."""

from __future__ import annotations

import dataclasses
from typing import Any

#: Examples of each reason that are kept; the counts are always exact.
EXAMPLES_KEPT = 5


@dataclasses.dataclass
class Skip:
    """Rows left out for one reason. examples : the first few places, as "path:line"."""

    count: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Ledger:
    """rows_in = rows_used + sum of the skips, always. counters : things seen that cost no row (bad bytes ...)."""

    rows_in: int = 0
    rows_used: int = 0
    skips: dict[str, Skip] = dataclasses.field(default_factory=dict)
    counters: dict[str, int] = dataclasses.field(default_factory=dict)

    def use(self, rows: int = 1) -> None:
        """Count rows that came in and are used."""
        self.rows_in += rows
        self.rows_used += rows

    def skip(self, reason: str, path: object, line: int | None = None) -> None:
        """Count a row that came in and is left out."""
        self.rows_in += 1
        self._note(reason, path, line)

    def drop(self, reason: str, path: object, line: int | None = None) -> None:
        """Move a row that was counted as used to the skipped ones (it turned out empty, say)."""
        self.rows_used -= 1
        self._note(reason, path, line)

    def count(self, what: str, amount: int = 1) -> None:
        """Add to a counter of things that cost no row."""
        if amount:
            self.counters[what] = self.counters.get(what, 0) + int(amount)

    def merge(self, other: Ledger) -> None:
        """Add the account of what comes behind: the counts, and examples as far as there is room for them."""
        self.rows_in += other.rows_in
        self.rows_used += other.rows_used
        for reason, theirs in other.skips.items():
            skip = self.skips.setdefault(reason, Skip())
            skip.count += theirs.count
            skip.examples += theirs.examples[: EXAMPLES_KEPT - len(skip.examples)]
        for what, amount in other.counters.items():
            self.count(what, amount)

    def _note(self, reason: str, path: object, line: int | None) -> None:
        skip = self.skips.setdefault(reason, Skip())
        skip.count += 1
        if len(skip.examples) < EXAMPLES_KEPT:
            skip.examples.append(f"{path}" if line is None else f"{path}:{line}")

    @property
    def rows_skipped(self) -> int:
        """How many rows were left out, for whatever reason."""
        return sum(skip.count for skip in self.skips.values())

    def as_dict(self) -> dict[str, Any]:
        """The ledger as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Ledger:
        """The inverse of as_dict."""
        skips = {reason: Skip(**skip) for reason, skip in values.get("skips", {}).items()}
        return cls(values["rows_in"], values["rows_used"], skips, dict(values.get("counters", {})))

    def __str__(self) -> str:
        return self.text("documents")

    def text(self, rows: str) -> str:
        """The account in words. rows : what the rows are called."""
        lines = [f"{self.rows_in:,} {rows} read, {self.rows_used:,} used, {self.rows_skipped:,} skipped"]
        for reason, skip in sorted(self.skips.items()):
            lines.append(f"  {skip.count:,} skipped: {reason} (first: {', '.join(skip.examples[:2])})")
        lines += [f"  {amount:,} {what}" for what, amount in sorted(self.counters.items())]
        return "\n".join(lines)
