"""Floating addresses: external addresses that lead to an address of an endpoint of this host."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostState, LocalEndpoint
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.policy.addresses import ip_version, pack_address, unpack_address

_OPENSTACK = "openstack"


class FloatingTarget(Struct, frozen=True):
    """Where an external address leads to: a packed internal address, and whose it is."""

    internal: bytes
    endpoint: ResourceKey


class FloatingAddresses:
    """Keeps the ``targets`` of external addresses in step with the endpoints of this host.

    If several internal addresses claim an external one, the lowest wins, compared as text
    (specification section 3.16); if several endpoints have that, the one with the lowest key.
    Addresses are packed.
    """

    def __init__(self, settings: RenderSettings, state: HostState) -> None:
        self._settings = settings
        self._state = state
        self._claims: dict[bytes, set[FloatingTarget]] = {}
        self._of_endpoint: dict[ResourceKey, frozenset[tuple[bytes, bytes]]] = {}
        self._externals: dict[bytes, set[bytes]] = {}
        self.targets: dict[bytes, FloatingTarget] = {}

    def apply(self, keys: Iterable[ResourceKey]) -> frozenset[bytes]:
        """Bring endpoints up to date; return the external addresses that lead elsewhere now."""
        touched: set[bytes] = set()
        for key in keys:
            before = self._of_endpoint.pop(key, frozenset())
            after = self._pairs(self._state.endpoints.get(key))
            if after:
                self._of_endpoint[key] = after
            for external, internal in before - after:
                self._claims[external].discard(FloatingTarget(internal, key))
                touched.add(external)
            for external, internal in after - before:
                self._claims.setdefault(external, set()).add(FloatingTarget(internal, key))
                touched.add(external)
        return frozenset(external for external in touched if self._decide(external))

    def lowest_external(self, internal: bytes) -> bytes | None:
        """Return the external address under which an internal one shows itself to itself."""
        return min(self._externals.get(internal, ()), key=_as_text, default=None)

    def externals_of(self, key: ResourceKey) -> set[bytes]:
        """Return the external addresses that an endpoint claims."""
        return {external for external, _ in self._of_endpoint.get(key, ())}

    def leading_to(self, key: ResourceKey) -> list[bytes]:
        """Return the external addresses that lead to an endpoint, sorted."""
        return sorted(
            external
            for external, internal in self._of_endpoint.get(key, ())
            if self.targets[external] == FloatingTarget(internal, key)
        )

    def claimants(self, externals: Iterable[bytes]) -> set[ResourceKey]:
        """Return the endpoints that claim any of some external addresses."""
        return {
            claim.endpoint for external in externals for claim in self._claims.get(external, ())
        }

    def _pairs(self, endpoint: LocalEndpoint | None) -> frozenset[tuple[bytes, bytes]]:
        if endpoint is None or not endpoint.spec.ip_nats:
            return frozenset()
        if endpoint.spec.orchestrator != _OPENSTACK and not self._settings.floating_ips:
            return frozenset()
        pairs = (
            (pack_address(nat.external_ip), pack_address(nat.internal_ip))
            for nat in endpoint.spec.ip_nats
        )
        return frozenset(
            (external, internal)
            for external, internal in pairs
            if self._settings.ipv6 or ip_version(external) == 4
        )

    def _decide(self, external: bytes) -> bool:
        """Find out who has an external address; tell whether that changed."""
        claims = self._claims[external]
        old = self.targets.pop(external, None)
        new = min(claims, key=_precedence, default=None)
        if new is None:
            del self._claims[external]
        else:
            self.targets[external] = new
        if old and (new is None or new.internal != old.internal):
            self._externals[old.internal].discard(external)
            if not self._externals[old.internal]:
                del self._externals[old.internal]
        if new:
            self._externals.setdefault(new.internal, set()).add(external)
        return old != new


def _as_text(address: bytes) -> str:
    return str(unpack_address(address))


def _precedence(claim: FloatingTarget) -> tuple[str, str]:
    return _as_text(claim.internal), claim.endpoint.path
