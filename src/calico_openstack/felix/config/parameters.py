"""How a parameter is declared, and the names that are accepted without any effect."""

from __future__ import annotations

from typing import Any, ClassVar, Final, NoReturn, TypeVar, cast, dataclass_transform

from msgspec import Struct

from calico_openstack.felix.config.kinds import Kind

T = TypeVar("T")


class Parameter(Struct, frozen=True):
    """A parameter of Felix.

    ``name`` is that of the file and the environment, ``spec_field`` that of the datastore (None:
    none). A ``local`` one is not taken from the datastore. A bad value of a ``fatal`` one makes
    the whole configuration unusable; of others, the default is used. ``none`` stands for the zero
    value of the kind, which a ``nonzero`` one may not have. A change of an ``absorbed`` one takes
    effect without a restart. An ``inert`` one is read and judged as upstream's and changes nothing:
    there is no encapsulation here, BIRD programs the routes between hosts, and to accept in one of
    nftables' base chains is the same as to return from it. A ``secret`` one is left out of the
    settings' representation, which ends up in logs.
    """

    name: str
    spec_field: str | None
    kind: Kind[Any]
    default: Any
    local: bool
    fatal: bool
    nonzero: bool
    absorbed: bool
    inert: bool
    secret: bool


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
    inert: bool = False,
    secret: bool = False,
) -> T:
    """Declare a field of the settings as a parameter; see ``Parameter`` for the arguments."""
    flags = (local, fatal, nonzero, absorbed, inert, secret)
    declared = Parameter(name, spec_field, kind, default, *flags)
    return cast(T, declared)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(parameter,))
class ParameterSet:
    """Base of a class whose fields are declared by `parameter`; its objects do not change.

    For its users and for type checkers it makes data classes. Those of the standard library are
    made by compiling code for every field, which for a hundred of them takes longer than Felix
    needs to read its settings.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]]
    """Every parameter by the attribute that holds it."""

    def __init_subclass__(cls) -> None:
        declared = {name: each for name, each in vars(cls).items() if isinstance(each, Parameter)}
        cls.PARAMETERS = declared
        for name, each in declared.items():
            setattr(cls, name, each.default)

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.PARAMETERS.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name}: settings do not change")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.PARAMETERS)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.PARAMETERS))

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name, declared in self.PARAMETERS.items()
            if not declared.secret
        )
        return f"{type(self).__name__}({', '.join(shown)})"


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
