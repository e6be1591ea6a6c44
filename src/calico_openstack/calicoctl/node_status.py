"""``node status``: what the BGP agent of this host knows about its sessions.

The layout is upstream's, which operators' scripts read (specification section 3.7).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from calico_openstack.calicoctl import failures
from calico_openstack.calicoctl.store import StoreError

Document = Mapping[str, Any]
"""The agent's status file, or one session in it."""

ESTABLISHED: Final = "Established"
_TYPES: Final = {
    "mesh": "node-to-node mesh",
    "global": "global",
    "node": "node specific",
    "workload": "workload",
}
_COLUMNS: Final = ("PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO")
_WIDE: Final = (*_COLUMNS, "PEER AS", "IMPORTED", "EXPORTED", "PREFERRED", "BFD", "NAME")
# The agent writes its file several times a minute.
_STALE: Final = timedelta(minutes=2)


def read_document(path: Path) -> dict[str, Any]:
    """Return the agent's status file; raises `StoreError`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            f"{path} does not exist: calico-bgp-agent has not run on this host, or has its "
            "RunDirectory elsewhere (--status-file, or CALICO_RUN_DIRECTORY)"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(failures.of_file(path, error)) from None
    if not isinstance(document, dict) or not isinstance(document.get("sessions"), list):
        raise StoreError(f"{path} is not a status file of calico-bgp-agent")
    return document


def runs_felix(command_lines: Iterable[Sequence[str]]) -> bool:
    """Tell whether one of the processes' command lines is Felix's, ours or upstream's."""
    for words in command_lines:
        names = [word.rsplit("/", 1)[-1] for word in words]
        # A script's name follows that of its interpreter.
        if "calico-felix" in names[:2]:
            return True
        if names[:1] == ["calico-node"] and "-felix" in names[1:]:
            return True
    return False


def process_command_lines(root: Path = Path("/proc")) -> Iterator[list[str]]:
    """Yield the command lines of all processes."""
    for path in root.glob("[0-9]*/cmdline"):
        try:
            yield path.read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended


def report(document: Document, now: datetime, *, wide: bool = False) -> Iterator[str]:
    """Yield the lines about the sessions of both families, and what is wrong."""
    if document.get("bird") is None:
        yield "The BGP backend process (BIRD) is not running."
    if (age := _age(document, now)) is None or age > _STALE:
        time = document.get("time") or "an unknown time"
        yield f"The status is of {time}: calico-bgp-agent hangs or is not running."
    yield from _problems(document)
    for family in (4, 6):
        sessions = [each for each in document["sessions"] if each.get("family") == family]
        yield ""
        yield f"IPv{family} BGP status"
        if not sessions:
            yield f"No IPv{family} peers found."
            continue
        headings = _WIDE if wide else _COLUMNS
        yield from boxed(headings, [_row(session)[: len(headings)] for session in sessions])
    yield ""


def sessions_down(document: Document) -> list[str]:
    """Return the peers to which no session is established, disabled ones aside."""
    return [
        str(session.get("peer"))
        for session in document["sessions"]
        if session.get("state") != ESTABLISHED and not session.get("disabled")
    ]


def boxed(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()
) -> Iterator[str]:
    """Yield the lines of a table within rules; cells of the columns *right* are aligned there."""
    cells = [tuple(headings), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    yield rule
    for number, row in enumerate(cells):
        padded = (
            cell.rjust(width) if number and column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "| " + " | ".join(padded) + " |"
        if number == 0:
            yield rule
    yield rule


def _row(session: Document) -> list[str]:
    state = str(session.get("state") or "")
    word = "up" if state == ESTABLISHED else "start" if state and state != "down" else "down"
    info = " ".join(filter(None, (state, str(session.get("lastError") or ""))))
    numbers = (session.get(name, "") for name in ("peerAs", "imported", "exported", "preferred"))
    return [
        str(session.get("peer", "")),
        _TYPES.get(str(session.get("scope")), str(session.get("scope", ""))),
        "disabled" if session.get("disabled") else word,
        str(session.get("since", "")),
        info,
        *map(str, numbers),
        str(session.get("bfd", "")),
        str(session.get("name", "")),
    ]


def _problems(document: Document) -> Iterator[str]:
    if document.get("alarm"):
        yield f"The newest configuration does not run: {document['alarm']}"
    if not document.get("etcdConnected", True):
        yield "The agent cannot reach etcd; BIRD keeps its last configuration."
    if document.get("draining"):
        yield "The node is draining: it withdraws its routes."
    for fault in document.get("registrationFaults") or ():
        yield f"The node is not registered: {fault}"
    for problem in document.get("problems") or ():
        yield f"{problem.get('resource')}: {problem.get('field')}: {problem.get('reason')}"


def _age(document: Document, now: datetime) -> timedelta | None:
    try:
        written = datetime.strptime(str(document.get("time")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return now - written.replace(tzinfo=UTC)
