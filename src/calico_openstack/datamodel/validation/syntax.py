"""Checks of names, labels, selectors and addresses, which many kinds share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from calico_openstack.datamodel.addresses import Network, parse_address, parse_network
from calico_openstack.datamodel.invalid import quoted
from calico_openstack.datamodel.selector import SelectorError, parse
from calico_openstack.datamodel.validation.findings import Findings

MAX_SELECTOR_LENGTH: Final = 1024
MAX_ANNOTATIONS_BYTES: Final = 256 * 1024
MAX_NAME_LENGTH: Final = 253

IDENTIFIER: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
INTERFACE: Final = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
INTERFACE_PATTERN: Final = re.compile(r"[a-zA-Z0-9_.*-]{1,15}")
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9])?")
_DNS_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_MAX_LABEL_KEY: Final = 253 + 1 + 63
_MAX_LABEL_VALUE: Final = 63
# RFC 6335 section 5.1: at least one letter, no dash at either end, no two dashes together.
_SERVICE_NAME: Final = re.compile(
    r"(?=.{1,15}\Z)(?=.*[a-z])(?!.*--)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
)


def check_name(findings: Findings, field: str, name: str) -> None:
    """Check a name of a resource or a reference to one."""
    if not _NAME.fullmatch(name):
        wanted = "a name: letters, digits, '_', '.' and '-', at most 253, alphanumeric at both ends"
        findings.reject(field, name, wanted)


def check_labels(findings: Findings, field: str, labels: Mapping[str, str]) -> None:
    """Check label names and values, which follow the rules of Kubernetes."""
    for name, value in labels.items():
        # Long ones are wrong anyhow and must not fill the cache.
        if len(name) > _MAX_LABEL_KEY or len(value) > _MAX_LABEL_VALUE:
            findings.add(field, f"label {quoted(name)} or its value is too long")
        elif problem := _label_problem(name, value):
            findings.add(field, problem)


@lru_cache(65536)
def _label_problem(name: str, value: str) -> str | None:
    """Return what is wrong with a label, None if nothing is."""
    prefix, slash, last = name.rpartition("/")
    if (slash and not _DNS_SUBDOMAIN.fullmatch(prefix)) or not _LABEL_NAME.fullmatch(last):
        return f"{quoted(name)} is not a label name"
    if value and not _LABEL_NAME.fullmatch(value):
        return f"{quoted(value)} of {quoted(name)} is not a label value"
    return None


def is_annotation_name(name: str) -> bool:
    """Tell whether a text can be the name of an annotation."""
    # Names that are too long must not fill the cache.
    return len(name) <= _MAX_LABEL_KEY and _label_problem(name.lower(), "") is None


def check_annotations(findings: Findings, field: str, annotations: Mapping[str, str]) -> None:
    """Check the names of annotations, and that all together are not too large.

    Their names are those of labels, in whichever case.
    """
    for name in annotations:
        if not is_annotation_name(name):
            findings.add(field, f"{quoted(name)} is not the name of an annotation")
    size = sum(len(name) + len(value) for name, value in annotations.items())
    # UTF-8 needs at most four bytes a character: only what may be too large is counted exactly.
    if size * 4 > MAX_ANNOTATIONS_BYTES:
        size = sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items())
        if size > MAX_ANNOTATIONS_BYTES:
            findings.add(field, f"has {size} bytes; {MAX_ANNOTATIONS_BYTES} may be")


def check_selector(
    findings: Findings,
    field: str,
    text: str,
    *,
    globally: bool = True,
    prefix: str = "",
) -> None:
    """Check that a selector can be read; unless ``globally``, that it is without ``global()``.

    ``prefix`` is what will stand before its labels, which count with it.
    """
    if not text:
        return
    if len(text) > MAX_SELECTOR_LENGTH:
        findings.add(field, f"has {len(text)} characters; {MAX_SELECTOR_LENGTH} may be")
        return
    try:
        selector = parse(text)
        if prefix:
            parse(selector.with_label_prefix(prefix).canonical)
    except SelectorError as error:
        findings.add(field, f"is no selector: {error}")
        return
    if not globally and "global(" in text:
        findings.add(field, "may not use global()")


def check_service_name(findings: Findings, field: str, name: str) -> None:
    """Check the name of a port."""
    if not _SERVICE_NAME.fullmatch(name):
        findings.reject(field, name, "a port name (at most 15 of a-z, 0-9 and '-', a letter)")


def check_address(findings: Findings, field: str, text: str, *, version: int | None = None) -> None:
    """Check that a text, unless empty, is an address, of a family if that is given."""
    if not text:
        return
    address = parse_address(text)
    if address is None or (version is not None and address.version != version):
        findings.reject(field, text, f"an IPv{version} address" if version else "an IP address")


def check_network(
    findings: Findings,
    field: str,
    text: str,
    *,
    version: int | None = None,
    strict: bool = False,
) -> Network | None:
    """Check that a text is a network or an address, and return it if it is."""
    network = parse_network(text, strict=strict)
    if network is None or (version is not None and network.version != version):
        family = f"IPv{version}" if version else "IP"
        masked = " without bits beyond its prefix" if strict and parse_network(text) else ""
        findings.reject(field, text, f"an {family} network{masked}")
        return None
    return network


def check_networks(findings: Findings, field: str, texts: Iterable[str]) -> None:
    """Check that every element of a list is a network or an address."""
    for index, text in enumerate(texts):
        check_network(findings, f"{field}[{index}]", text)
