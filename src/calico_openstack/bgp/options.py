"""The settings of the BGP agent on its own host.

File (INI) and environment (prefix ``CALICO_``) have the same names, in any case. Those that
calico/node has too may also be written its way: ``IpAutodetectionMethod`` or
``IP_AUTODETECTION_METHOD``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, ip_interface
from pathlib import Path
from typing import Final

from calico_openstack.agent.configuration import (
    ConfigurationError,
    LocalSettings,
    etcd_config,
    host_name,
)
from calico_openstack.bgp.detection import Family, parse_method
from calico_openstack.bgp.nodestatus import LONGEST_PERIOD
from calico_openstack.bgp.registration import AddressSource, Registration
from calico_openstack.bgp.settings import REGION_LABEL
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.keys import is_region
from calico_openstack.etcd import EtcdConfig

ENVIRONMENT_PREFIX: Final = "CALICO_"
DEFAULT_FILE: Final = Path("/etc/calico/bgp-agent.cfg")
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Everything that the agent is told on its host. Times are seconds.

    ``router_id`` and ``service_interface`` are as in ``stanza.HostOptions``; ``bird_log`` empty
    means syslog. ``status_period`` is how often the host reports into the datastore unasked, 0 for
    never; ``metrics_port`` 0 serves no metrics. ``region`` is the OpenStack region that shares etcd
    with others, empty without one. ``like_kubernetes`` is as in ``stanza.HostOptions``.
    """

    etcd: EtcdConfig
    registration: Registration
    registration_interval: float
    router_id: str
    bird: str
    bird_group: str
    bird_log: str
    configuration_file: Path
    control_socket: Path
    bird_pid_file: Path
    process_file: Path
    status_file: Path
    secrets_directory: Path
    log_severity: str
    log_file: str
    health_host: str
    health_port: int
    service_interface: str
    status_period: int
    metrics_host: str
    metrics_port: int
    region: str
    like_kubernetes: bool

    @property
    def host(self) -> str:
        """This host's name in keys."""
        return self.registration.name


def read_options(settings: LocalSettings) -> AgentOptions:
    """Return the agent's options; raises ConfigurationError."""
    state = settings.path("StateDirectory", "/var/lib/calico")
    run = settings.path("RunDirectory", "/run/calico")
    bird_log = settings.text("BirdLogFile", "/var/log/calico/bird.log")
    return AgentOptions(
        etcd=etcd_config(settings),
        registration=_registration(settings),
        registration_interval=_poll_interval(settings),
        router_id=_router_id(settings),
        bird=settings.text("BirdBinary", "bird"),
        bird_group=settings.text("BirdGroup", "bird"),
        bird_log="" if bird_log == "syslog" else bird_log,
        configuration_file=settings.path("BirdConfigFile", str(state / "bird.conf")),
        control_socket=settings.path("BirdControlSocket", str(run / "bird.ctl")),
        bird_pid_file=run / "bird.pid",
        process_file=run / "bird.process",
        status_file=settings.path("StatusFile", str(run / "bgp-status.json")),
        secrets_directory=settings.path("SecretsDirectory", "/etc/calico/bgp-secrets"),
        log_severity=settings.text("LogSeverityScreen", "Info"),
        log_file=settings.text("LogFilePath"),
        health_host=settings.text("HealthHost", "localhost"),
        health_port=settings.integer("HealthPort", 0, high=65535),
        service_interface=_interface(settings),
        status_period=settings.integer("NodeStatusPeriod", 0, high=LONGEST_PERIOD),
        metrics_host=settings.text("PrometheusMetricsHost", "localhost"),
        metrics_port=settings.integer("PrometheusMetricsPort", 0, high=65535),
        region=_region(settings),
        like_kubernetes=_like_kubernetes(settings),
    )


def _registration(settings: LocalSettings) -> Registration:
    name = host_name(settings, "Hostname", "FelixHostname")
    number = _text(settings, "AS")
    if number and as_number(number) is None:
        raise ConfigurationError(f"AS: {number!r} is no AS number")
    return Registration(
        name=name,
        host_id=settings.text("HostId", name),
        sources={4: _source(settings, 4), 6: _source(settings, 6)},
        labels=_labels(settings),
        as_number=as_number(number) if number else None,
        check_conflicts=not _boolean(settings, "DisableNodeIpCheck"),
    )


def _source(settings: LocalSettings, family: Family) -> AddressSource:
    name = "IP" if family == 4 else "IP6"
    setting = _text(settings, name) or "autodetect"
    if setting not in ("autodetect", "none"):
        try:
            version = ip_interface(setting).version
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from error
        if version != family:
            raise ConfigurationError(f"{name}: {setting} is no IPv{family} address")
    member = "IpAutodetectionMethod" if family == 4 else "Ip6AutodetectionMethod"
    try:
        method = parse_method(_text(settings, member) or "first-found")
    except ValueError as error:
        raise ConfigurationError(f"{member}: {error}") from error
    return AddressSource(setting, method)


def _labels(settings: LocalSettings) -> Mapping[str, str]:
    """Read ``key=value,key=value``; the region is a label too."""
    region = _region(settings)
    labels = {REGION_LABEL: region} if region else {}
    for part in filter(None, (part.strip() for part in settings.text("NodeLabels").split(","))):
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            raise ConfigurationError(f"NodeLabels: {part!r} is not of the form key=value")
        labels[key.strip()] = value.strip()
    return labels


def _region(settings: LocalSettings) -> str:
    region = settings.text("OpenstackRegion")
    if region and not is_region(region):
        raise ConfigurationError(f"OpenstackRegion: {region!r} is no name for a region")
    return region


def _like_kubernetes(settings: LocalSettings) -> bool:
    text = settings.text("Compatibility", "openstack").lower()
    if text not in ("openstack", "kubernetes"):
        raise ConfigurationError(f"Compatibility: {text!r} is neither openstack nor kubernetes")
    return text == "kubernetes"


def _router_id(settings: LocalSettings) -> str:
    text = _text(settings, "RouterId")
    if text not in ("", "hash"):
        try:
            IPv4Address(text)
        except AddressValueError as error:
            raise ConfigurationError(f"RouterId: {error}") from error
    return text


def _interface(settings: LocalSettings) -> str:
    name = settings.text("ServiceInterface", "dummy1")
    if not _INTERFACE.fullmatch(name):
        raise ConfigurationError(f"ServiceInterface: {name!r} is no interface")
    return name


def _poll_interval(settings: LocalSettings) -> float:
    interval = settings.seconds("AutodetectPollInterval", 0)
    return interval or settings.seconds("AUTODETECT_POLL_INTERVAL", 60)


def _boolean(settings: LocalSettings, name: str) -> bool:
    return settings.boolean(name, settings.boolean(_snake(name), False))


def _text(settings: LocalSettings, name: str) -> str:
    return settings.text(name) or settings.text(_snake(name))


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name)
