"""How a parameter is declared, and the names that are accepted without any effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from calico_openstack.felix.config.kinds import Kind

T = TypeVar("T")

_KEY: Final = "parameter"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of Felix.

    ``name`` is that of the file and the environment, ``spec_field`` that of the datastore (None:
    none). A ``local`` one is not taken from the datastore. A bad value of a ``fatal`` one makes
    the whole configuration unusable; of others, the default is used. ``none`` stands for the zero
    value of the kind, which a ``nonzero`` one may not have. A change of an ``absorbed`` one takes
    effect without a restart.
    """

    name: str
    spec_field: str | None
    kind: Kind[Any]
    default: Any
    local: bool
    fatal: bool
    nonzero: bool
    absorbed: bool


def parameter(
    name: str,
    spec_field: str | None,
    kind: Kind[T],
    default: T,
    *,
    local: bool = False,
    fatal: bool = False,
    nonzero: bool = False,
    absorbed: bool = False,
    secret: bool = False,
) -> T:
    """Declare a field of the settings as a parameter; see ``Parameter`` for the arguments.

    A ``secret`` one is left out of the settings' representation, which ends up in logs.
    """
    declared = Parameter(name, spec_field, kind, default, local, fatal, nonzero, absorbed)
    declaration: T = field(default=default, repr=not secret, metadata={_KEY: declared})
    return declaration


def parameters_of(settings: type[Any]) -> dict[str, Parameter]:
    """Return the parameters that a class of settings declares, by attribute."""
    return {
        attribute: declared.metadata[_KEY]
        for attribute, declared in settings.__dataclass_fields__.items()
        if _KEY in declared.metadata
    }


WITHOUT_EFFECT: Final = frozenset(
    name.lower()
    for name in (
        # For iptables, for Kubernetes or for the BPF data plane.
        *("BPFEnabled", "CgroupV2Path", "ChainInsertMode", "DataplaneDriver"),
        *("IptablesBackend", "IptablesFilterAllowAction", "IptablesFilterDenyAction"),
        *("IptablesLockFilePath", "IptablesLockProbeIntervalMillis", "IptablesLockTimeoutSecs"),
        *("IptablesMangleAllowAction", "IptablesMarkMask", "IptablesPostWriteCheckIntervalSecs"),
        *("IptablesRefreshInterval", "IstioAmbientMode", "IstioDSCPMark", "KubeNodePortRanges"),
        *("MaxIpsetSize", "PolicySyncPathPrefix", "RouteTableRange", "ServiceLoopPrevention"),
        *("SidecarAccelerationEnabled", "XDPEnabled", "GenericXDPEnabled", "XDPRefreshInterval"),
        # About upstream's language, flow logs and debugging.
        *("FeatureDetectOverride", "FeatureGates", "GoGCThreshold", "GoMaxProcs"),
        *("GoMemoryLimitMB", "FlowLogsFlushInterval", "FlowLogsCollectorDebugTrace"),
        *("FlowLogsGoldmaneServer", "FlowLogsLocalReporter", "FlowLogsPolicyEvaluationMode"),
        *("DebugPort", "DebugHost", "DebugMemoryProfilePath", "DebugDisableLogDropping"),
        *("PrometheusGoMetricsEnabled", "PrometheusWireGuardMetricsEnabled"),
        # Nothing is reported to anybody.
        *("UsageReportingEnabled", "UsageReportingInitialDelaySecs"),
        "UsageReportingIntervalSecs",
        *("WireguardEnabled", "WireguardEnabledV6", "WireguardListeningPort"),
        *("WireguardListeningPortV6", "WireguardInterfaceName", "WireguardInterfaceNameV6"),
        *("WireguardMTU", "WireguardMTUV6", "WireguardRoutingRulePriority"),
        *("WireguardHostEncryptionEnabled", "WireguardPersistentKeepAlive"),
        "WireguardThreadingEnabled",
    )
)
"""Names of upstream's parameters, in lower case, that are accepted and change nothing here."""
