"""What Felix's configuration says about routes, as far as BGP depends on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.state import BgpState, Problem, RefusedError
from calico_openstack.bgp.version import BirdVersion
from calico_openstack.datamodel.bgp import BGPConfigurationSpec
from calico_openstack.datamodel.configuration import (
    GLOBAL_CONFIGURATION_NAME,
    NODE_CONFIGURATION_PREFIX,
)
from calico_openstack.datamodel.felix_choice import selected_configuration

DEFAULT_INTERFACE_PREFIX: Final = "cali"
# The interfaces of OpenStack's workloads, whatever FelixConfiguration says.
OPENSTACK_INTERFACE_PREFIX: Final = "tap"
# Felix programs routes under its DeviceRouteProtocol, 3 ("boot") unless configured, and 80.
ROUTE_PROTOCOLS: Final = (3, 80)
NORMAL_PRIORITY: Final = 1024
ELEVATED_PRIORITY: Final = 512
# Between the two defaults above, so that BIRD's route never has the metric of one of Felix's.
PREFERRED_KERNEL_METRIC: Final = 600
PER_ROUTE: Final = 0
"""In place of a kernel metric: each route of BIRD's has that of its priority."""

_INTERFACE_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_HIGHEST_PRIORITY: Final = 2**31 - 2


@dataclass(frozen=True, slots=True)
class Priorities:
    """Kernel metrics of one family: of workload routes, of routes during a live migration, and
    the one that BIRD's own routes get."""

    normal: int = NORMAL_PRIORITY
    elevated: int = ELEVATED_PRIORITY
    kernel: int = PREFERRED_KERNEL_METRIC


@dataclass(frozen=True, slots=True)
class FelixView:
    """How to tell Felix's routes: prefixes of their interfaces' names and their routing protocols,
    in order; and their priorities."""

    interface_prefixes: tuple[str, ...]
    route_protocols: tuple[int, ...]
    priorities: Mapping[Family, Priorities]


def felix_view(
    state: BgpState, host: str, bgp: BGPConfigurationSpec, version: BirdVersion
) -> tuple[FelixView, tuple[Problem, ...]]:
    """Return what Felix on *host* does, and what of its configuration had to be left out.

    Raises RefusedError where its priorities leave no metric for BIRD's routes.
    """
    problems: list[Problem] = []
    parameters = _parameters(state, host)
    protocol = _integer(parameters.get("deviceRouteProtocol"), 1, 255)
    protocols = {*ROUTE_PROTOCOLS, *([protocol] if protocol else [])}
    configured: Mapping[Family, int | None] = {
        4: bgp.ipv4_normal_route_priority,
        6: bgp.ipv6_normal_route_priority,
    }
    view = FelixView(
        interface_prefixes=_prefixes(parameters, problems),
        route_protocols=tuple(sorted(protocols)),
        priorities={
            family: _priorities(family, parameters, configured[family], version, problems)
            for family in configured
        },
    )
    return view, tuple(problems)


def _parameters(state: BgpState, host: str) -> dict[str, Any]:
    """Return the members that count on *host*: of the cluster, of the configuration that selects
    it, and of its own, the later over the earlier."""
    chosen, _ = selected_configuration(state.felix.values(), state.nodes.get(host))
    layers = (
        state.felix.get(GLOBAL_CONFIGURATION_NAME),
        chosen,
        state.felix.get(NODE_CONFIGURATION_PREFIX + host),
    )
    parameters: dict[str, Any] = {}
    for resource in layers:
        parameters |= resource.spec if resource else {}
    return parameters


def _prefixes(parameters: Mapping[str, Any], problems: list[Problem]) -> tuple[str, ...]:
    text = parameters.get("interfacePrefix")
    named = text if isinstance(text, str) and text else DEFAULT_INTERFACE_PREFIX
    prefixes = {OPENSTACK_INTERFACE_PREFIX}
    for prefix in named.split(","):
        if _INTERFACE_PREFIX.fullmatch(prefix.strip()):
            prefixes.add(prefix.strip())
        else:
            reason = f"{prefix!r} is no interface prefix; left out"
            problems.append(Problem("FelixConfiguration", "spec.interfacePrefix", reason))
    return tuple(sorted(prefixes))


def _priorities(
    family: Family,
    felix: Mapping[str, Any],
    configured: int | None,
    version: BirdVersion,
    problems: list[Problem],
) -> Priorities:
    member = f"ipv{family}NormalRoutePriority"
    in_felix = _integer(felix.get(member), 1, _HIGHEST_PRIORITY)
    if configured and configured != (in_felix or NORMAL_PRIORITY):
        reason = f"{configured} differs from Felix's {in_felix or NORMAL_PRIORITY}, which counts"
        problems.append(Problem("BGPConfiguration default", f"spec.{member}", reason))
    normal = in_felix or NORMAL_PRIORITY
    elevated = _integer(felix.get(f"ipv{family}ElevatedRoutePriority"), 1, _HIGHEST_PRIORITY)
    elevated = elevated or ELEVATED_PRIORITY
    return Priorities(normal, elevated, _kernel_metric(family, elevated, normal, version))


def _kernel_metric(family: Family, elevated: int, normal: int, version: BirdVersion) -> int:
    """Return a metric strictly between the two, or PER_ROUTE where BIRD can do without one."""
    if elevated < PREFERRED_KERNEL_METRIC < normal:
        return PREFERRED_KERNEL_METRIC
    if normal - elevated >= 2:
        return (elevated + normal) // 2
    if version.safe_route_metric:
        return PER_ROUTE
    raise RefusedError(
        f"FelixConfiguration: no metric is between the elevated IPv{family} route priority "
        f"{elevated} and the normal {normal}; the routes of BIRD {version} need one"
    )


def _integer(value: object, lowest: int, highest: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if lowest <= value <= highest else None
