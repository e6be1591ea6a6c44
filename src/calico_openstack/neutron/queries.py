"""Short transactions for reading Neutron's database, and statements for many ids at once.

Each is on a connection of its own, beside the session of the request that caused it. That matters:

* The context of that request may not see everything: a port may be in a group of another project,
  and a group that is not found would be taken for a deleted one.
* Its session may be in a transaction that began before somebody else's commit; what it reads may be
  older than what etcd holds already.

It is a connection, not a session, which takes twice as long, for the sake of objects that nobody
needs here.
"""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from neutron.db import models_v2
from neutron_lib.db import api as db_api

from calico_openstack.neutron.translate.places import ENDPOINT_OWNERS

Ids = Collection[str] | None
"""Ids of the objects to read; None reads all of them."""

# Databases limit the length of a statement; more ids are asked for in several.
_IDS_IN_A_STATEMENT = 500
_IDS = "ids"


_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Reading(threading.local):
    """The connection of this thread's snapshot, None without one."""

    connection: Any = None


_reading = _Reading()


def reader() -> AbstractContextManager[Any]:
    """Open a transaction for reading, or go on with the one of a `snapshot`."""
    if _reading.connection is not None:
        return nullcontext(_reading.connection)
    connection: AbstractContextManager[Any] = db_api.CONTEXT_WRITER.get_engine().connect()
    return connection


@contextmanager
def snapshot() -> Iterator[None]:
    """Let all that this thread reads meanwhile be of one moment of the database.

    It is where transactions read repeatably, which is the default of MySQL and MariaDB.
    """
    with reader() as connection:
        _reading.connection = connection
        try:
            yield
        finally:
            _reading.connection = None


def retried(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Repeat a reading when the database fails; within a snapshot that must be repeated whole."""
    repeated: Callable[_P, _R] = db_api.retry_db_errors(function)

    @functools.wraps(function)
    def read(*arguments: _P.args, **named: _P.kwargs) -> _R:
        if _reading.connection is not None:
            return function(*arguments, **named)
        return repeated(*arguments, **named)

    return read


def writer() -> Any:
    """Open a transaction for writing."""
    return db_api.CONTEXT_WRITER.get_engine().begin()


def column(statement: Any) -> list[str]:
    """Return the only column of a statement's rows."""
    with reader() as connection:
        return list(connection.scalars(statement))


def may_be_endpoint() -> Any:
    """Return the condition on ``Port`` that it can have endpoints."""
    owner = models_v2.Port.device_owner
    return sa.or_(*(owner.startswith(prefix) for prefix in ENDPOINT_OWNERS))


def portions(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield ids in as many as one statement may name."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS_IN_A_STATEMENT):
        yield ordered[start : start + _IDS_IN_A_STATEMENT]


def rows(connection: Any, statement: Any, key: Any, ids: Ids) -> Iterator[Any]:
    """Yield the rows of a statement whose column ``key`` is one of ``ids``; of all for None."""
    if ids is None:
        yield from connection.execute(statement)
        return
    narrowed = _of_ids(statement, key)
    for some in portions(ids):
        yield from connection.execute(narrowed, {_IDS: some})


# SQLAlchemy takes longer for building a statement than for executing it, unless it is the same
# object as before: hence these, and those who make the statements, keep them.


@functools.lru_cache(maxsize=64)
def _of_ids(statement: Any, key: Any) -> Any:
    return statement.where(key.in_(sa.bindparam(_IDS, expanding=True)))


@functools.lru_cache(maxsize=64)
def _of_endpoints(statement: Any, port_id: Any) -> Any:
    port = models_v2.Port
    return statement.join(port, port.id == port_id).where(may_be_endpoint())


def part_rows(connection: Any, statement: Any, port_id: Any, ids: Ids) -> Iterator[Any]:
    """Yield the rows about parts of ports; of all possible endpoints for None."""
    if ids is None:
        statement = _of_endpoints(statement, port_id)
    return rows(connection, statement, port_id, ids)


def grouped(pairs: Iterable[Any]) -> dict[str, list[Any]]:
    """Return the second members of pairs by the first."""
    result: dict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        result[key].append(value)
    return result
