"""dnsmasq's files: their syntax, and how a wanted service is identified. Pure.

Options are those of dnsmasq(8), version 2.90.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from calico_openstack.dhcp.model import INFINITE_LEASE, ExtraOption

_GENERATION_LENGTH: Final = 12


class Role(Enum):
    """What a process does for its network."""

    DHCP4 = "dhcp4"
    DHCP6 = "dhcp6"
    DNS = "dns"


@dataclass(frozen=True, slots=True)
class Service:
    """A wanted dnsmasq process.

    *options* are lines of its configuration, which it reads once. *files* are what it reads again
    on SIGHUP: the option that names the file, and the file's lines. *assignments* are not written
    into the configuration, but need a new process when they change.
    """

    network_id: str
    role: Role
    options: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the service is called in messages."""
        return f"{self.role.value} of network {self.network_id}"

    @property
    def generation(self) -> str:
        """What identifies everything that a running process cannot take up."""
        text = "\n".join([*self.options, "", *sorted(self.files), "", *self.assignments])
        return hashlib.sha256(text.encode()).hexdigest()[:_GENERATION_LENGTH]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one service lie; all names are absolute."""

    folder: str
    role: Role

    def reloadable(self, option: str) -> str:
        """Return the name of the file for a reloadable option."""
        return f"{self.folder}/{self.role.value}.{option}"

    def configuration(self, generation: str) -> str:
        """Return the name of a generation's configuration file."""
        return f"{self.folder}/{self.role.value}-{generation}.conf"

    def pid_file(self, generation: str) -> str:
        """Return the name of the file in which a generation of dnsmasq says that it is ready."""
        return f"{self.folder}/{self.role.value}-{generation}.ready"

    @property
    def log(self) -> str:
        """The name of the log, which all generations append to."""
        return f"{self.folder}/{self.role.value}.log"


def configuration(service: Service, layout: Layout, user: str) -> str:
    """Return the configuration file of a service; *user* is who dnsmasq runs as."""
    lines = [
        f"# {service.name}; written by calico-dhcp-agent",
        "keep-in-foreground",
        f"user={user}",
        f"pid-file={layout.pid_file(service.generation)}",
        f"log-facility={layout.log}",
        "no-hosts",
        "no-resolv",
        *service.options,
        *(f"{option}={layout.reloadable(option)}" for option in sorted(service.files)),
    ]
    return text(lines)


def text(lines: Iterable[str]) -> str:
    """Return lines as the content of a file."""
    return "".join(f"{line}\n" for line in lines)


def lease_time(seconds: int) -> str:
    """Return a lease time as dnsmasq reads it."""
    return "infinite" if seconds == INFINITE_LEASE else str(seconds)


def host_line(mac: str, addresses: Iterable[str], name: str) -> str:
    """Return a line of a hosts file: who has *mac* gets *addresses* and *name*.

    The final dot keeps names such as "123", "5d" and "ignore" from being taken for a lease time
    or a command.
    """
    return ",".join([mac, *addresses, f"{name}."])


def option_line(option: ExtraOption, tag: str) -> str:
    """Return a line of an options file: the option for those with *tag*.

    Text is in quotation marks, within which nothing but they and the backslash has a meaning.
    """
    prefix = f"tag:{tag}," + (f"tag:{option.tag}," if option.tag else "")
    code = f"option6:{option.code}" if option.version == 6 else str(option.code)
    items = [_in_quotes(item) if option.is_text else item for item in option.items]
    return prefix + ",".join([code, *items])


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def interface_options(device: str, interfaces: Iterable[str]) -> list[str]:
    """Return the options by which requests at *interfaces* count as requests at *device*.

    The interfaces must be named beside the device: with one interface only, dnsmasq binds its
    sockets to it and hears nothing else.
    """
    names = sorted(set(interfaces))
    return [
        "bind-dynamic",
        "except-interface=lo",
        *(f"interface={name}" for name in (device, *names)),
        *(f"bridge-interface={device},{name}" for name in names),
    ]
