"""The ``[calico]`` section of neutron.conf.

The options of upstream's driver keep their names, so that an operator's file goes on
working; ``etcd_endpoints`` is added because upstream knows only one endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oslo_config import cfg

from calico_openstack.datamodel.keys import is_region, openstack_namespace, region_string
from calico_openstack.etcd import EtcdConfig
from calico_openstack.neutron.translate.qos import (
    DEFAULT_BURST_BITS,
    DEFAULT_BURST_PACKETS,
    NO_LIMITS,
    DirectionLimits,
    Limits,
)

GROUP = "calico"


OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "etcd_endpoints",
        default=[],
        help="URLs of the etcd cluster's members, such as https://etcd1:2379. When empty, "
        "etcd_host and etcd_port are used.",
    ),
    cfg.StrOpt("etcd_host", default="127.0.0.1", help="Host of the only etcd endpoint."),
    cfg.PortOpt("etcd_port", default=2379, help="Port of the only etcd endpoint."),
    cfg.StrOpt("etcd_key_file", help="File of the private key that belongs to etcd_cert_file."),
    cfg.StrOpt("etcd_cert_file", help="File of the certificate shown to etcd."),
    cfg.StrOpt("etcd_ca_cert_file", help="File of the authority that signed etcd's certificate."),
    cfg.StrOpt("etcd_username", help="Name of Neutron's user in etcd."),
    cfg.StrOpt("etcd_password", secret=True, help="Password of Neutron's user in etcd."),
    cfg.IntOpt(
        "etcd_timeout",
        default=10,
        min=1,
        help="Seconds that one request to etcd may take. An API request waits this long when "
        "etcd does not answer; what it could not write is written by neutron-periodic-workers.",
    ),
    cfg.StrOpt(
        "openstack_region",
        help="Name of the region, when several regions share one etcd: a lower-case DNS label "
        "of at most 46 characters, the same as OpenstackRegion in Felix's configuration.",
    ),
    *(
        option
        for direction, towards in (("ingress", "to"), ("egress", "from"))
        for option in (
            cfg.IntOpt(
                f"max_{direction}_connections_per_port",
                default=0,
                min=0,
                help=f"Connections {towards} a port that may exist at a time; 0 is no limit.",
            ),
            cfg.IntOpt(
                f"{direction}_burst_bits",
                default=DEFAULT_BURST_BITS,
                min=0,
                help=f"Size in bits of a burst {towards} a port whose bandwidth is limited.",
            ),
            cfg.IntOpt(
                f"{direction}_minburst_bytes",
                default=0,
                min=0,
                help=f"Size in bytes of a burst {towards} a port at its peak rate; 0 leaves it "
                "to Felix.",
            ),
            cfg.IntOpt(
                f"{direction}_burst_packets",
                default=DEFAULT_BURST_PACKETS,
                min=0,
                help=f"Packets in a burst {towards} a port whose packet rate is limited.",
            ),
        )
    ),
    cfg.IntOpt(
        "num_port_status_threads",
        default=4,
        min=1,
        max=64,
        help="Threads that write the status of ports into Neutron's database.",
    ),
    cfg.IntOpt(
        "etcd_compaction_period_mins",
        default=60,
        min=0,
        help="Minutes between compactions of etcd's history; 0 leaves it to etcd itself.",
    ),
    cfg.IntOpt(
        "etcd_compaction_min_revisions",
        default=1000,
        min=0,
        help="Revisions that a compaction keeps at least.",
    ),
    cfg.BoolOpt(
        "project_names",
        default=True,
        help="Whether endpoints are labelled with their projects' names, which Keystone is asked "
        "for with the credentials in [keystone_authtoken], where there are any.",
    ),
    cfg.PortOpt(
        "metrics_port",
        default=0,
        help="TCP port on which the status worker serves Prometheus metrics: the lag of status, "
        "and what is not yet in etcd; 0 serves none.",
    ),
    cfg.StrOpt("metrics_host", default="127.0.0.1", help="Address on which metrics are served."),
    cfg.StrOpt(
        "startup_resync",
        default="auto",
        choices=["always", "auto", "never"],
        help="Whether all of etcd is compared with Neutron's database when "
        "neutron-periodic-workers starts; auto does so where that was never done, etcd was "
        "replaced or restored since, or the driver's version or settings have changed. What "
        "servers have left undone is written at every start.",
    ),
    cfg.IntOpt(
        "resync_interval_secs",
        default=600,
        min=0,
        help="Seconds between comparisons of all of etcd with Neutron's database, which repair "
        "what others have done to etcd; 0 leaves them to startup_resync and calico-resync. What "
        "an outage of etcd has left undone does not wait for them.",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``[calico]`` section as the driver uses it. Times are in seconds."""

    etcd: EtcdConfig
    region: str | None
    status_threads: int
    startup_resync: str
    resync_interval: int
    limits: Limits = NO_LIMITS
    project_names: bool = True
    compaction_period: int = 0
    compaction_min_revisions: int = 1000
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"

    @property
    def namespace(self) -> str:
        """The namespace of this region's endpoints and policies."""
        return openstack_namespace(self.region)

    @property
    def region_string(self) -> str:
        """The region as it stands in the keys of subnets and status."""
        return region_string(self.region)


def list_options() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options for the generator of sample configuration files."""
    return [(GROUP, OPTIONS)]


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options; doing it again does nothing."""
    conf.register_opts(OPTIONS, group=GROUP)


def read(conf: cfg.ConfigOpts) -> Settings:
    """Return the settings in ``conf``; raise ValueError for those that cannot be right."""
    section = conf[GROUP]
    region = section.openstack_region or None
    if region is not None and not is_region(region):
        raise ValueError(
            f"[calico] openstack_region: {region!r} is not a lower-case DNS label of at most 46 "
            "characters"
        )
    return Settings(
        etcd=_etcd(section),
        region=region,
        status_threads=section.num_port_status_threads,
        startup_resync=section.startup_resync,
        resync_interval=section.resync_interval_secs,
        compaction_period=60 * section.etcd_compaction_period_mins,
        compaction_min_revisions=section.etcd_compaction_min_revisions,
        project_names=section.project_names,
        metrics_port=section.metrics_port,
        metrics_host=section.metrics_host,
        limits=Limits(_limits(section, "ingress"), _limits(section, "egress")),
    )


def _limits(section: cfg.ConfigOpts.GroupAttr, direction: str) -> DirectionLimits:
    return DirectionLimits(
        connections=section[f"max_{direction}_connections_per_port"],
        burst=section[f"{direction}_burst_bits"],
        minburst=section[f"{direction}_minburst_bytes"],
        packet_burst=section[f"{direction}_burst_packets"],
    )


def _etcd(section: cfg.ConfigOpts.GroupAttr) -> EtcdConfig:
    files = (section.etcd_ca_cert_file, section.etcd_cert_file, section.etcd_key_file)
    host = section.etcd_host
    authority = f"[{host}]" if ":" in host and not host.startswith("[") else host
    scheme = "https" if any(files) else "http"
    single = f"{scheme}://{authority}:{section.etcd_port}"
    return EtcdConfig(
        endpoints=tuple(section.etcd_endpoints) or (single,),
        ca_file=section.etcd_ca_cert_file or "",
        cert_file=section.etcd_cert_file or "",
        key_file=section.etcd_key_file or "",
        username=section.etcd_username or "",
        password=section.etcd_password or "",
        timeout=float(section.etcd_timeout),
    )
