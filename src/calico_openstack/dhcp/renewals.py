"""The nftables rule that brings unicast DHCPv4 requests to all of the host's dnsmasq processes.

All of them listen on UDP port 67 of all addresses; the kernel gives a unicast datagram to one of
them, a broadcast to all. The rule is in a table of its own, before everything that Felix does.
"""

from __future__ import annotations

import logging
import subprocess
from typing import Final

from calico_openstack.dhcp.model import Problem

_log = logging.getLogger(__name__)

TABLE: Final = "calico-dhcp"
_TIMEOUT: Final = 10.0
_SUBJECT: Final = f"nftables table ip {TABLE}"


def ruleset(interface_prefix: str) -> str:
    """Return the table as a script for nft(8), which may be run again at any time.

    Only what is for this host itself is touched: a workload may speak with another's DHCP server.
    """
    return f"""\
add table ip {TABLE}
add chain ip {TABLE} prerouting {{ type filter hook prerouting priority -310; policy accept; }}
flush chain ip {TABLE} prerouting
add rule ip {TABLE} prerouting iifname "{interface_prefix}*" udp sport 68 udp dport 67 \
ip daddr != 255.255.255.255 fib daddr type local ip daddr set 255.255.255.255
"""


class RenewalRule:
    """Keeps the rule in place."""

    def __init__(self, interface_prefix: str, program: str = "nft") -> None:
        self._script = ruleset(interface_prefix)
        self._program = program
        self._seen = ""

    @property
    def written(self) -> bool:
        """Whether the rule was written once."""
        return bool(self._seen)

    def ensure(self) -> list[Problem]:
        """Write the rule unless it is there as it was written; return why it could not be."""
        if self._seen and self._list() == self._seen:
            return []
        try:
            self._run(["-f", "-"], self._script)
        except (OSError, subprocess.SubprocessError) as error:
            return [Problem(_SUBJECT, "", f"cannot be written: {_reason(error)}")]
        self._seen = self._list()
        _log.info("Wrote the rule for renewals of leases")
        return []

    def remove(self) -> None:
        """Remove the table, if it is there."""
        # "delete" alone fails for a table that is not there; "add" does not mind one that is.
        self._run(["-f", "-"], f"add table ip {TABLE}\ndelete table ip {TABLE}\n")
        self._seen = ""

    def _list(self) -> str:
        try:
            return self._run(["-n", "list", "table", "ip", TABLE])
        except (OSError, subprocess.SubprocessError):
            return ""

    def _run(self, arguments: list[str], script: str = "") -> str:
        result = subprocess.run(
            [self._program, *arguments],
            input=script,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return result.stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).strip()
    return str(error)
