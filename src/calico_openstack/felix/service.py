"""Felix as a process: put everything together, run, and say by the exit code why it ended.

0: asked to end. 129: start again at once, with other settings. 1: a failure.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from msgspec.structs import replace

from calico_openstack import __version__
from calico_openstack.agent import log
from calico_openstack.agent import metrics as agent_metrics
from calico_openstack.agent.configuration import (
    ConfigurationError,
    LocalSettings,
    etcd_config,
    host_name,
)
from calico_openstack.agent.health import Health
from calico_openstack.agent.introspection.relay import IntrospectionRelay
from calico_openstack.agent.introspection.server import IntrospectionServer
from calico_openstack.datamodel.bgp import BGPPeer
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.etcd import EtcdClient
from calico_openstack.felix.agent import (
    CALCULATION,
    DATAPLANE,
    RESTART,
    AgentSettings,
    FelixAgent,
)
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.config import FelixSettings
from calico_openstack.felix.derivation import (
    audit_interval,
    calculation_settings,
    migration_settings,
    nat_excludes_hosts,
    render_settings,
    reporting_settings,
    route_ownership,
)
from calico_openstack.felix.first_listing import FirstListing
from calico_openstack.felix.introspection import PROGRAM, tables_of
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.flowtables import has_flowtables
from calico_openstack.felix.listing_process import ListingProcess
from calico_openstack.felix.metrics import FelixMetrics
from calico_openstack.felix.mtu import MtuFile
from calico_openstack.felix.parameters import ParameterSources, ParameterWatch
from calico_openstack.felix.render import TABLES, Renderer
from calico_openstack.felix.reporting import StatusReporter
from calico_openstack.felix.simulated_faults import arrange_hang, make_dataplane
from calico_openstack.felix.startup import UnusableConfiguration, wait_for_settings
from calico_openstack.felix.status_files import StatusFiles, StatusFileWriter, directory_of

if TYPE_CHECKING:
    from calico_openstack.agent.health_server import HealthServer

_log = logging.getLogger(__name__)

STARTUP: Final = "FelixStartup"
# A sign of life that cannot be written soon is better written anew than late.
_STATUS_TIMEOUT: Final = 5.0
_FAILURE_PAUSE: Final = 2.0

# In the order in which they are listed: policy first, so that endpoints meet what selects them.
_KINDS: Final = (
    Tier.KIND,
    Profile.KIND,
    GlobalNetworkPolicy.KIND,
    NetworkPolicy.KIND,
    StagedGlobalNetworkPolicy.KIND,
    StagedNetworkPolicy.KIND,
    GlobalNetworkSet.KIND,
    NetworkSet.KIND,
    IPPool.KIND,
    LiveMigration.KIND,
    BGPPeer.KIND,
    HostEndpoint.KIND,
    WorkloadEndpoint.KIND,
)


def serve(config_file: str, started_at: float, listing: ListingProcess | None = None) -> int:
    """Run Felix with this file of settings; *started_at* is when the process began.

    *listing* lists endpoints meanwhile. Returns the exit code.
    """
    try:
        return _serve(config_file, started_at, listing)
    finally:
        if listing is not None:
            listing.end()


def _serve(config_file: str, started_at: float, listing: ListingProcess | None) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        local = LocalSettings.load(Path(config_file), "FELIX_")
        _log_early(local)
        config = etcd_config(local)
    except (ConfigurationError, ValueError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    with EtcdClient(config) as client:
        try:
            agent = _prepare(client, local, started_at, listing)
        except (UnusableConfiguration, OSError) as error:
            # What settings name (addresses, files) or what this process may not do.
            _log.critical("Cannot start: %s", error)
            return 1
        relay = _answer_questions(client, agent)
        try:
            return agent.run()
        except Exception:
            # A bug. The kernel keeps what it has; starting anew is better than guessing on.
            _log.critical("Ending after an unexpected failure", exc_info=True)
            time.sleep(_FAILURE_PAUSE)
            return 1
        finally:
            relay.stop()
            agent.close()


def _answer_questions(client: EtcdClient, agent: FelixAgent) -> IntrospectionRelay:
    """Let others look into this process, and from other hosts into all agents of this one."""
    inside = agent.insides
    IntrospectionServer(PROGRAM, inside.host, tables_of(inside), agent.loop.call)
    relay = IntrospectionRelay(client, inside.host)
    relay.start()
    return relay


def _end(number: int, _frame: object) -> NoReturn:
    """End while there is no loop yet."""
    sys.exit(0)


def _log_early(local: LocalSettings) -> None:
    severity = local.text("EarlyLogSeverityScreen") or local.text("LogSeverityScreen", "INFO")
    log.configure(PROGRAM, log.LogSettings(screen=severity, file="NONE"))


def _log_fully(settings: FelixSettings) -> None:
    log.configure(
        PROGRAM,
        log.LogSettings(
            screen=settings.log_severity_screen,
            file=settings.log_severity_file,
            file_path=settings.log_file_path,
            system=settings.log_severity_sys,
            debug_files=settings.log_debug_filename_regex,
        ),
    )


def _serve_health(health: Health, settings: FelixSettings) -> HealthServer | None:
    if not settings.health_enabled:
        return None
    # Python's HTTP server takes a tenth of the time that all other imports take together.
    from calico_openstack.agent.health_server import HealthServer  # noqa: PLC0415

    return HealthServer(health, settings.health_host, settings.health_port)


def _prepare(
    client: EtcdClient, local: LocalSettings, started_at: float, listing: ListingProcess | None
) -> FelixAgent:
    """Wait for the datastore, then make the agent from what it says."""
    host = host_name(local, "FelixHostname")
    health = Health()
    health.register(STARTUP)
    health.report(STARTUP)
    early = _serve_health(health, ParameterSources(local, host).resolution().settings)
    sources, settings, revision = wait_for_settings(client, lambda: ParameterSources(local, host))
    _log_fully(settings)
    _log.info("Starting", extra=log.fields(version=__version__, host=host))
    if early is None:
        _serve_health(health, settings)
    agent = _agent(client, sources, settings, health, started_at)
    # Which endpoints are of other hosts was decided by the name in the local settings.
    is_usable = settings.felix_hostname == host
    ahead = FirstListing(listing, revision) if listing and is_usable else None
    agent.watch(client, _watched(sources, settings), ahead)
    return agent


def _agent(
    client: EtcdClient,
    sources: ParameterSources,
    settings: FelixSettings,
    health: Health,
    started_at: float,
) -> FelixAgent:
    metrics = FelixMetrics(
        settings.felix_hostname, process=settings.prometheus_process_metrics_enabled
    )
    if settings.prometheus_metrics_enabled:
        _serve_metrics(metrics, settings)
    health.register(CALCULATION, timeout=30.0)
    health.register(DATAPLANE, timeout=settings.dataplane_watchdog_timeout)
    health.override_timeouts(dict(settings.health_timeout_overrides))
    health.unregister(STARTUP)
    reporter = StatusReporter(
        EtcdClient(replace(client.config, timeout=_STATUS_TIMEOUT)),
        reporting_settings(settings),
        lambda: health.liveness().good,
        started_at=started_at,
    )
    dataplane = make_dataplane(settings, TABLES, route_ownership(settings), time.monotonic())
    dataplane.flowtables.host_interfaces = settings.nftables_flow_table_data_iface_pattern
    calculation = HostCalculation(settings.felix_hostname, calculation_settings(settings))
    agent = FelixAgent(
        AgentSettings(
            host=settings.felix_hostname,
            region=settings.region_string,
            audit_interval=audit_interval(settings),
            policy_ends_flows=settings.policy_change_ends_flows,
            workload_prefixes=settings.interface_prefixes,
            migration=migration_settings(settings),
        ),
        calculation=calculation,
        renderer=Renderer(
            render_settings(settings, flow_offload=_offloads(settings)), calculation.state
        ),
        dataplane=dataplane,
        parameters=ParameterWatch(sources, settings),
        reporter=reporter,
        status_files=StatusFileWriter(
            StatusFiles(directory_of(settings.endpoint_status_path_prefix))
        ),
        mtu_file=_mtu_file(settings, dataplane),
        health=health,
        metrics=metrics,
        started_at=started_at,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        agent.loop.on_signal(number, agent.loop.stop)
    agent.loop.on_signal(signal.SIGHUP, lambda: agent.loop.stop(RESTART))
    metrics.resyncs_started.inc()
    arrange_hang(settings, agent.loop)
    return agent


def _mtu_file(settings: FelixSettings, dataplane: Dataplane) -> MtuFile:
    """Write the file of the MTU; raises UnusableConfiguration when it is required and cannot be."""
    path = settings.mtu_file_path
    wanted = path and path.lower() != "none"
    file = MtuFile(Path(path) if wanted else None, settings.mtu_iface_pattern)
    if not file.update(dataplane.interfaces) and settings.require_mtu_file:
        raise UnusableConfiguration("RequireMTUFile: the host's MTU cannot be found or written")
    return file


def _offloads(settings: FelixSettings) -> bool:
    """Tell whether flows are offloaded: that is wanted, and the kernel can do it."""
    if settings.nftables_flow_table_offload == "Disabled":
        return False
    if has_flowtables():
        return True
    reason = "the kernel has no flowtables; established flows take the ordinary way"
    _log.warning("NFTablesFlowTableOffload has no effect", extra=log.fields(reason=reason))
    return False


def _watched(sources: ParameterSources, settings: FelixSettings) -> list[str]:
    """Return the prefixes of all keys that matter; all nodes only where they must be known."""
    kinds = [*map(prefix_of, _KINDS)]
    if nat_excludes_hosts(settings):
        kinds.append(prefix_of(Node.KIND))
    own = [each for each in sources.prefixes() if not each.startswith(tuple(kinds))]
    return [*own, *kinds]


def _serve_metrics(metrics: FelixMetrics, settings: FelixSettings) -> None:
    agent_metrics.serve(
        metrics.registry(),
        settings.prometheus_metrics_host,
        settings.prometheus_metrics_port,
        cert_file=settings.prometheus_metrics_cert_file,
        key_file=settings.prometheus_metrics_key_file,
        # Python's TLS knows no certificates that are asked for and not verified.
        client_ca_file=(
            settings.prometheus_metrics_ca_file
            if settings.prometheus_metrics_client_auth != "NoClientCert"
            else ""
        ),
    )
