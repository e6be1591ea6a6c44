"""What becomes of real packets of offloaded flows. Runs in the virtual machine; see the test."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.packet_guest import FILES, enter, program
from benchmarks.packet_path import ECHO_PORT, End, PacketHost, PacketPath
from calico_openstack.felix.kernel.conntrack import ConntrackTable
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.flowtables import has_flowtables
from calico_openstack.felix.render.renderer import IP_TABLE

_PATIENCE = 0.5
_TAP_MAC = bytes.fromhex("eeeeeeeeeeee")
_UDP, _IPV4 = 17, 0x0800


class Guest:
    """Two workloads on a router that *states* may be programmed into, one after the other."""

    def __init__(self, path: PacketPath, states: dict[str, PacketHost]) -> None:
        self.path = path
        self._states = states
        self.ends = states["open"].sender, states["open"].receiver
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)

    @contextlib.contextmanager
    def within(self, namespace: str) -> Iterator[None]:
        enter(os.open(f"/run/netns/{namespace}", os.O_RDONLY))
        yield
        enter(self.home)

    def program(self, state: str) -> Dataplane:
        with self.within(self.path.router):
            return program(self._states[state])

    def client(self) -> socket.socket:
        """Return a socket of the sender's that is connected to the receiver's echo."""
        with self.within(self.path.sender):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(_PATIENCE)
        made.connect((self._states["open"].receiver.address, ECHO_PORT))
        return made

    def tracked(self) -> str:
        """Return the flows of the echo, as conntrack(8) prints them."""
        command = ["ip", "netns", "exec", self.path.router, "conntrack", "-L", "-p", "udp"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def answers(client: socket.socket, times: int = 3) -> bool:
    """Ask so many times; tell whether each question was answered."""
    for _ in range(times):
        client.send(b"x")
        try:
            client.recv(1)
        except TimeoutError:
            return False
    return True


def offloaded_flows_go_by_the_rules_until_they_are_ended(guest: Guest) -> None:
    with contextlib.closing(guest.program("open")) as dataplane:
        covered = dataplane.flowtables.coverage[IP_TABLE]
        assert (covered.covered, covered.missing) == (2, 0), covered
    client = guest.client()
    assert answers(client)
    assert "[OFFLOAD]" in guest.tracked(), guest.tracked()
    guest.program("closed").close()
    # The rules are not asked: this is why withdrawn permission must end flows.
    assert answers(client)
    assert not answers(guest.client(), 1)
    with guest.within(guest.path.router):
        table = ConntrackTable()
    assert table.delete(list(table.flows()))
    assert not answers(client, 1)
    table.close()
    guest.program("open").close()
    assert answers(client)


def a_restart_changes_nothing(guest: Guest) -> None:
    guest.program("open").close()
    with contextlib.closing(guest.program("open")) as again:
        assert again.writes == 0, again.writes


def flows_of_limited_endpoints_stay(guest: Guest) -> None:
    guest.program("limited").close()
    client = guest.client()
    assert answers(client)
    assert "[OFFLOAD]" not in guest.tracked(), guest.tracked()
    guest.program("open").close()
    assert answers(client)
    assert "[OFFLOAD]" in guest.tracked()


def nobody_else_sends_in_an_offloaded_flow(guest: Guest) -> None:
    guest.program("open").close()
    client = guest.client()
    assert answers(client)
    assert "[OFFLOAD]" in guest.tracked()
    sender, receiver = guest.ends
    with guest.within(guest.path.receiver):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    before = arrived(guest)
    wire.send(datagram(sender, receiver, client.getsockname()[1]))
    wire.close()
    assert answers(client, 1)
    # The echo's answer to the false question would have come before the one to ours.
    assert arrived(guest) == before + 1


def arrived(guest: Guest) -> int:
    """Return how many datagrams the receiver took."""
    with guest.within(guest.path.receiver):
        lines = [
            line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        ]
    names, values = (line for line in lines if line[0] == "Udp:")
    return int(values[names.index("InDatagrams")])


def datagram(sender: End, receiver: End, port: int) -> bytes:
    """Return the frame that the sender would send, from wherever it comes."""
    ends = socket.inet_aton(sender.address) + socket.inet_aton(receiver.address)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 29, 0, 0, 64, _UDP, 0) + ends
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + struct.pack(">H", checksum) + header[12:]
    ethernet = _TAP_MAC + bytes.fromhex(receiver.mac.replace(":", "")) + struct.pack(">H", _IPV4)
    return ethernet + header + struct.pack(">HHHH", port, ECHO_PORT, 9, 0) + b"s"


def main() -> None:
    states: dict[str, PacketHost] = pickle.loads((FILES / "states").read_bytes())
    host = states["open"]
    assert has_flowtables()
    for check in (
        offloaded_flows_go_by_the_rules_until_they_are_ended,
        a_restart_changes_nothing,
        flows_of_limited_endpoints_stay,
        nobody_else_sends_in_an_offloaded_flow,
    ):
        with PacketPath("p", host.sender, host.receiver, FILES / "traffic") as path:
            check(Guest(path, states))
        print(f"PASSED {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
