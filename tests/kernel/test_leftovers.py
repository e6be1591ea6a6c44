"""Removing what an upstream Felix in iptables mode left, and nothing else."""

from __future__ import annotations

import shutil

import pytest

from calico_openstack.felix.kernel.leftovers import removal, remove_leftovers
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

# What upstream makes, between rules of somebody else.
_RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:cali-PREROUTING - [0:0]
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:cali-FORWARD - [0:0]
:cali-from-wl-dispatch - [0:0]
:mine - [0:0]
:calico-is-mine - [0:0]
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A FORWARD -j mine
-A FORWARD -j calico-is-mine
-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -j ACCEPT
-A OUTPUT -g cali-from-wl-dispatch
-A cali-FORWARD -m comment --comment "cali:vjrMJCRpqwy5oRoX" -j cali-from-wl-dispatch
-A cali-from-wl-dispatch -j RETURN
-A mine -m comment --comment "not cali: at all" -j RETURN
COMMIT
"""
VARIANTS = ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy")


def rules(namespace: NetworkNamespace, variant: str) -> list[str]:
    saved = namespace.run(f"{variant}-save").stdout
    return [line for line in saved.splitlines() if line.startswith("-A")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_upstreams_rules_are_removed(namespace: NetworkNamespace, variant: str) -> None:
    if not shutil.which(f"{variant}-restore"):
        pytest.skip(f"{variant} is not installed")
    namespace.run(f"{variant}-restore", stdin=_RULES)
    assert len(rules(namespace, variant)) == 9
    with namespace.entered():
        assert remove_leftovers() == ([f"rules and chains of {variant}"], [])
    assert rules(namespace, variant) == [
        "-A FORWARD -j mine",
        "-A FORWARD -j calico-is-mine",
        '-A mine -m comment --comment "not cali: at all" -j RETURN',
    ]
    saved = namespace.run(f"{variant}-save").stdout
    assert ":mine " in saved
    assert ":cali-" not in saved
    with namespace.entered():
        assert remove_leftovers() == ([], [])


def test_ip_sets(namespace: NetworkNamespace) -> None:
    if not shutil.which("ipset"):
        pytest.skip("ipset is not installed")
    for name in ("cali40s:abc", "felix-4-xyz", "mine"):
        namespace.run("ipset", "create", name, "hash:ip")
    with namespace.entered():
        removed, problems = remove_leftovers()
    assert (len(removed), problems) == (2, [])
    assert namespace.run("ipset", "list", "-name").stdout.split() == ["mine"]


def test_tunnels(namespace: NetworkNamespace) -> None:
    for name in ("vxlan.calico", "wg-v6.cali", "vxlan0"):
        namespace.ip("link", "add", name, "type", "veth", "peer", "name", f"p{name[:9]}")
    with namespace.entered():
        assert remove_leftovers() == (["interface vxlan.calico", "interface wg-v6.cali"], [])
        assert remove_leftovers() == ([], [])
    assert "vxlan0" in namespace.ip("link", "show")


def test_nothing_to_remove() -> None:
    assert removal("") == ""
    assert removal("*filter\n:FORWARD ACCEPT [0:0]\n[1:2] -A FORWARD -j ACCEPT\nCOMMIT\n") == ""


def test_counters_do_not_hide_rules() -> None:
    counted = "*filter\n:FORWARD ACCEPT [0:0]\n[1:2] -A FORWARD -j cali-FORWARD\nCOMMIT\n"
    assert removal(counted) == "*filter\n-D FORWARD -j cali-FORWARD\nCOMMIT\n"
