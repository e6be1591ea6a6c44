"""What an operator would do, as changed resources. Pure.

Rules of security groups are given in the words of the ``openstack`` command, as `explain` advises
them. They come out as Neutron's driver would write them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from calico_openstack.calicoctl.naming import project_title
from calico_openstack.calicoctl.wording import groups_of, rule_words
from calico_openstack.datamodel import (
    EntityRule,
    IcmpMatch,
    Invalid,
    NetworkPolicy,
    Resource,
    ResourceKey,
    Rule,
    WorkloadEndpoint,
    as_read,
)
from calico_openstack.datamodel.openstack import GROUP_LABEL, GROUP_POLICY
from calico_openstack.datamodel.protocols import ICMP, ICMPV6, protocol_number

Resources = Mapping[ResourceKey, Resource | Invalid]
Changed = dict[ResourceKey, Resource | Invalid]

_OPTIONS: Final = frozenset(
    {
        "--ethertype",
        "--protocol",
        "--remote-ip",
        "--remote-group",
        "--dst-port",
        "--icmp-type",
        "--index",
    }
)
_NAMES: Final = {"ipv6-icmp": "icmpv6", "any": ""}
_USAGE: Final = (
    "say it in the words of openstack: security group rule create --ingress --protocol tcp "
    "--dst-port 443 --remote-group WEB GROUP, or security group rule delete with the same words or "
    "with --ingress --index 0 GROUP (the number that 'calicoctl explain' tells)"
)


class ProposalError(ValueError):
    """The change cannot be understood or made; the text says why."""


def applied(
    resources: Resources, changes: Iterable[Resource]
) -> dict[ResourceKey, Resource | Invalid]:
    """Return the resources with *changes* written."""
    written = {
        ResourceKey(each.KIND, each.metadata.name, each.metadata.namespace): as_read(each)
        for each in changes
    }
    return {**resources, **written}


def removed(
    resources: Resources, doomed: Iterable[Resource]
) -> dict[ResourceKey, Resource | Invalid]:
    """Return the resources without *doomed*."""
    keys = {ResourceKey(each.KIND, each.metadata.name, each.metadata.namespace) for each in doomed}
    return {key: value for key, value in resources.items() if key not in keys}


def with_group_rule(resources: Resources, words: Sequence[str]) -> Changed:
    """Return the resources with a rule of a security group created or deleted.

    *words* are those of the openstack command; raises `ProposalError`.
    """
    rest = list(words)
    if rest[:1] == ["openstack"]:
        del rest[0]
    for beginning in (["security", "group", "rule"], ["security-group", "rule"]):
        if rest[: len(beginning)] == beginning:
            rest = rest[len(beginning) :]
            break
    else:
        raise ProposalError(_USAGE)
    verb, options, directions, names = _parsed(rest)
    if verb not in ("create", "delete") or len(names) != 1:
        raise ProposalError(_USAGE)
    direction = "egress" if "--egress" in directions else "ingress"
    key, policy = _policy(resources, names[0])
    rules = policy.spec.egress if direction == "egress" else policy.spec.ingress
    if verb == "delete":
        index = _place(resources, names[0], direction, options, rules)
        rules = rules[:index] + rules[index + 1 :]
    else:
        rules = (*rules, _rule(resources, options, egress=direction == "egress"))
    spec = msgspec.structs.replace(policy.spec, **{direction: rules})
    return {**resources, key: msgspec.structs.replace(policy, spec=spec)}


def _place(
    resources: Resources,
    name: str,
    direction: str,
    options: Mapping[str, str],
    rules: Sequence[Rule],
) -> int:
    """Return which of the rules of a group is meant: by its index, or by its own words."""
    if "--index" in options:
        return _number(options["--index"], "--index", len(rules) - 1)
    said = rule_words(_rule(resources, options, egress=direction == "egress")) if options else ""
    alike = [number for number, rule in enumerate(rules) if rule_words(rule) == said]
    if alike:
        return alike[0]
    endpoints = (each for each in resources.values() if isinstance(each, WorkloadEndpoint))
    groups = (group for each in endpoints for group in groups_of(each.metadata.labels).values())
    titles = {group.id: group.name for group in groups}
    listed = "".join(
        f"\n  --index {number}  {rule_words(rule, titles)}" for number, rule in enumerate(rules)
    )
    raise ProposalError(f"say which {direction} rule of security group {name} is meant:{listed}")


def _parsed(words: Sequence[str]) -> tuple[str, dict[str, str], set[str], list[str]]:
    verb, rest = (words[0], list(words[1:])) if words else ("", [])
    options: dict[str, str] = {}
    directions: set[str] = set()
    names: list[str] = []
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if word in ("--ingress", "--egress"):
            directions.add(word)
        elif word in _OPTIONS:
            if not value and not rest:
                raise ProposalError(f"{word} needs a value; {_USAGE}")
            options[word] = value or rest.pop(0)
        elif word.startswith("-"):
            raise ProposalError(f"{word} is not known here; {_USAGE}")
        else:
            names.append(word)
    return verb, options, directions, names


def group_id(resources: Resources, name: str) -> str:
    """Return the id of a security group by its name or id; raises `ProposalError`."""
    ids = {
        key.name.removeprefix(GROUP_POLICY)
        for key in resources
        if key.kind == NetworkPolicy.KIND and key.name.startswith(GROUP_POLICY)
    }
    if name in ids:
        return name
    found = {
        group.id: value.metadata.labels
        for value in resources.values()
        if isinstance(value, WorkloadEndpoint)
        for group in groups_of(value.metadata.labels).values()
        if group.name == name
    }
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise ProposalError(f"security group '{name}' is no group that a port is in: say its id")
    listed = "".join(
        f"\n  {each}  with ports of project {project_title(labels)}"
        for each, labels in sorted(found.items())
    )
    raise ProposalError(f"security group '{name}' is the name of {len(found)}: say an id{listed}")


def _policy(resources: Resources, name: str) -> tuple[ResourceKey, NetworkPolicy]:
    policy_name = GROUP_POLICY + group_id(resources, name)
    for key, value in resources.items():
        if key.name == policy_name and isinstance(value, NetworkPolicy):
            return key, value
    raise ProposalError(f"security group '{name}' has no policy in etcd: see calicoctl doctor")


def _rule(resources: Resources, options: Mapping[str, str], *, egress: bool) -> Rule:
    version = 6 if options.get("--ethertype", "IPv4").lower() == "ipv6" else 4
    text = options.get("--protocol", "").lower()
    text = _NAMES.get(text, text)
    number = protocol_number(text) if text else None
    if text and number is None:
        raise ProposalError(f"protocol '{text}' is not known")
    if number == ICMP and version == 6:
        number = ICMPV6
    icmp = None
    if "--icmp-type" in options:
        icmp = IcmpMatch(type=_number(options["--icmp-type"], "--icmp-type", 255))
    ports: tuple[int | str, ...] = ()
    if "--dst-port" in options:
        ports = (options["--dst-port"].replace("-", ":"),)
        first, _, last = str(ports[0]).partition(":")
        for part in (first, last or first):
            _number(part, "--dst-port", 65535)
    remote = _remote(resources, options)
    port = EntityRule(ports=ports)
    source = EntityRule() if egress else remote
    destination = msgspec.structs.replace(remote, ports=ports) if egress else port
    return Rule(
        action="Allow",
        ip_version=version,
        protocol={ICMP: "ICMP", ICMPV6: "ICMPv6"}.get(number or 0, number),
        icmp=icmp,
        source=source,
        destination=destination,
    )


def _remote(resources: Resources, options: Mapping[str, str]) -> EntityRule:
    if "--remote-group" in options:
        identifier = group_id(resources, options["--remote-group"])
        return EntityRule(selector=f"has({GROUP_LABEL}{identifier})")
    if "--remote-ip" in options:
        try:
            network = ipaddress.ip_network(options["--remote-ip"], strict=False)
        except ValueError as error:
            raise ProposalError(f"--remote-ip: {error}") from None
        return EntityRule(nets=(str(network),))
    return EntityRule()


def _number(text: str, option: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= highest):
        raise ProposalError(f"{option}: '{text}' is not a number up to {highest}")
    return int(text)
