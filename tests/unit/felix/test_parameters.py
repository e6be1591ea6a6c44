"""Parameters from the datastore: which changes need a restart, and what is derived from them."""

from __future__ import annotations

import pytest

from calico_openstack.agent.configuration import LocalSettings
from calico_openstack.datamodel.configuration import (
    ClusterInformation,
    ClusterInformationSpec,
    FelixConfiguration,
)
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import Tier
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix import derivation
from calico_openstack.felix.parameters import ParameterSources, ParameterWatch

CLUSTER = ResourceKey("ClusterInformation", "default")
DEFAULT = ResourceKey("FelixConfiguration", "default")
LOCAL = LocalSettings({"interfaceprefix": "tap", "endpointreportingenabled": "true"})


def ready(ready: bool | None = True, **spec: str) -> ClusterInformation:
    return ClusterInformation(
        metadata=Metadata(name="default"),
        spec=ClusterInformationSpec(datastore_ready=ready, **spec),
    )


def configuration(name: str = "default", **spec: object) -> FelixConfiguration:
    return FelixConfiguration(metadata=Metadata(name=name), spec=spec)


def running() -> tuple[ParameterSources, ParameterWatch]:
    sources = ParameterSources(LOCAL, "compute-1")
    sources.update(CLUSTER, ready())
    return sources, ParameterWatch(sources, sources.resolution().settings)


def test_datastore_is_ready_only_when_declared() -> None:
    sources = ParameterSources(LOCAL, "compute-1")
    assert not sources.datastore_ready
    for value, expected in ((ready(None), False), (ready(False), False), (ready(), True)):
        assert sources.update(CLUSTER, value)
        assert sources.datastore_ready is expected
    sources.update(CLUSTER, Invalid(CLUSTER.path, CLUSTER, (Reason("", "bad"),)))
    assert not sources.datastore_ready


def test_other_kinds_are_not_taken() -> None:
    sources, _ = running()
    assert not sources.update(ResourceKey("Tier", "default"), Tier())


def test_what_changes_nothing_needs_no_restart() -> None:
    _, watch = running()
    watch.update(CLUSTER, ready())
    watch.update(DEFAULT, configuration(interfacePrefix="tap", nonsense=1))
    watch.update(ResourceKey("Node", "compute-10"), Node(metadata=Metadata(name="compute-10")))
    watch.update(ResourceKey("FelixConfiguration", "node.other"), configuration("node.other"))
    assert watch.reason_to_restart() == ""


def test_what_is_absorbed_needs_no_restart() -> None:
    _, watch = running()
    watch.update(CLUSTER, ready(cluster_type="openstack,bgp", calico_version="v3"))
    watch.update(DEFAULT, configuration(healthTimeoutOverrides=[{"name": "X", "timeout": "5s"}]))
    assert watch.reason_to_restart() == ""
    assert watch.settings.cluster_type == "openstack,bgp"


def test_changed_parameter_is_named_once() -> None:
    _, watch = running()
    watch.update(DEFAULT, configuration(defaultEndpointToHostAction="Accept"))
    assert "DefaultEndpointToHostAction" in watch.reason_to_restart()
    assert watch.reason_to_restart() == ""


def test_parameter_of_this_host_alone_counts() -> None:
    _, watch = running()
    key = ResourceKey("FelixConfiguration", "node.compute-1")
    watch.update(key, configuration("node.compute-1", metadataPort=9000))
    assert "MetadataPort" in watch.reason_to_restart()
    watch.update(key, None)
    assert watch.reason_to_restart() == ""


def test_datastore_that_is_no_longer_ready() -> None:
    _, watch = running()
    watch.update(CLUSTER, None)
    assert "ready" in watch.reason_to_restart()


def test_configuration_that_became_unusable() -> None:
    _, watch = running()
    watch.update(DEFAULT, configuration(metadataPort=-1))
    assert "unusable" in watch.reason_to_restart()


@pytest.mark.parametrize("name", ["default", "node.compute-1"])
def test_a_configuration_that_cannot_be_read_is_not_taken_for_none(name: str) -> None:
    sources, watch = running()
    key = ResourceKey("FelixConfiguration", name)
    watch.update(key, Invalid(key.path, key, (Reason("", "JSON is malformed"),)))
    # What runs goes on with its settings; what starts refuses to.
    assert watch.reason_to_restart() == ""
    (error,) = sources.resolution().errors
    assert str(error) == f"FelixConfiguration {name} cannot be read: JSON is malformed"
    watch.update(key, configuration(name, metadataPort=9000))
    assert "MetadataPort" in watch.reason_to_restart()
    assert sources.resolution().errors == ()


@pytest.mark.parametrize("name", ["node.compute-2", "racks"])
def test_a_configuration_for_others_that_cannot_be_read_is_theirs(name: str) -> None:
    sources, _ = running()
    key = ResourceKey("FelixConfiguration", name)
    sources.update(key, Invalid(key.path, key, (Reason("", "JSON is malformed"),)))
    assert sources.resolution().errors == ()


def test_parameters_count_even_if_labels_are_wrong() -> None:
    sources, _ = running()
    wrong = (Reason("metadata.labels", "is wrong"),)
    for key, value in (
        (DEFAULT, configuration(healthPort=9000)),
        (
            ResourceKey("FelixConfiguration", "racks"),
            configuration("racks", nodeSelector="has(a)", metadataPort=9001),
        ),
        (ResourceKey("Node", "compute-1"), Node(metadata=Metadata(labels={"a": "b"}))),
    ):
        sources.update(key, Invalid(key.path, key, wrong, value))
    settings = sources.resolution().settings
    assert (settings.health_port, settings.metadata_port) == (9000, 9001)


def test_derived_settings() -> None:
    sources, _ = running()
    sources.update(DEFAULT, configuration(routeRefreshInterval="0s", interfaceRefreshInterval="5m"))
    settings = sources.resolution().settings
    assert derivation.audit_interval(settings) == 90
    assert derivation.render_settings(settings).interface_prefixes == ("tap",)
    assert derivation.route_ownership(settings).is_workload("tap1234")
    assert not derivation.route_ownership(settings).is_workload("eth0")
    assert derivation.reporting_settings(settings).endpoints
    sources.update(DEFAULT, configuration(reportingInterval="0s"))
    silent = derivation.reporting_settings(sources.resolution().settings)
    assert (silent.interval, silent.endpoints) == (0, False)


def test_derived_translations_and_log_limits() -> None:
    sources, _ = running()
    settings = derivation.render_settings(sources.resolution().settings)
    assert (settings.floating_ips, settings.log_rate, settings.nat_ports) == (False, None, None)
    wanted = configuration(
        floatingIPs="Enabled",
        logActionRateLimit="30/minute",
        logActionRateLimitBurst=7,
        natOutgoingAddress="192.0.2.9",
        natOutgoingExclusions="IPPoolsAndHostIPs",
        natPortRange="1024:2000",
        iptablesNATOutgoingInterfaceFilter="eth+",
        externalNodesList=["203.0.113.0/24"],
    )
    sources.update(DEFAULT, wanted)
    settings = derivation.render_settings(sources.resolution().settings)
    assert settings.floating_ips
    assert (settings.log_rate, settings.log_burst) == ((30, 60), 7)
    assert str(settings.nat_outgoing_address) == "192.0.2.9"
    assert settings.nat_excludes_hosts
    assert settings.nat_ports == (1024, 2000)
    assert settings.nat_outgoing_interface == "eth+"
    assert [str(each) for each in settings.external_nodes] == ["203.0.113.0/24"]
