"""Runs something after a database transaction, whoever opened it.

Neutron announces most changes after its commit, but some of its operations call others within
their own transaction: creating a project's first port creates the default security group on
the way. What is announced there cannot be read by anybody else yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neutron_lib.db import api as db_api
from sqlalchemy import event

_PENDING = "calico_after_commit"


def after_commit(context: Any, action: Callable[[], None]) -> None:
    """Call ``action`` now, or after the commit where ``context`` is in a transaction.

    It is not called if that transaction is rolled back. It must not use the context's session,
    and must not raise.
    """
    session = context.session
    if not db_api.is_session_active(session):
        action()
        return
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)
    session.info[_PENDING].append(action)


# SQLAlchemy announces the ends of savepoints as well, which decide nothing.


def _committed(session: Any) -> None:
    if session.in_nested_transaction():
        return
    actions, session.info[_PENDING] = session.info[_PENDING], []
    for action in actions:
        action()


def _rolled_back(session: Any) -> None:
    if session.in_nested_transaction():
        return
    session.info[_PENDING] = []
