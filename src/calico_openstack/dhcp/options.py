"""The settings of the DHCP agent on its own host: file (INI) or environment (``CALICO_``)."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from calico_openstack.agent.configuration import (
    ConfigurationError,
    LocalSettings,
    etcd_config,
    host_name,
)
from calico_openstack.datamodel.keys import is_region
from calico_openstack.dhcp.model import INFINITE_LEASE, Address, Settings
from calico_openstack.dhcp.names import is_domain_name
from calico_openstack.etcd import EtcdConfig

ENVIRONMENT_PREFIX: Final = "CALICO_"
DEFAULT_FILE: Final = Path("/etc/calico/dhcp-agent.cfg")

_UNPRIVILEGED: Final = "nobody"
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,14}")
# dnsmasq takes no shorter lease.
_SHORTEST_LEASE: Final = 120


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Everything that the agent is told on its host.

    *region* is empty without one. *dnsmasq_user* is empty where the agent shall choose.
    """

    etcd: EtcdConfig
    host: str
    region: str
    interface_prefix: str
    run_folder: Path
    dnsmasq: str
    dnsmasq_user: str
    networks: Settings
    log_severity: str
    log_file: str
    health_host: str
    health_port: int
    metrics_host: str
    metrics_port: int


def read_options(settings: LocalSettings) -> AgentOptions:
    """Return the agent's options; raises ConfigurationError."""
    run = settings.path("RunDirectory", "/run/calico")
    if not run.is_absolute():
        raise ConfigurationError(f"RunDirectory: {run} is not an absolute path")
    return AgentOptions(
        etcd=etcd_config(settings),
        host=host_name(settings, "Hostname", "FelixHostname"),
        region=_region(settings),
        interface_prefix=_interface_prefix(settings),
        run_folder=run / "dhcp",
        dnsmasq=settings.text("DnsmasqBinary", "dnsmasq"),
        dnsmasq_user=_user(settings),
        networks=Settings(
            lease_seconds=_lease_seconds(settings),
            dns_domain=_dns_domain(settings),
            forwarders=_addresses(settings, "DnsServers"),
            ntp_servers=_addresses(settings, "NtpServers"),
        ),
        log_severity=settings.text("LogSeverityScreen", "Info"),
        log_file=settings.text("LogFilePath"),
        health_host=settings.text("HealthHost", "localhost"),
        health_port=settings.integer("HealthPort", 0, high=65535),
        metrics_host=settings.text("PrometheusMetricsHost", "localhost"),
        metrics_port=settings.integer("PrometheusMetricsPort", 0, high=65535),
    )


def choose_user(wanted: str, folder: Path) -> str:
    """Return the user that dnsmasq runs as: *wanted*, or one without privileges if that works.

    dnsmasq reads files again after it has given up its privileges, so that its user must be able
    to enter *folder* and everything above it. Raises ConfigurationError if *wanted* cannot.
    """
    if wanted == "root":
        return wanted
    closed = [path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001]
    if not closed:
        return wanted or _UNPRIVILEGED
    if wanted:
        raise ConfigurationError(f"DnsmasqUser: {wanted} cannot enter {closed[-1]}")
    return "root"


def _region(settings: LocalSettings) -> str:
    region = settings.text("OpenstackRegion")
    if region and not is_region(region):
        raise ConfigurationError(f"OpenstackRegion: {region!r} is no name for a region")
    return region


def _interface_prefix(settings: LocalSettings) -> str:
    prefix = settings.text("InterfacePrefix", "tap")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f"InterfacePrefix: {prefix!r} begins no interface's name")
    return prefix


def _user(settings: LocalSettings) -> str:
    user = settings.text("DnsmasqUser")
    if user:
        try:
            pwd.getpwnam(user)
        except KeyError as error:
            raise ConfigurationError(f"DnsmasqUser: there is no user {user!r}") from error
    return user


def _lease_seconds(settings: LocalSettings) -> int:
    seconds = settings.integer("DhcpLeaseDuration", 86400, low=INFINITE_LEASE)
    if seconds != INFINITE_LEASE and seconds < _SHORTEST_LEASE:
        raise ConfigurationError(
            f"DhcpLeaseDuration: {seconds} is neither -1 (for ever) nor {_SHORTEST_LEASE} or more"
        )
    return seconds


def _dns_domain(settings: LocalSettings) -> str:
    domain = settings.text("DnsDomain", "openstacklocal").strip(".").lower()
    if domain and not is_domain_name(domain):
        raise ConfigurationError(f"DnsDomain: {domain!r} is no domain name")
    return domain


def _addresses(settings: LocalSettings, name: str) -> tuple[Address, ...]:
    try:
        return tuple(
            ip_address(part.strip()) for part in settings.text(name).split(",") if part.strip()
        )
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error
