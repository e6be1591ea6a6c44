"""What can be looked at inside of a running Felix, and why each entry is there.

All tables are made in the core loop, of one moment. Kernel state is what Felix last knew of it,
which the kernel's notifications keep current, except for routes, which the kernel is asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from msgspec import Struct

from calico_openstack import __version__
from calico_openstack.agent.introspection.protocol import Row, Table, Tables
from calico_openstack.datamodel import ResourceKey
from calico_openstack.felix.calc import HostState
from calico_openstack.felix.calc.ipsets import key_address
from calico_openstack.felix.config import PARAMETERS, FelixSettings
from calico_openstack.felix.feature_tables import features
from calico_openstack.felix.flow_tables import established_flows
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.foreign_chains import foreign_chains
from calico_openstack.felix.kernel_tables import condition, programming, routes, way
from calico_openstack.felix.packet_tables import dropped, followed
from calico_openstack.felix.probes import probed
from calico_openstack.felix.render import names
from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.felix.render.nft import Chain
from calico_openstack.felix.render.nft import Table as NftTable
from calico_openstack.felix.render.nft_text import rule_text
from calico_openstack.felix.render.renderer import TABLES
from calico_openstack.felix.traffic import traffic
from calico_openstack.policy.addresses import unpack_address
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Tiers

PROGRAM: Final = "calico-felix"
# Without the first two nothing is forwarded; the next two tell whether conntrack has room left.
_SWITCHES: Final = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
)
_SECRETS: Final = ("password", "secret", "token")


class Insides(Struct, frozen=True):
    """What the tables are made from: parts of the agent that live as long as it does.

    *awaits* tells whether the instance of an endpoint is yet to arrive here by live migration.
    """

    host: str
    state: HostState
    desired: DesiredDataplane
    dataplane: Dataplane
    invalid: Mapping[str, str]
    settings: Callable[[], FelixSettings]
    awaits: Callable[[ResourceKey], bool]
    queues: Callable[[], Mapping[str, int]]
    activity: Callable[[], Mapping[str, float]]


def tables_of(inside: Insides) -> Tables:
    """Return the tables of an agent."""
    return {
        "endpoints": Table("this host's endpoints and their policies", _always(inside, _all)),
        "policies": Table("policies and profiles in use here", _always(inside, _policies)),
        "sets": Table("what rules select, and how many addresses that is", _always(inside, _sets)),
        "members": Table(
            "in which sets an address is, or what is in a set (say which)",
            lambda match: _members(inside, match),
            searches=True,
        ),
        "chains": Table(
            "nftables chains, and whether the kernel has them", _always(inside, _chains)
        ),
        "rules": Table("the rules of the chains", _always(inside, _rules)),
        "routes": Table(
            "routes to endpoints", lambda _match: routes(inside.desired, inside.dataplane)
        ),
        "neighbours": Table("permanent neighbour entries", _always(inside, _neighbours)),
        "translations": Table("floating IPs", _always(inside, _translations)),
        "queueing": Table("bandwidth limits", _always(inside, _shaping)),
        "programming": Table(
            "what the kernel has for an endpoint (say which by interface, address or port)",
            lambda match: programming(
                inside.state, inside.desired, inside.dataplane, inside.awaits, match
            ),
            searches=True,
        ),
        "way": Table(
            "which way the kernel sends packets (say the destination)",
            way(inside.dataplane),
            searches=True,
        ),
        "host": Table("this host and this process", _always(inside, _host)),
        "audits": Table("what was not as wanted, and repaired", _always(inside, _audits)),
        "flows": Table(
            "established flows of addresses (say which, with commas between them)",
            established_flows,
            searches=True,
            apart=True,
        ),
        "features": Table(
            "what the kernel can do, and whether it is used here", features(inside.desired)
        ),
        "foreign": Table("base chains of others, which may drop what is allowed", _foreign),
        "problems": Table("what cannot be used or programmed", _always(inside, _problems)),
        "drops": Table(
            "packets that are dropped while this is asked",
            dropped(inside.state, inside.settings().interface_prefixes),
        ),
        "trace": Table(
            "rules that packets meet (say sources, destinations, protocol and port by numbers)",
            followed(inside.state, inside.desired),
            searches=True,
        ),
        "probe": Table(
            "what became of a packet sent as an instance would (see calicoctl trace)",
            probed(inside.state, inside.dataplane),
            searches=True,
        ),
        "queues": Table("what waits", _always(inside, _queues)),
        "activity": Table("what was done since the start", _always(inside, _activity)),
        "traffic": Table("what instances sent and got", traffic(inside.state)),
        "parameters": Table("Felix's parameters", _always(inside, _parameters)),
    }


def _always(
    inside: Insides, rows: Callable[[Insides], Iterable[Row]]
) -> Callable[[str], Iterable[Row]]:
    """Return what makes the rows of a table that needs no argument."""
    return lambda _match: rows(inside)


def _all(inside: Insides) -> Iterator[Row]:
    for key, endpoint in inside.state.endpoints.items():
        status, why = condition(
            inside.dataplane.status(endpoint.interface), awaited=inside.awaits(key)
        )
        yield {
            "interface": endpoint.interface,
            "status": status,
            "addresses": ",".join(str(unpack_address(each)) for each in endpoint.addresses),
            "ingress": _tiers(endpoint.policy.tiers, Direction.INGRESS),
            "egress": _tiers(endpoint.policy.tiers, Direction.EGRESS),
            "profiles": ",".join(each.name for each in endpoint.policy.profiles),
            "why": why,
            "endpoint": f"{key.namespace}/{key.name}",
        }
    for key, reason in inside.state.problems.items():
        yield {
            "interface": "",
            "status": "refused",
            "addresses": "",
            "ingress": "",
            "egress": "",
            "profiles": "",
            "why": reason,
            "endpoint": f"{key.namespace}/{key.name}",
        }


def _tiers(tiers: Tiers, direction: Direction) -> str:
    parts = []
    for tier in tiers:
        if policies := tier.policies(direction):
            listed = ",".join(names.block_id(each) for each in policies)
            parts.append(f"{tier.name}[{listed}] then {tier.default.value}")
    return "; ".join(parts)


def _policies(inside: Insides) -> Iterator[Row]:
    users: dict[object, list[str]] = {}
    for endpoint in inside.state.endpoints.values():
        for block in endpoint.policy.blocks():
            users.setdefault(block, []).append(endpoint.interface)
    for host_endpoint in inside.state.host_endpoints.values():
        for block in host_endpoint.policy.blocks():
            users.setdefault(block, []).append(host_endpoint.key.name)
    for key, rules in inside.state.blocks.items():
        yield {
            "policy": names.block_id(key),
            "tier": rules.tier,
            "ingress": str(len(rules.ingress)),
            "egress": str(len(rules.egress)),
            "applied to": ",".join(users.get(key, ())),
        }


def _sets(inside: Insides) -> Iterator[Row]:
    for uid, each in inside.state.sets.items():
        port = f" port {each.named.name}" if each.named else ""
        yield {
            "set": names.address_set(uid, 4),
            "addresses": str(len(each.counts)),
            "ranges": str(len(each.ranges)),
            "selects": f"{each.selector.canonical}{port}",
        }


def _members(inside: Insides, match: str) -> Iterator[Row]:
    if not match:
        return
    for uid, each in inside.state.sets.items():
        set_name = names.address_set(uid, 4)
        whole = match in (set_name, uid)
        for member in each.counts:
            address = str(unpack_address(key_address(member)))
            if whole or address == match:
                yield {"set": set_name, "member": address, "selects": each.selector.canonical}
        for span in each.ranges:
            first, last = unpack_address(span.first), unpack_address(span.last)
            if whole or _within(match, span.first, span.last):
                yield {
                    "set": set_name,
                    "member": f"{first}-{last}",
                    "selects": each.selector.canonical,
                }


def _within(text: str, first: bytes, last: bytes) -> bool:
    try:
        packed = ip_address(text).packed
    except ValueError:
        return False
    return len(packed) == len(first) and first <= packed <= last


def _chains(inside: Insides) -> Iterator[Row]:
    for table, state in inside.desired.ruleset.items():
        for name, chain in state.chains.items():
            yield {
                "table": f"{table.family.value} {table.name}",
                "chain": name,
                "rules": str(len(chain.rules)),
                "hook": chain.hook.hook if chain.hook else "",
                "kernel": _in_kernel(inside, table, name, chain),
            }


def _in_kernel(inside: Insides, table: NftTable, name: str, chain: Chain) -> str:
    image = inside.dataplane.nft.images.get(table)
    present = image.chains.get(name) if image else None
    if present is None:
        return "missing"
    return "same" if present.hashes == chain.rule_hashes(name) else "differs"


def _rules(inside: Insides) -> Iterator[Row]:
    for table, state in inside.desired.ruleset.items():
        for name, chain in state.chains.items():
            for index, rule in enumerate(chain.rules):
                yield {
                    "table": f"{table.family.value} {table.name}",
                    "chain": name,
                    "rule": str(index),
                    "text": rule_text(rule),
                    "because of": rule.comment,
                }


def _neighbours(inside: Insides) -> Iterator[Row]:
    for key, mac in inside.desired.neighbours.items():
        yield {"interface": key.interface, "address": str(key.address), "mac": mac.hex(":")}


def _translations(inside: Insides) -> Iterator[Row]:
    for external, internal in inside.desired.translations.items():
        yield {"floating": str(external), "to": str(internal)}


def _shaping(inside: Insides) -> Iterator[Row]:
    for interface, shaping in inside.desired.shaping.items():
        yield {"interface": interface, "limits": str(shaping)}


def _audits(inside: Insides) -> Iterator[Row]:
    audits = inside.dataplane.audits
    ago = "" if audits.at is None else f"{time.monotonic() - audits.at:.0f}"
    yield {"what": "seconds since the last audit", "value": ago}
    yield {"what": "repaired by the last audit", "value": str(audits.repaired)}
    yield {"what": "repaired by all audits", "value": str(audits.repaired_in_all)}
    yield {"what": "owed to the kernel", "value": "yes" if inside.dataplane.needs_apply else "no"}


def _problems(inside: Insides) -> Iterator[Row]:
    for key, reason in inside.state.problems.items():
        yield {"kind": "refused endpoint", "what": f"{key.namespace}/{key.name}", "why": reason}
    for path, reason in inside.invalid.items():
        yield {"kind": "unusable object", "what": path, "why": reason}
    for failure in inside.dataplane.failures:
        yield {"kind": "refused by the kernel", "what": "", "why": failure}


def _host(inside: Insides) -> Iterator[Row]:
    yield {"what": "name", "value": inside.host}
    yield {"what": "version", "value": __version__}
    yield {"what": "kernel", "value": os.uname().release}
    yield {"what": "time", "value": f"{time.time():.3f}"}
    for name in _SWITCHES:
        try:
            value = Path("/proc/sys", name).read_text(encoding="ascii").strip()
        except OSError as error:
            value = f"cannot be read: {error.strerror}"
        yield {"what": name, "value": value}


def _foreign(_match: str) -> Iterator[Row]:
    for chain in foreign_chains(TABLES):
        policy = "drop" if chain.drops else "accept"
        yield {
            "table": f"{chain.family} {chain.table}",
            "chain": chain.chain,
            "hook": chain.hook,
            "policy": policy,
            "rules": str(chain.uses),
        }


def _queues(inside: Insides) -> Iterator[Row]:
    for name, length in inside.queues().items():
        yield {"queue": name, "waiting": str(length)}


def _activity(inside: Insides) -> Iterator[Row]:
    for name, value in inside.activity().items():
        yield {"what": name, "value": f"{value:.6f}" if "seconds" in name else f"{value:.0f}"}


def _parameters(inside: Insides) -> Iterator[Row]:
    settings = inside.settings()
    for attribute, declared in PARAMETERS.items():
        if not any(secret in attribute for secret in _SECRETS):
            yield {"parameter": declared.name, "value": str(getattr(settings, attribute))}
