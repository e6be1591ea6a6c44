"""The metadata service's address, 169.254.169.254, which leads to a service on the host.

A service on a loopback address, which is usual, is reached by writing into packets: into requests
before connections are tracked, into answers after that, so that everybody else on the host sees
plain connections to the service. Connection tracking's own translation would cost every flow of
the host its first packet, whether it is translated or not. It remains for other addresses of the
service: workloads may ask these directly as well, and answers do not tell which of the two it was.

IPv4 only, as the address is.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import port_is, protocol_is
from calico_openstack.felix.render.nft import (
    ACCEPT,
    RETURN,
    Chain,
    Compare,
    DestinationNat,
    Expression,
    Field,
    Hook,
    InSet,
    NatKind,
    RewriteTcp,
    Rule,
    Verdict,
    VerdictKind,
)
from calico_openstack.felix.render.settings import RenderSettings

_TCP, _PORT = 6, 80
_ADDRESS = IPv4Address("169.254.169.254").packed
_ASKED: tuple[Expression, ...] = (
    protocol_is(_TCP),
    Compare(Field.IP_DADDR, _ADDRESS),
    port_is(Field.TH_DPORT, _PORT),
)
# Behind the host's own filters, which see the service's address as without workloads.
_AFTER_ALL = Hook("filter", "output", 300)


def is_rewritten(version: int, settings: RenderSettings) -> bool:
    """Tell whether the service is reached by writing into packets."""
    return _service(version, settings) is not None and bool(
        settings.metadata_address and settings.metadata_address.is_loopback
    )


def translation(version: int, settings: RenderSettings) -> tuple[Rule, ...]:
    """Return the rules that have connection tracking translate the address."""
    service = _service(version, settings)
    if service is None or is_rewritten(version, settings):
        return ()
    return (Rule((*_ASKED, DestinationNat(*service)), "metadata"),)


def elsewhere(version: int, settings: RenderSettings) -> tuple[Expression, ...]:
    """Return the match of what certainly needs not be rewritten."""
    if not is_rewritten(version, settings):
        return ()
    return (Compare(Field.IP_DADDR, _ADDRESS, invert=True),)


def admitted(version: int, settings: RenderSettings) -> Verdict:
    """Return what becomes of packets with a source that is their workload's own."""
    if is_rewritten(version, settings):
        return Verdict(VerdictKind.GOTO, names.METADATA)
    return RETURN


def requests(version: int, settings: RenderSettings, source: Field) -> tuple[Rule, ...]:
    """Return the rules that admit, among what is not *elsewhere*, the workloads' own packets."""
    if not is_rewritten(version, settings):
        return ()
    known = InSet((Field.IIF, source), names.WORKLOAD_SOURCES)
    here = Compare(Field.IP_DADDR, _ADDRESS)
    return (Rule((here, known, admitted(version, settings))),)


def chains(version: int, settings: RenderSettings) -> dict[str, Chain]:
    """Return the chains that write into requests and into answers."""
    service = _service(version, settings)
    if service is None or not is_rewritten(version, settings):
        return {}
    to_service = RewriteTcp(NatKind.DESTINATION, *service)
    from_service = RewriteTcp(NatKind.SOURCE, _ADDRESS, _PORT)
    answers = (
        Compare(Field.IP_SADDR, service[0]),
        protocol_is(_TCP),
        port_is(Field.TH_SPORT, service[1]),
    )
    return {
        names.METADATA: Chain((Rule((*_ASKED, to_service, ACCEPT), "metadata"),)),
        names.METADATA_OUTPUT: Chain(
            tuple(
                Rule(
                    (
                        *answers,
                        Compare(Field.OIFNAME, prefix.encode(), prefix=True),
                        from_service,
                        ACCEPT,
                    ),
                    "metadata",
                )
                for prefix in settings.interface_prefixes
            ),
            _AFTER_ALL,
        ),
    }


def _service(version: int, settings: RenderSettings) -> tuple[bytes, int] | None:
    if version != 4 or not settings.openstack or not settings.metadata_address:
        return None
    return settings.metadata_address.packed, settings.metadata_port
