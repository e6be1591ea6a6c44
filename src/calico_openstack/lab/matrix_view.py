"""Showing a reachability matrix on a terminal or through a pipe."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from calico_openstack.lab.matrix import Entry, Matrix
from calico_openstack.lab.security_groups import Probe


def cell(entries: tuple[Entry, ...], passes: Callable[[Entry], bool]) -> str:
    """What passes between two parties, a line for each protocol. Pure.

    Ports are behind their protocol, and a family where only that one passes.
    """
    present: dict[Probe, set[int]] = {}
    passing: dict[Probe, set[int]] = {}
    for entry in entries:
        present.setdefault(entry.probe, set()).add(entry.family)
        if passes(entry):
            passing.setdefault(entry.probe, set()).add(entry.family)
    lines: dict[str, list[str]] = {}
    for probe, families in passing.items():
        protocol, _, port = probe.title.partition("/")
        only = "" if families == present[probe] else f"(IPv{min(families)} only)"
        lines.setdefault(protocol, []).append(f"{port}{only}")
    return "\n".join(" ".join([p, *filter(None, w)]) for p, w in lines.items()) or "-"


def is_wanted(entry: Entry) -> bool:
    """Whether the rules want it."""
    return entry.wanted


def is_seen(entry: Entry) -> bool:
    """Whether packets passed."""
    return entry.seen is not None and entry.seen.reached


def difference(entry: Entry) -> str:
    """One difference in words. Pure."""
    wish = "should pass" if entry.wanted else "should not pass"
    return (
        f"{entry.source} → {entry.target} {entry.probe.title} over IPv{entry.family} "
        f"{wish}, but was {entry.seen}"
    )


def show(console: Console, matrix: Matrix) -> None:
    """Print both sides of a matrix and their differences."""
    for title, passes in (
        ("Wanted by Neutron's security groups", is_wanted),
        ("Seen by packets", is_seen),
    ):
        console.print(_table(title, matrix, passes))
    tried = sum(entry.seen is not None for entry in matrix.entries)
    if not matrix.differences:
        console.print(
            Text(f"All of {tried} kinds of packets, IPv4 and IPv6, went as wanted.", style="green")
        )
        return
    console.print(Text(f"{len(matrix.differences)} of {tried} went otherwise:", style="bold red"))
    for entry in matrix.differences:
        console.print(Text(f"  {difference(entry)}", style="red"))


def _table(title: str, matrix: Matrix, passes: Callable[[Entry], bool]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("from \\ to")
    for name in matrix.names:
        table.add_column(name)
    for source in matrix.names:
        row = []
        for target in matrix.names:
            entries = matrix.between(source, target)
            wrong = any(not entry.agrees for entry in entries) and passes is is_seen
            text = cell(entries, passes) if entries else ""
            row.append(Text(text, style="bold red" if wrong else "dim" if text == "-" else "green"))
        table.add_row(source, *row)
    return table
