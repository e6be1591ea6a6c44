"""A request's reading of a host's agents counts once more, for its first attempt to bind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from neutron.db.models.agent import Agent
from oslo_utils import timeutils
from sqlalchemy import orm

from calico_openstack.neutron import agents
from calico_openstack.neutron.agents import RequestAgents

KIND, HOST = "Felix", "compute-1"


class Request:
    """What Neutron's context is to its user: an object with a session."""

    def __init__(self, session: Any) -> None:
        self.session = session


def test_what_was_read_counts_once_for_its_request_and_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/db")
    monkeypatch.setattr(agents, "reader", engine.connect)
    table = Agent.__table__
    table.create(engine)
    row = {column.name: "" for column in table.columns} | {"agent_type": KIND, "host": HOST}
    now = timeutils.utcnow()
    times = {"created_at": now, "started_at": now, "heartbeat_timestamp": now}
    numbers = {"admin_state_up": True, "load": 0, "resources_synced": True}
    with engine.begin() as connection:
        connection.execute(sa.insert(table), row | times | numbers)
    requests, found = [], RequestAgents()
    for _ in range(2):
        with orm.Session(engine) as session:
            requests.append(Request(session))
            assert [one["alive"] for one in found.read(requests[-1], KIND, HOST)] == [True]
    with engine.begin() as connection:
        connection.execute(sa.delete(table))
    first, second = requests
    assert [one["host"] for one in found.for_binding(first, KIND, HOST)] == [HOST]
    assert found.for_binding(first, KIND, HOST) == []
    assert found.for_binding(second, KIND, "compute-2") == []
    assert found.for_binding(Request(None), KIND, HOST) == []
