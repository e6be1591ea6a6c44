"""The tables of agents (``calicoctl show``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from calico_openstack.agent.introspection.local import PROGRAMS
from calico_openstack.agent.introspection.protocol import MOST_ROWS, Answer, Question
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.diags.archive import Archive
from calico_openstack.calicoctl.showing import columns_of

# These need to be told what is asked for, or have the kernel trace packets.
_LEFT_OUT: Final = frozenset({"flows", "programming", "way", "members", "drops", "trace", "probe"})

Asked = tuple[str, Question]
"""A host and a question to it."""

Ask = Callable[[Sequence[Asked]], list[Answer]]
"""Puts questions, and returns the answers in their order."""


def collect_tables(archive: Archive, hosts: Sequence[str], ask: Ask, folder: str) -> None:
    """Add all tables of all agents of *hosts*; of an agent that does not answer, why."""
    archive.report(f"asking the agents of {', '.join(hosts)}")
    first = [(host, Question(program)) for host in hosts for program in PROGRAMS]
    listed = ask(first)
    wanted: list[Asked] = []
    for (host, question), answer in zip(first, listed, strict=True):
        if answer.error:
            archive.add(f"{folder}/{host}/{question.program}/error", f"{answer.error}\n")
        wanted += (
            (host, Question(question.program, row["table"], "", MOST_ROWS))
            for row in answer.rows
            if row["table"] not in _LEFT_OUT
        )
    for (host, question), answer in zip(wanted, ask(wanted), strict=True):
        text = "\n".join(table_lines(answer))
        archive.add(f"{folder}/{host}/{question.program}/{question.table}", f"{text}\n")


def table_lines(answer: Answer) -> Iterator[str]:
    """Yield the lines of an answer, and how much of it is left out."""
    if answer.error:
        yield f"# {answer.error}"
        return
    yield f"# {answer.total} row(s) at {datetime.fromtimestamp(time.time(), UTC):%H:%M:%S} UTC"
    if answer.rows:
        yield from output.table(answer.rows, columns_of(answer.rows))
    if len(answer.rows) < answer.total:
        yield f"# {answer.total - len(answer.rows)} rows are left out"
