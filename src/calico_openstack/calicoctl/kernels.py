"""What the kernels of the hosts on a packet's way have, asked of the Felix that programs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.calicoctl.asking import PATIENCE, ask_hosts
from calico_openstack.calicoctl.ends import End
from calico_openstack.datamodel import FelixStatusKey, ResourceKey, WorkloadEndpoint
from calico_openstack.etcd import EtcdClient

# Who gives no sign of life is asked too, as signs of life can be turned off, but not for long.
_SHORT_PATIENCE: Final = 1.0
_FELIX: Final = "calico-felix"
_NAMESPACE: Final = "openstack"
_ROWS: Final = 5000


class HostView(Struct, frozen=True, omit_defaults=True):
    """What the kernel of *host* has for an endpoint, and where it sends packets.

    *compared* things were looked at, *faults* are those that are not as they should be. *way* is
    that to the destination, asked of the source's host only. With *unknown* nothing was learned,
    and it says why.
    """

    host: str
    compared: int = 0
    faults: tuple[str, ...] = ()
    way: str = ""
    route: str = ""
    unknown: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.unknown:
            return f"on {self.host}: systemctl status calico-felix; journalctl -u calico-felix"
        if self.faults:
            return (
                f"calicoctl show problems --node {self.host}; then, on {self.host}: journalctl -u "
                "calico-felix, which tells what the kernel refuses"
            )
        return ""


def look(
    client: EtcdClient,
    endpoints: Mapping[ResourceKey, WorkloadEndpoint],
    source: End,
    destination: End,
) -> tuple[HostView, ...]:
    """Ask the hosts of both ends about their kernels, the source's first; raises `EtcdError`."""
    plan: list[tuple[str, str]] = []
    for end in (source, destination):
        if end.endpoint is not None:
            spec = endpoints[end.endpoint].spec
            plan.append((spec.node, spec.interface_name))
    questions = [(host, Question(_FELIX, "programming", tap, _ROWS)) for host, tap in plan]
    if source.endpoint is not None:
        target = destination.floating or destination.address
        if _same_host(plan):
            target = destination.address
        questions.append((plan[0][0], Question(_FELIX, "way", target)))
    keys = [end.endpoint for end in (source, destination) if end.endpoint is not None]
    patient = all(_is_alive(client, key, endpoints[key].spec.node) for key in keys)
    answers = ask_hosts(client, questions, PATIENCE if patient else _SHORT_PATIENCE)
    views = [view_of(host, answer) for (host, _), answer in zip(plan, answers, strict=False)]
    if source.endpoint is not None:
        views[0] = with_way(views[0], answers[-1])
    return tuple(views)


def _same_host(plan: Sequence[tuple[str, str]]) -> bool:
    return len({host for host, _ in plan}) == 1 and len(plan) > 1


def view_of(host: str, answer: Answer) -> HostView:
    """Return what an answer about an endpoint's programming says."""
    if answer.error:
        return HostView(host, unknown=answer.error)
    if not answer.rows:
        return HostView(host, faults=("Felix knows no such endpoint: it has not come from etcd",))
    faults = [f"{row['thing']}: {row['kernel']}" for row in answer.rows if row["kernel"] != "ok"]
    return HostView(host, len(answer.rows), tuple(faults))


def with_way(view: HostView, answer: Answer) -> HostView:
    """Return a view with the kernel's way to the destination; that there is none is a fault."""
    if view.unknown or answer.error or not answer.rows:
        return view
    row = answer.rows[0]
    way, faults = row["way"], view.faults
    if not row["interface"] or way.startswith(("blackhole", "unreachable", "prohibit")):
        faults = (*faults, f"no route to {row['destination']} ({way})")
    return HostView(view.host, view.compared + 1, faults, way, row["route"])


def _is_alive(client: EtcdClient, endpoint: ResourceKey, host: str) -> bool:
    region = endpoint.namespace.removeprefix(_NAMESPACE).removeprefix("-") or "no-region"
    return client.get(FelixStatusKey(region, host).path) is not None
