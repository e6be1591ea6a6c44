"""Removing what an upstream Felix has left on this host (specification section 4.5).

Its tables of nftables mode have our names and are replaced; what it made through iptables, in
either variant, or ipset lies elsewhere and would go on to filter. Its tunnels lead nowhere: there
is no encapsulation here. Other people's rules and interfaces stay.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import ChainAttribute, NftMessage
from calico_openstack.felix.render.nft import Family
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NetlinkSocket,
    attributes,
    string,
)

_CHAIN: Final = re.compile(r"(?:cali|califw|calitw|califh|calith|calipi|calipo|felix)-")
# The mark of upstream's rules in chains that are not its own.
_COMMENT: Final = re.compile(r'--comment "?cali:')
_TARGET: Final = re.compile(r"(?:-j|-g|--jump|--goto) (\S+)")
_IP_SET: Final = re.compile(r"felix-|cali")
_TUNNELS: Final = ("vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali")
_TABLES: Final = frozenset({"filter", "nat", "mangle", "raw"})
# The variants by command prefix, with the file that names the tables in use.
_LEGACY: Final = {
    "iptables-legacy": Path("/proc/net/ip_tables_names"),
    "ip6tables-legacy": Path("/proc/net/ip6_tables_names"),
}
_NFT: Final = {
    nft.FAMILY_NUMBER[Family.IP]: "iptables-nft",
    nft.FAMILY_NUMBER[Family.IP6]: "ip6tables-nft",
}
_TIMEOUT: Final = 30.0


def removal(saved: str) -> str:
    """Return what iptables-restore(8) needs to remove upstream's rules and chains.

    *saved* is the output of iptables-save(8); the result is empty if there are none. It is to be
    applied with ``--noflush``.
    """
    parts = [_table_removal(lines) for lines in _tables(saved)]
    return "".join(part for part in parts if part)


def _tables(saved: str) -> Iterator[list[str]]:
    """Yield the lines of each table: its name first, then chains and rules."""
    lines: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = [line]
        elif line == "COMMIT" and lines:
            yield lines
            lines = []
        elif lines and line[:1] in (":", "-", "["):
            lines.append(line)


def _table_removal(lines: Sequence[str]) -> str:
    chains = [name for line in lines if line.startswith(":") and _CHAIN.match(name := _name(line))]
    rules = []
    for line in lines:
        # Counters in front of a rule are no part of it.
        rule = line.partition("] ")[2] if line.startswith("[") else line
        if not rule.startswith("-A ") or _CHAIN.match(rule.split()[1]):
            continue
        target = _TARGET.search(rule)
        if _COMMENT.search(rule) or (target and _CHAIN.match(target[1])):
            rules.append(f"-D {rule.removeprefix('-A ')}")
    if not chains and not rules:
        return ""
    # Declaring a chain empties it; only then nothing refers to the others any more.
    declared = [f":{name} - [0:0]" for name in chains]
    deleted = [f"-X {name}" for name in chains]
    return "\n".join([lines[0], *declared, *rules, *deleted, "COMMIT", ""])


def _name(line: str) -> str:
    return line[1:].split(" ", 1)[0]


def remove_leftovers() -> tuple[list[str], list[str]]:
    """Remove everything; return what was removed, and what is there but could not be.

    Nothing is raised. Looks for traces first, so that a host without any runs no programs.
    """
    removed: list[str] = []
    problems: list[str] = []
    variants = _legacy_variants()
    try:
        variants += _nft_variants()
    except OSError as error:
        problems.append(f"chains in nftables cannot be listed: {error}")
    for variant in variants:
        try:
            if _clean(variant):
                removed.append(f"rules and chains of {variant}")
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"rules and chains of {variant}: {_reason(error)}")
    for name in _ip_sets():
        try:
            _run(["ipset", "destroy", name])
            removed.append(f"IP set {name}")
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"IP set {name}: {_reason(error)}")
    for name in _tunnels():
        try:
            _run(["ip", "link", "delete", name])
            removed.append(f"interface {name}")
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"interface {name}: {_reason(error)}")
    return removed, problems


def _nft_variants() -> list[str]:
    """Return the commands for the families in whose iptables tables upstream's chains are."""
    with_traces = []
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        for family, command in _NFT.items():
            kind = nft.NFNL_SUBSYS_NFTABLES << 8 | NftMessage.GETCHAIN
            chains = (
                attributes(answer.body, nft.NFGENMSG.size)
                for answer in netlink.dump(kind, nft.NFGENMSG.pack(family, 0, 0))
            )
            if any(
                string(chain.get(ChainAttribute.TABLE, b"")) in _TABLES
                and _CHAIN.match(string(chain.get(ChainAttribute.NAME, b"")))
                for chain in chains
            ):
                with_traces.append(command)
    finally:
        netlink.close()
    return with_traces


def _legacy_variants() -> list[str]:
    in_use = []
    for command, names in _LEGACY.items():
        try:
            tables = names.read_text()
        except OSError:
            # The kernel has no such tables.
            continue
        if tables.strip() and shutil.which(f"{command}-save"):
            in_use.append(command)
    return in_use


def _clean(variant: str) -> bool:
    todo = removal(_run([f"{variant}-save"]))
    if todo:
        _run([f"{variant}-restore", "--noflush"], todo)
    return bool(todo)


def _ip_sets() -> list[str]:
    if not shutil.which("ipset"):
        return []
    try:
        names = _run(["ipset", "list", "-name"]).split()
    except (OSError, subprocess.SubprocessError):
        # The kernel has no IP sets, or none may be listed: then there are none of ours either.
        return []
    return [name for name in names if _IP_SET.match(name)]


def _tunnels() -> list[str]:
    """Return the interfaces that upstream makes for encapsulation, as far as they are there."""
    present = {name for _, name in socket.if_nameindex()}
    return [name for name in _TUNNELS if name in present]


def _run(command: Sequence[str], text: str = "") -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=True
    )
    return done.stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).strip().splitlines()[-1]
    return str(error)
