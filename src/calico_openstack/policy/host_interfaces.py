"""Which host endpoint governs which of a host's interfaces (specification section 3.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.endpoints import HostEndpoint, HostEndpointSpec
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Resource
from calico_openstack.policy import usable
from calico_openstack.policy.addresses import pack_address

EVERY_INTERFACE: Final = "*"
"""What a host endpoint names that governs all interfaces for which there is no other one."""


class InterfaceSelection(Struct, frozen=True):
    """The interfaces that workloads have are not the host's own; nor are the excluded ones.

    *workload_prefixes* are beginnings of names, *excluded* are names, or regular expressions
    between slashes.
    """

    workload_prefixes: tuple[str, ...] = ("tap",)
    excluded: tuple[str, ...] = ()

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Return those of *names* that host endpoints can govern."""
        exact = {each for each in self.excluded if not _is_pattern(each)}
        patterns = [re.compile(each[1:-1]) for each in self.excluded if _is_pattern(each)]
        return [
            name
            for name in names
            if not name.startswith(self.workload_prefixes)
            and name not in exact
            and not any(pattern.search(name) for pattern in patterns)
        ]


def governors(
    endpoints: Mapping[ResourceKey, HostEndpointSpec],
    interfaces: Mapping[str, frozenset[bytes]],
) -> dict[str, ResourceKey]:
    """Return the host endpoint of each interface, and under `EVERY_INTERFACE` that of the others.

    *endpoints* are those of this host, *interfaces* its own with their addresses. The lowest name
    wins. An interface that is not in the result has none of its own.
    """
    ordered = sorted(endpoints, key=lambda key: key.name)
    found = {}
    for interface, addresses in interfaces.items():
        for key in ordered:
            spec = endpoints[key]
            if spec.interface_name == interface or (
                not spec.interface_name and not addresses.isdisjoint(expected_addresses(spec))
            ):
                found[interface] = key
                break
    for key in ordered:
        if endpoints[key].interface_name == EVERY_INTERFACE:
            found[EVERY_INTERFACE] = key
            break
    return found


def expected_addresses(spec: HostEndpointSpec) -> tuple[bytes, ...]:
    """Return the addresses that a host endpoint lists, without those that are none."""
    found = []
    for text in spec.expected_ips:
        try:
            found.append(pack_address(text))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found))


def enforced(value: Resource | Invalid | None) -> HostEndpoint | None:
    """Return the host endpoint to enforce for what is stored, None for none.

    One that cannot be used counts as one without labels and profiles: what policies for such
    endpoints and the ports that are always open do not let through is closed. It is in no set.
    """
    found = usable.host_endpoint(value)
    if found is not None:
        return found
    if isinstance(value, Invalid) and isinstance(value.resource, HostEndpoint):
        spec = value.resource.spec
        return HostEndpoint(
            spec=HostEndpointSpec(
                node=spec.node, interface_name=spec.interface_name, expected_ips=spec.expected_ips
            )
        )
    return None


def _is_pattern(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "/"
