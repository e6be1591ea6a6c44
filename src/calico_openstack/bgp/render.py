"""The text of BIRD's configuration for one host. Pure.

``render`` is a function of its arguments: the same state gives the same text to the byte. What is
put into the text is typed (addresses, numbers) or checked here against the characters that BIRD's
grammar allows at that place, for BIRD's strings know no escapes.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import jinja2

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.filters_in_use import functions_in_use
from calico_openstack.bgp.host_section import by_family, host_context
from calico_openstack.bgp.origination import aggregated
from calico_openstack.bgp.peering import close_untrusted, sessions_of, skip_missing_filters
from calico_openstack.bgp.session import Session
from calico_openstack.bgp.settings import SecretRef, secret_ref, settings_of
from calico_openstack.bgp.stanza import AGGREGATES, HostOptions, session_context
from calico_openstack.bgp.state import BgpState, Problem
from calico_openstack.datamodel.addresses import Address, Network

# The kernel's limit for TCP MD5 keys (TCP_MD5SIG_MAXKEYLEN).
MAX_PASSWORD_BYTES: Final = 80


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration, the sessions in it, and what had to be left out of it.

    ``peering_addresses`` are those at which workloads look for this host. ``may_have_none``: it is
    no mistake if there are no sessions in it.
    """

    text: str
    router_id: str
    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    secrets: frozenset[SecretRef] = field(default=frozenset())
    draining: bool = False
    peering_addresses: tuple[Address, ...] = ()
    may_have_none: bool = False


def render(
    state: BgpState,
    host: str,
    passwords: Mapping[SecretRef, str],
    options: HostOptions,
    excluded: Mapping[str, str] | None = None,
    *,
    isolated: Container[Family] = (),
) -> Rendered:
    """Return the configuration of *host*.

    *passwords* are those that are available; the result names all that are wanted. *excluded*
    names protocols and functions that BIRD does not accept, with the reasons. In families in which
    the host is *isolated* from the others it announces no aggregates, for it could not deliver.
    Raises RefusedError where the state allows no dependable configuration.
    """
    excluded = excluded or {}
    settings, problems = settings_of(state, host, options.version)
    sessions, peer_problems = sessions_of(state, settings)
    usable = {ref: text for ref, text in passwords.items() if not password_fault(text)}
    if options.like_kubernetes:
        sessions = skip_missing_filters(sessions, state)
    else:
        sessions = close_untrusted(sessions, state, usable)
    functions, sessions, filter_problems = functions_in_use(sessions, state, excluded)
    sessions = tuple(
        replace(s, disabled=f"BIRD refuses it: {excluded[s.name]}") if s.name in excluded else s
        for s in sessions
    )
    problems += (*peer_problems, *filter_problems, *state.problems())
    if settings.speaker is None:
        problems += (Problem(f"Node {host}", "", "no Node with a BGP address for this host"),)
    if options.version.shortcomings:
        problems += (Problem(f"BIRD {options.version}", "", options.version.shortcomings),)
    aggregates = _aggregates(sessions, state, isolated)
    context = host_context(state, settings, options, sessions)
    context |= {
        "filter_functions": functions,
        "aggregate_protocol": AGGREGATES,
        "aggregates": by_family(
            network for some in aggregates.values() for nets in some.values() for network in nets
        ),
        "sessions": [
            session_context(
                session,
                settings,
                usable,
                state,
                options,
                aggregates=aggregates.get(session.name, {}),
            )
            for session in sessions
            if session.name not in excluded
        ],
    }
    return Rendered(
        text=environment().get_template("bird.conf.j2").render(context),
        router_id=context["router_id"],
        sessions=sessions,
        problems=tuple(sorted(set(problems))),
        secrets=frozenset(s.password for s in sessions if s.password is not None),
        draining=settings.draining,
        peering_addresses=settings.peering_addresses if context["with_workloads"] else (),
        may_have_none=settings.may_have_none or (host in state.nodes and not settings.addresses),
    )


def render_without_sessions(host: str, options: HostOptions) -> Rendered:
    """Return the configuration of a host about which nothing is known yet: no BGP at all."""
    return render(BgpState(), host, {}, options)


def secrets_of(state: BgpState) -> frozenset[SecretRef]:
    """Return every password that some session of the state may want."""
    passwords = [peer.spec.password for peer in state.peers.values()]
    cluster = state.configurations.get("default")
    if cluster is not None:
        passwords.append(cluster.spec.node_mesh_password)
    return frozenset(filter(None, map(secret_ref, passwords)))


def password_fault(text: str) -> str:
    """Return why a password cannot be used, empty if it can."""
    if not text:
        return "is empty"
    if '"' in text or not text.isprintable():
        return "has a double quote or a control character"
    if len(text.encode()) > MAX_PASSWORD_BYTES:
        return f"is longer than {MAX_PASSWORD_BYTES} bytes"
    return ""


def _aggregates(
    sessions: Iterable[Session], state: BgpState, isolated: Container[Family]
) -> dict[str, dict[Family, tuple[Network, ...]]]:
    """Return what each session announces in place of workloads, by its name."""
    return {
        session.name: {
            family: aggregated(session.extras.aggregates, state.subnets.values(), family)
            for family in session.families
            if family not in isolated
        }
        for session in sessions
        if not session.disabled
    }


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates of this package."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("calico_openstack.bgp"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The text is no markup, and what goes into it is checked by render.py.
        autoescape=False,
    )
