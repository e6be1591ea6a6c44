"""Waiting for a lab's processes and agents, with the end of their logs when they do not come."""

from collections.abc import Callable

from calico_openstack.lab.cloud import api, supervisor
from calico_openstack.lab.log_files import last_words
from calico_openstack.lab.rest import RestError
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology
from calico_openstack.lab.waiting import wait_until

# Seconds. Generous: a loaded machine is slow, not wrong.
SERVER_TIMEOUT = 60.0
AGENTS_TIMEOUT = 120.0


def await_process(
    lab: Lab, name: str, ready: Callable[[], bool], *, timeout: float = SERVER_TIMEOUT
) -> None:
    """Wait until a process does its work. Raises NotReadyError with the end of its log."""
    wait_until(
        ready,
        name,
        timeout=timeout,
        interval=0.1,
        reason=lambda: _last_words(lab, name),
    )


def await_agents(lab: Lab, topology: Topology, *, timeout: float = AGENTS_TIMEOUT) -> None:
    """Wait until Neutron has an alive agent of each compute host. Raises NotReadyError."""
    wanted = {host.name for host in topology.compute}
    neutron = api(lab)

    def missing() -> set[str]:
        try:
            agents = neutron.find_all("agents")
        except RestError:
            return wanted
        return wanted - {agent["host"] for agent in agents if agent["alive"]}

    def reason() -> str:
        host = min(missing(), default="")
        return f"none alive on {host}; {_last_words(lab, f'felix@{host}')}" if host else ""

    wait_until(lambda: not missing(), "the agents", timeout=timeout, interval=0.2, reason=reason)


def _last_words(lab: Lab, name: str) -> str:
    process = supervisor(lab).process(name)
    words = " / ".join(last_words(lab.log_file(name))) or "it has written nothing"
    state = f"{name} is {process.state}"
    if process.last_exit is not None:
        state += f", ended {process.starts - 1} times, last with status {process.last_exit}"
    return f"{state}; {lab.log_file(name)} says: {words}"
