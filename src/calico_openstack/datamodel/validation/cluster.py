"""Checks of nodes, pools and facts of the cluster."""

from __future__ import annotations

from typing import Final

from calico_openstack.datamodel.addresses import Network, parse_network
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.configuration import (
    GLOBAL_CONFIGURATION_NAME,
    ClusterInformation,
    FelixConfiguration,
)
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import (
    check_address,
    check_network,
    check_selector,
)

_ENCAPSULATION: Final = frozenset({"", "Never", "Always", "CrossSubnet"})
_USES: Final = frozenset({"Workload", "Tunnel", "LoadBalancer"})
# Shortest and longest prefix of a block.
_BLOCK_SIZES: Final = {4: (20, 32), 6: (116, 128)}
_DEFAULT_BLOCK_SIZE: Final = {4: 26, 6: 122}


def check_node(findings: Findings, node: Node) -> None:
    """Check a node."""
    spec = node.spec
    if spec.bgp is not None:
        _check_node_bgp(findings, spec.bgp)
    check_address(findings, "spec.ipv4VXLANTunnelAddr", spec.ipv4_vxlan_tunnel_addr, version=4)
    check_address(findings, "spec.ipv6VXLANTunnelAddr", spec.ipv6_vxlan_tunnel_addr, version=6)
    if spec.wireguard is not None:
        v4, v6 = spec.wireguard.interface_ipv4_address, spec.wireguard.interface_ipv6_address
        check_address(findings, "spec.wireguard.interfaceIPv4Address", v4, version=4)
        check_address(findings, "spec.wireguard.interfaceIPv6Address", v6, version=6)
    for index, address in enumerate(spec.addresses):
        check_network(findings, f"spec.addresses[{index}].address", address.address)


def _check_node_bgp(findings: Findings, bgp: NodeBgpSpec) -> None:
    if bgp == NodeBgpSpec():
        findings.add("spec.bgp", "is empty; it must say something or be left out")
    if bgp.as_number is not None and as_number(bgp.as_number) is None:
        findings.reject("spec.bgp.asNumber", bgp.as_number, "an AS number (0 to 4294967295)")
    if bgp.ipv4_address:
        check_network(findings, "spec.bgp.ipv4Address", bgp.ipv4_address, version=4)
    if bgp.ipv6_address:
        check_network(findings, "spec.bgp.ipv6Address", bgp.ipv6_address, version=6)
    check_address(findings, "spec.bgp.ipv4IPIPTunnelAddr", bgp.ipv4_ipip_tunnel_addr, version=4)
    cluster_id = bgp.route_reflector_cluster_id
    check_address(findings, "spec.bgp.routeReflectorClusterID", cluster_id, version=4)


def check_ip_pool(findings: Findings, pool: IPPool) -> None:
    """Check an IP pool."""
    spec = pool.spec
    findings.require_one_of("spec.ipipMode", spec.ipip_mode, _ENCAPSULATION)
    findings.require_one_of("spec.vxlanMode", spec.vxlan_mode, _ENCAPSULATION)
    ipip = spec.ipip_mode not in ("", "Never")
    if ipip and spec.vxlan_mode not in ("", "Never"):
        findings.add("spec.ipipMode", "cannot be together with vxlanMode")
    network = check_network(findings, "spec.cidr", spec.cidr, strict=True)
    if network is not None:
        if "/" not in spec.cidr:
            findings.reject("spec.cidr", spec.cidr, "a network with a prefix length")
        local = parse_network("169.254.0.0/16" if network.version == 4 else "fe80::/10")
        if local is not None and network.overlaps(local):
            findings.add("spec.cidr", "overlaps the link-local network")
        if ipip and network.version != 4:
            findings.add("spec.ipipMode", "is for IPv4 only")
        _check_block_size(findings, spec, network)
    check_selector(findings, "spec.nodeSelector", spec.node_selector)
    check_selector(findings, "spec.namespaceSelector", spec.namespace_selector)
    for use in spec.allowed_uses:
        findings.require_one_of("spec.allowedUses", use, _USES)
    mode = spec.assignment_mode or ""
    findings.require_one_of("spec.assignmentMode", mode, ("", "Automatic", "Manual"))


def note_encapsulation(findings: Findings, pool: IPPool) -> None:
    """Note what a pool asks for and does not get: packets travel as they are."""
    for field, mode in (("ipipMode", pool.spec.ipip_mode), ("vxlanMode", pool.spec.vxlan_mode)):
        if mode not in ("", "Never"):
            findings.add(f"spec.{field}", "has no effect: nothing is encapsulated")


def _check_block_size(findings: Findings, spec: IPPoolSpec, network: Network) -> None:
    """Check that blocks have a known size, and that the pool, if it is used, holds one."""
    if spec.block_size:
        shortest, longest = _BLOCK_SIZES[network.version]
        findings.require_within("spec.blockSize", spec.block_size, shortest, longest)
    size = spec.block_size or _DEFAULT_BLOCK_SIZE[network.version]
    if network.prefixlen > size and not spec.disabled:
        findings.add("spec.cidr", f"is smaller than one block (/{size})")


def check_felix_configuration(findings: Findings, configuration: FelixConfiguration) -> None:
    """Check the envelope only: each parameter is judged for itself where it is defined."""
    del findings, configuration


def check_cluster_information(findings: Findings, information: ClusterInformation) -> None:
    """Check the facts of the cluster."""
    if information.metadata.name != GLOBAL_CONFIGURATION_NAME:
        findings.add("metadata.name", f"must be {GLOBAL_CONFIGURATION_NAME!r}")
