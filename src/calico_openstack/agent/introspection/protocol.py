"""What is asked and answered, and the keys in etcd by which it reaches other hosts. Pure.

A question from afar is a key with a lease of the asker, the answer a key with the same lease: what
nobody waits for any more goes away by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from calico_openstack.datamodel.invalid import UNREADABLE

Row = dict[str, str]
"""One row of a table: cells by column, in the order in which they are shown."""

INTROSPECTION_PREFIX: Final = "/calico/introspection/v1/"
# etcd refuses requests of more than 1.5 MiB; an answer leaves room for others.
LARGEST_ANSWER: Final = 512 << 10
LARGEST_QUESTION: Final = 4 << 10
MOST_ROWS: Final = 10_000


class Question(Struct, frozen=True, omit_defaults=True):
    """Which table of which *program*; no *table*: which there are.

    *match* is told to tables that need an argument; of the others, only rows that contain it in
    some cell are answered. At most *limit* rows are.
    """

    program: str = ""
    table: str = ""
    match: str = ""
    limit: int = 1000


class Answer(Struct, frozen=True, omit_defaults=True):
    """The rows, of *total* that there are; with *error* there are none, and it says why."""

    host: str = ""
    rows: tuple[Row, ...] = ()
    total: int = 0
    error: str = ""


class Table(Struct, frozen=True):
    """Something inside of an agent that can be looked at.

    *rows* gets what the asker wants to have matched. A table that *searches* uses it itself. One
    that is *apart* is made from the kernel alone, beside the agent's loop, as that takes a while.
    """

    summary: str
    rows: Callable[[str], Iterable[Row]]
    searches: bool = False
    apart: bool = False


Tables = Mapping[str, Table]


def request_prefix(host: str) -> str:
    """Return the prefix of the keys of questions to a host."""
    return f"{INTROSPECTION_PREFIX}request/{host}/"


def request_key(host: str, identifier: str) -> str:
    """Return the key of a question."""
    return request_prefix(host) + identifier


def answer_key(identifier: str) -> str:
    """Return the key of the answer to a question."""
    return f"{INTROSPECTION_PREFIX}answer/{identifier}"


def answer(tables: Tables, question: Question, host: str) -> Answer:
    """Answer a question from the tables that there are."""
    if not question.table:
        listed = [{"table": name, "shows": each.summary} for name, each in sorted(tables.items())]
        return Answer(host, tuple(listed), len(listed))
    table = tables.get(question.table)
    if table is None:
        return Answer(host, error=f"has no table '{question.table}', but {', '.join(tables)}")
    rows = list(table.rows(question.match))
    if question.match and not table.searches:
        rows = [row for row in rows if any(question.match in cell for cell in row.values())]
    kept = rows[: max(0, min(question.limit, MOST_ROWS))]
    return Answer(host, tuple(kept), len(rows))


def encoded(found: Answer, largest: int = LARGEST_ANSWER) -> bytes:
    """Return an answer as JSON of at most *largest* bytes, with fewer rows if need be."""
    data = msgspec.json.encode(found)
    while len(data) > largest and found.rows:
        fewer = len(found.rows) * largest // len(data)
        found = msgspec.structs.replace(found, rows=found.rows[: min(fewer, len(found.rows) - 1)])
        data = msgspec.json.encode(found)
    return data


def decoded_question(data: bytes) -> Question | str:
    """Return a question, or what is wrong with it."""
    if len(data) > LARGEST_QUESTION:
        return "the question is too long"
    try:
        return msgspec.json.decode(data, type=Question)
    except UNREADABLE as error:
        return f"the question is none: {error}"


def decoded_answer(data: bytes) -> Answer:
    """Return an answer; what is none becomes an answer that says so."""
    try:
        return msgspec.json.decode(data, type=Answer)
    except UNREADABLE as error:
        return Answer(error=f"the answer is none: {error}")
