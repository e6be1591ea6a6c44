"""``explain``: reads what matters to two ends and tells what becomes of their packets."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import CONFIG, open_client
from calico_openstack.calicoctl.ends import End, candidates, matched, packet_of, trace_of
from calico_openstack.calicoctl.explanation import Explanation, Resources, Stage, explain
from calico_openstack.datamodel import (
    FelixConfiguration,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    HostEndpoint,
    Invalid,
    NetworkPolicy,
    NetworkSet,
    Profile,
    Resource,
    ResourceKey,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
    WorkloadEndpoint,
    decode,
    parse_key,
    prefix_of,
)
from calico_openstack.etcd import EtcdClient
from calico_openstack.etcd.records import KeyValue
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.cluster import Cluster

_KINDS: Final = (
    Tier,
    NetworkPolicy,
    GlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    Profile,
    NetworkSet,
    GlobalNetworkSet,
    HostEndpoint,
)
_MARKS: Final = {True: "allowed", False: "REFUSED", None: "goes on"}


@click.command("explain")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="[PROTO[/PORT]]", default="icmp")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@click.option("--fail-if-refused", is_flag=True, help="Exit with 2 if the packet is refused.")
@CONFIG
def command(
    *,
    source: str,
    destination: str,
    protocol: str,
    form: str,
    fail_if_refused: bool,
    config: str,
) -> None:
    """Tell why packets from SRC to DST get through or not, by what is configured.

    SRC and DST are addresses, floating IPs or networks, or ports, instances and guests by id or
    name. PROTO[/PORT] is for example tcp/443, udp/53, icmp (the default) or a number.
    """
    found = _explained(open_client(config), source, destination, protocol)
    if form == "json":
        click.echo(output.as_json(msgspec.to_builtins(found)))
    elif form == "yaml":
        click.echo(output.as_yaml(msgspec.to_builtins(found)))
    else:
        for line in lines(found):
            click.echo(line)
    if fail_if_refused and not found.allowed:
        sys.exit(2)


def _explained(client: EtcdClient, source: str, destination: str, protocol: str) -> Explanation:
    felix = ResourceKey(FelixConfiguration.KIND, "default")
    stored = client.get(felix.path)
    configuration = decode(stored.key, stored.value) if stored else None
    spoofing = (
        isinstance(configuration, FelixConfiguration)
        and configuration.spec.get("workloadSourceSpoofing") == "Any"
    )
    # A hundred thousand endpoints are read at once and decoded only where they matter.
    stored_endpoints = _stored(client, WorkloadEndpoint)
    named = _decoded(stored_endpoints, [trace_of(source), trace_of(destination)])
    endpoints = Cluster(named, source_spoofing=spoofing).endpoints
    ends = matched(candidates(endpoints, source), candidates(endpoints, destination))
    interfaces = [endpoints[end.endpoint].spec.interface_name for end in ends if end.endpoint]
    addresses = [text for end in ends for text in (end.address, end.floating) if text]
    workloads = _decoded(stored_endpoints, [trace_of(text) for text in (*interfaces, *addresses)])
    others = {k: v for cls in _KINDS for k, v in _decoded(_stored(client, cls)).items()}
    resources = {**others, **_near(workloads, ends)}
    cluster = Cluster(resources, source_spoofing=spoofing)
    return explain(resources, cluster, packet_of(protocol, *ends), *ends)


def _stored(client: EtcdClient, cls: type[Resource]) -> list[KeyValue]:
    return [kv for page in client.iterate_prefix(prefix_of(cls.KIND)) for kv in page.kvs]


def _decoded(
    stored: Iterable[KeyValue], traces: Collection[bytes | None] | None = None
) -> dict[ResourceKey, Resource | Invalid]:
    """Return the resources, only those with one of *traces* in them if all of these are known."""
    wanted = None if traces is None or None in traces else [trace for trace in traces if trace]
    found: dict[ResourceKey, Resource | Invalid] = {}
    for kv in stored:
        if wanted is not None and not any(trace in kv.value for trace in wanted):
            continue
        key, value = parse_key(kv.key), decode(kv.key, kv.value)
        if isinstance(key, ResourceKey) and isinstance(value, Resource | Invalid):
            found[key] = value
    return found


def _near(workloads: Resources, ends: tuple[End, End]) -> Resources:
    """Return the endpoints that matter: selectors are asked about the addresses of the ends only.

    Those that claim the interface of an end matter too, for only one of them has it.
    """
    addresses = {end.packed for end in ends}
    addresses |= {pack_address(end.floating) for end in ends if end.floating}
    own = [workloads[end.endpoint] for end in ends if end.endpoint is not None]
    interfaces = {_interface(value) for value in own}
    return {
        key: value
        for key, value in workloads.items()
        if isinstance(value, WorkloadEndpoint)
        and (
            _interface(value) in interfaces
            or not addresses.isdisjoint(map(pack_address, value.spec.ip_networks))
        )
    }


def _interface(value: Resource | Invalid) -> tuple[str, str] | None:
    if isinstance(value, WorkloadEndpoint):
        return value.spec.node, value.spec.interface_name
    return None


def lines(found: Explanation) -> Iterator[str]:
    """Yield an explanation as text."""
    yield found.packet
    yield f"from {found.ends[0]}"
    yield f"to   {found.ends[1]}"
    yield from (f"note: {note}" for note in found.notes)
    for number, stage in enumerate(found.stages, 1):
        yield ""
        yield f"{number}. {stage.host}: {stage.place} ({stage.direction}): {_MARKS[stage.allowed]}"
        yield f"   {stage.words}"
        if stage.policy and stage.security_group:
            yield f"   {stage.policy}"
    yield ""
    refusals: list[Stage] = [stage for stage in found.stages if stage.allowed is False]
    if not refusals:
        yield "The packet gets through, and so do the answers to it."
        return
    yield "The packet does NOT get through. To let it pass:"
    yield from (f"  {stage.remedy}" for stage in refusals if stage.remedy)
