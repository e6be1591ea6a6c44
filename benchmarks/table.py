"""One table for all figures."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.conditions import conditions


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: *target* is what it should be at most, *floor* what cannot be undercut."""

    name: str
    value: float
    unit: str
    target: float | None = None
    floor: float | None = None
    note: str = ""


def show(rows: list[Row]) -> None:
    """Print the conditions and the figures."""
    for name, text in conditions().items():
        print(f"{name:14}{text}")
    print()
    width = max((len(row.name) for row in rows), default=0)
    print(f"{'':{width}}  {'measured':>12}  {'target':>8}  {'floor':>8}")
    for row in rows:
        value = f"{_number(row.value)} {row.unit}".rstrip()
        print(
            f"{row.name:{width}}  {value:>12}  {_number(row.target):>8}  {_number(row.floor):>8}"
            f"  {row.note}".rstrip()
        )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
