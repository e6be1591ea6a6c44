"""The agents of hosts, as requests see them: Neutron's database is asked once for each port."""

from __future__ import annotations

import weakref
from typing import Any

from calico_openstack.neutron import reading
from calico_openstack.neutron.queries import reader

Agents = list[dict[str, Any]]


class RequestAgents:
    """What a request has read of a host's agents counts once more, when it binds the port next.

    A request is known by its ``context``, Neutron's object that lives as long. Later attempts to
    bind ask anew. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._found: weakref.WeakKeyDictionary[Any, tuple[str, str, Agents]] = (
            weakref.WeakKeyDictionary()
        )

    def read(self, context: Any, agent_type: str, host: str) -> Agents:
        """Return a host's agents of a type, in the transaction of the request."""
        agents = reading.agents_on(context.session, agent_type, host)
        self._found[context] = (agent_type, host, agents)
        return agents

    def for_binding(self, context: Any, agent_type: str, host: str) -> Agents:
        """Return a host's agents of a type, outside of a transaction."""
        found = self._found.pop(context, None)
        if found is not None and found[:2] == (agent_type, host):
            return found[2]
        with reader() as connection:
            return reading.agents_on(connection, agent_type, host)
