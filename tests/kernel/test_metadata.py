"""The metadata service, asked by a real workload through everything but etcd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.kernel.conftest import NamespaceFactory
from tests.kernel.test_floating_addresses import Site
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import Process

pytestmark = needs_root

LOOPBACK, ADDRESS = "127.0.0.1", "192.0.2.1"
# More than fits in a packet, so that the kernel cuts answers into segments.
SIZE = 200_000

# Says who asks, and a lot more.
_SERVICE = f"""
import socket, sys
with socket.create_server((sys.argv[1], 8775)) as server:
    print("ready", flush=True)
    while True:
        connection, peer = server.accept()
        with connection:
            if connection.recv(100):
                connection.sendall(peer[0].encode().ljust({SIZE}))
"""
_ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1) as connection:
        connection.send(b"?")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        print(answer.decode().strip(), len(answer))
except OSError:
    print("-")
"""
# A host's own rules: what it has answered to, and new connections to the service, no others.
_FIREWALL = """
table inet own {{
  chain input {{
    type filter hook input priority 0
    ct state established accept
    iifname "tap*" ip daddr {service} tcp dport 8775 ct state new accept
    iifname "tap*" drop
  }}
  chain output {{
    type filter hook output priority 0
    oifname "tap*" ip saddr {service} tcp sport 8775 ct state established accept
    oifname "tap*" meta l4proto tcp drop
  }}
}}
"""


def ask(source: NetworkNamespace, address: str = "169.254.169.254", port: int = 80) -> str:
    command = (sys.executable, "-c", _ASK, address, str(port))
    return source.run(*command).stdout.strip()


@pytest.fixture(params=[LOOPBACK, ADDRESS])
def service(
    request: pytest.FixtureRequest, new_namespace: NamespaceFactory, tmp_path: Path
) -> Iterator[tuple[str, Site]]:
    """The address of the service, and the host that it runs on."""
    address = str(request.param)
    site = Site(new_namespace, tmp_path, metadata_address=IPv4Address(address))
    site.host.ip("link", "set", "lo", "up")
    command = site.host.command(())
    server = Process(
        [sys.executable, "-c", _SERVICE, address], log=tmp_path / "service", prefix=command
    )
    site.processes.append(server)
    server.wait_until(lambda: "ready" in server.output(), "service")
    yield address, site
    site.close()


def test_workloads_are_known_by_their_address(service: tuple[str, Site]) -> None:
    address, site = service
    site.put(1, 4)
    site.put(2)
    site.apply()
    for number in (1, 2):
        assert ask(site.workloads[number]) == f"10.65.0.{number} {SIZE}"
        assert ask(site.workloads[number], port=81) == "-"
    if address == ADDRESS:
        # It may be asked without the detour as well, and then answers as itself.
        assert ask(site.workloads[1], address, 8775) == f"10.65.0.1 {SIZE}"
    # The host itself has another metadata service, or none.
    assert ask(site.host) == "-"


def test_the_hosts_own_firewall_sees_connections(service: tuple[str, Site]) -> None:
    address, site = service
    site.put(1)
    site.apply()
    site.host.run("nft", "-f", "-", stdin=_FIREWALL.format(service=address))
    assert ask(site.workloads[1]) == f"10.65.0.1 {SIZE}"


def test_a_forged_source_is_not_answered(service: tuple[str, Site]) -> None:
    _, site = service
    site.put(1)
    site.apply()
    forger = site.workloads[1]
    forger.ip("addr", "add", "10.65.0.77/32", "dev", "eth0")
    forger.ip("route", "replace", "default", "via", "169.254.1.1", "src", "10.65.0.77")
    assert ask(forger) == "-"
    forger.ip("route", "replace", "default", "via", "169.254.1.1", "src", "10.65.0.1")
    assert ask(forger) == f"10.65.0.1 {SIZE}"
