"""Runs something after a database transaction, whoever opened it.

Some of Neutron's operations call others within their own transaction: creating a project's
first port creates the default security group on the way. Only the outermost commit makes it
all visible to others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neutron_lib.db import api as db_api
from sqlalchemy import event

_PENDING = "calico_after_commit"

Action = Callable[[], None]


def _nothing() -> None:
    pass


def after_commit(session: Any, action: Action, undone: Action = _nothing) -> None:
    """Call ``action`` now, or after the commit where ``session`` is in a transaction.

    Where that is rolled back ``undone`` is called instead. Neither may use that session or raise.
    """
    if not db_api.is_session_active(session):
        action()
        return
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)
    session.info[_PENDING].append((action, undone))


# SQLAlchemy announces the ends of savepoints as well, which decide nothing.


def _committed(session: Any) -> None:
    if session.in_nested_transaction():
        return
    pending, session.info[_PENDING] = session.info[_PENDING], []
    for action, _ in pending:
        action()


def _rolled_back(session: Any) -> None:
    if session.in_nested_transaction():
        return
    pending, session.info[_PENDING] = session.info[_PENDING], []
    for _, undone in pending:
        undone()
