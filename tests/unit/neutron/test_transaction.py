"""What must follow a commit waits for the commit of whoever began the transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from calico_openstack.neutron.transaction import after_commit


@dataclass
class Context:
    session: Any


@pytest.fixture
def context() -> Iterator[Context]:
    engine = sa.create_engine("sqlite://")
    with orm.Session(engine) as session:
        yield Context(session)


def use(context: Context) -> None:
    context.session.execute(sa.text("SELECT 1"))


def test_without_a_transaction_it_happens_now(context: Context) -> None:
    done: list[int] = []
    after_commit(context.session, lambda: done.append(1))
    assert done == [1]


def test_in_a_transaction_it_happens_after_the_commit_and_once(context: Context) -> None:
    done: list[int] = []
    use(context)
    after_commit(context.session, lambda: done.append(1))
    after_commit(context.session, lambda: done.append(2))
    assert done == []
    context.session.commit()
    assert done == [1, 2]
    use(context)
    context.session.commit()
    assert done == [1, 2]


def test_a_savepoint_is_no_commit(context: Context) -> None:
    done: list[int] = []
    use(context)
    with context.session.begin_nested():
        after_commit(context.session, lambda: done.append(1))
    assert done == []
    context.session.commit()
    assert done == [1]


def test_a_rollback_forgets_it(context: Context) -> None:
    done: list[int] = []
    use(context)
    after_commit(context.session, lambda: done.append(1))
    context.session.rollback()
    use(context)
    after_commit(context.session, lambda: done.append(2))
    context.session.commit()
    assert done == [2]
