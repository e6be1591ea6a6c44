"""The extra DHCP options of a port, as Neutron's users give them. Pure.

The endpoint's annotation holds a JSON list of objects with ``name``, ``value`` and ``ipVersion``.
A name is dnsmasq's or a number; ``tag:ipxe,`` or ``tag:!ipxe,`` before it says that the option is,
or is not, for clients that are iPXE (``ipxe6`` in DHCPv6), as with Neutron's own agent. Every value
is taken apart and checked, so that nothing of it can be taken for syntax in dnsmasq's files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from calico_openstack.datamodel.invalid import UNREADABLE, quoted
from calico_openstack.datamodel.openstack import DHCP_OPTIONS_ANNOTATION
from calico_openstack.dhcp.model import ExtraOption, Problem
from calico_openstack.dhcp.option_codes import look_up
from calico_openstack.dhcp.option_values import read_value

_FIELD: Final = f"metadata.annotations[{DHCP_OPTIONS_ANNOTATION}]"
_NAME: Final = re.compile(r"(?:tag:(!?[A-Za-z0-9]+),)?([A-Za-z0-9+-]+)")
_TAGS: Final = {4: ("ipxe", "!ipxe"), 6: ("ipxe6", "!ipxe6")}
# Without value, these keep the subnet's out: router and the routes.
_MAY_BE_EMPTY: Final = (3, 121, 249)


class _Given(msgspec.Struct, frozen=True):
    name: str
    value: str
    version: int = msgspec.field(name="ipVersion", default=4)


def read_options(
    key: str, annotations: Mapping[str, str]
) -> tuple[tuple[ExtraOption, ...], tuple[Problem, ...]]:
    """Return a port's options, in their order, and what is wrong with others."""
    text = annotations.get(DHCP_OPTIONS_ANNOTATION, "")
    if not text:
        return (), ()
    try:
        given = msgspec.json.decode(text, type=list[Any])
    except UNREADABLE as error:
        return (), (Problem(key, _FIELD, f"cannot be read: {error}"),)
    options, problems = [], []
    for number, item in enumerate(given):
        try:
            options.append(_read(msgspec.convert(item, _Given)))
        except ValueError as error:
            problems.append(Problem(key, f"{_FIELD}[{number}]", str(error)))
    return tuple(options), tuple(problems)


def _read(given: _Given) -> ExtraOption:
    """Return an option; raises ValueError with the reason for one that is refused."""
    if given.version not in _TAGS:
        raise ValueError(f"ipVersion {given.version} is neither 4 nor 6")
    match = _NAME.fullmatch(given.name)
    if match is None:
        raise ValueError(f"{quoted(given.name)} is no option's name")
    tag = match[1] or ""
    try:
        if tag and tag not in _TAGS[given.version]:
            known = " and ".join(_TAGS[given.version])
            raise ValueError(f"clients are told apart by {known} only")
        code, kind = look_up(given.version, match[2])
        if not given.value and given.version == 4 and code in _MAY_BE_EMPTY:
            return ExtraOption(given.version, code, (), tag=tag)
        value = read_value(kind, given.value, given.version)
    except ValueError as error:
        raise ValueError(f"{quoted(given.name)}: {error}") from error
    return ExtraOption(given.version, code, value.items, is_text=value.is_text, tag=tag)
