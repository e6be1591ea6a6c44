"""What the agents of one host say about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from calico_openstack.agent.introspection.protocol import Answer, Question, Row
from calico_openstack.calicoctl.doctor.findings import Finding, critical, warning

_FELIX, _BGP, _DHCP = "calico-felix", "calico-bgp-agent", "calico-dhcp-agent"
_MOST: Final = 5000
# Skews of seconds spoil logs and signs of life, minutes certificates and leases.
_SKEW: Final = 2.0  # seconds
_LARGE_SKEW: Final = 30.0
_CONNTRACK_NEARLY_FULL: Final = 0.8
_LONG_QUEUE: Final = 1000
_SHOWN: Final = 3


class Asked(NamedTuple):
    """A question under the name by which its answer is looked at."""

    name: str
    question: Question


QUESTIONS: Final = (
    Asked("host", Question(_FELIX, "host")),
    Asked("foreign", Question(_FELIX, "foreign")),
    Asked("features", Question(_FELIX, "features")),
    Asked("audits", Question(_FELIX, "audits")),
    Asked("problems", Question(_FELIX, "problems")),
    Asked("down", Question(_FELIX, "endpoints", "down", _MOST)),
    Asked("missing", Question(_FELIX, "chains", "missing", _MOST)),
    Asked("differs", Question(_FELIX, "chains", "differs", _MOST)),
    Asked("routes", Question(_FELIX, "routes", "", _MOST)),
    Asked("queues", Question(_FELIX, "queues")),
    Asked("peers", Question(_BGP, "peers", "", _MOST)),
    Asked("bgp problems", Question(_BGP, "problems")),
    Asked("processes", Question(_DHCP, "processes", "", _MOST)),
    Asked("dhcp problems", Question(_DHCP, "problems")),
)


class HostAnswers(Struct, frozen=True):
    """The answers of a host by name, and our own time (seconds since 1970) when they came."""

    host: str
    answers: Mapping[str, Answer]
    time: float = 0.0

    def rows(self, name: str) -> Sequence[Row]:
        """Return the rows of an answer; none if there is none."""
        found = self.answers.get(name)
        return found.rows if found else ()


def judge(found: HostAnswers) -> Iterator[Finding]:
    """Yield what is wrong with a host whose Felix should answer."""
    felix = found.answers.get("host", Answer(error="was not asked"))
    if felix.error:
        yield warning(
            found.host,
            f"calico-felix does not answer questions: {felix.error}",
            f"on {found.host}: systemctl status calico-felix. With etcd's authentication on, it "
            "needs to read and write /calico/introspection/v1/",
        )
        return
    yield from _system(found)
    yield from _features(found)
    yield from _foreign(found)
    yield from _kernel(found)
    yield from _drift(found)
    yield from _endpoints(found)
    yield from _bgp(found)
    yield from _dhcp(found)


def _system(found: HostAnswers) -> Iterator[Finding]:
    facts = {row["what"]: row["value"] for row in found.rows("host")}
    host = found.host
    skew = _number(facts.get("time", ""), found.time) - found.time
    if abs(skew) > _SKEW:
        tell = critical if abs(skew) > _LARGE_SKEW else warning
        remedy = f"on {host}: chronyc tracking, or whatever keeps its time"
        yield tell(host, f"its clock differs from this host's by {skew:+.1f} s", remedy)
    for name, what in (
        ("net/ipv4/ip_forward", "IPv4"),
        ("net/ipv6/conf/all/forwarding", "IPv6"),
    ):
        if facts.get(name) == "0":
            remedy = f"on {host}: sysctl -w {name.replace('/', '.')}=1, and see who turns it off"
            yield critical(host, f"forwarding of {what} is off", remedy)
    count = _number(facts.get("net/netfilter/nf_conntrack_count", ""), 0)
    most = _number(facts.get("net/netfilter/nf_conntrack_max", ""), 0)
    if most and count > most * _CONNTRACK_NEARLY_FULL:
        tell = critical if count >= most else warning
        remedy = f"on {host}: sysctl -w net.netfilter.nf_conntrack_max={int(most) * 2}"
        text = f"its table of connections is nearly full: {count:g} of {most:g}"
        yield tell(host, text, remedy)
    for row in found.rows("queues"):
        if _number(row["waiting"], 0) > _LONG_QUEUE:
            remedy = f"on {host}: see the load, and journalctl -u calico-felix"
            yield warning(host, f"{row['waiting']} {row['queue']} wait", remedy)


def _features(found: HostAnswers) -> Iterator[Finding]:
    """Yield what the kernel cannot do; what nobody here uses will be missed some day."""
    host = found.host
    for row in found.rows("features"):
        if row["kernel"] == "ok" or row["used"] == "optional":
            continue
        used = row["used"] == "yes"
        modules = row["modules"].replace(",", " ")
        yield (critical if used else warning)(
            host,
            f"its kernel lacks {row['feature']} ({row['kernel']}), needed for {row['for']}"
            + ("" if used else "; not used there now"),
            f"on {host}: modprobe -a {modules}; calicoctl node checksystem. Modules of a minimal "
            "kernel may be in a package of their own (linux-modules-extra)",
        )


def _drift(found: HostAnswers) -> Iterator[Finding]:
    """Yield what audits of the kernel have found: somebody else changes what is Felix's."""
    host = found.host
    facts = {row["what"]: row["value"] for row in found.rows("audits")}
    repaired = _number(facts.get("repaired by the last audit", ""), 0)
    if repaired:
        ago = facts.get("seconds since the last audit", "")
        yield warning(
            host,
            f"its kernel had drifted: the last audit, {ago} s ago, repaired {repaired:g} thing(s)",
            f"see who changes them, on {host}: nft monitor; ip monitor; journalctl -u calico-felix",
        )


def _foreign(found: HostAnswers) -> Iterator[Finding]:
    host = found.host
    for row in found.rows("foreign"):
        table, chain = row["table"], row["chain"]
        what = f"chain {chain} of table {table}, which is not Calico's,"
        if row["policy"] == "drop" and row["hook"] in ("forward", "prerouting", "postrouting"):
            tool = {"ip": "iptables", "ip6": "ip6tables"}.get(table.partition(" ")[0])
            change = f"{tool} -P {chain} ACCEPT" if tool else f"nft list chain {table} {chain}"
            text = f"{what} drops what it does not allow (hook {row['hook']})"
            yield critical(host, text, f"on {host}: {change}; see who sets it (Docker?)")
        elif row["hook"] == "forward" and _number(row["rules"], 0):
            remedy = f"on {host}: nft list chain {table} {chain}; nothing to do if all is allowed"
            yield warning(host, f"{what} has rules for forwarding", remedy)


def _kernel(found: HostAnswers) -> Iterator[Finding]:
    host = found.host
    for row in found.rows("problems"):
        if row["kind"] == "refused by the kernel":
            remedy = f"on {host}: journalctl -u calico-felix; calicoctl node checksystem"
            yield critical(host, f"its kernel refuses: {row['why']}", remedy)
        elif row["kind"] == "refused endpoint":
            remedy = "correct the endpoint in Neutron; calico-resync writes it anew"
            yield critical(host, f"endpoint {row['what']} is not served: {row['why']}", remedy)
    wrong = [row["chain"] for name in ("missing", "differs") for row in found.rows(name)]
    if wrong:
        yield critical(
            host,
            f"{len(wrong)} chain(s) in its kernel are not as they should be: {_some(wrong)}",
            f"on {host}: systemctl restart calico-felix mends them; see who changes them: "
            "nft monitor",
        )
    absent = {row["interface"] for row in found.rows("down")}
    lost = [
        f"{row['destination']} (leads to {row['kernel']})"
        for row in found.rows("routes")
        if row["kernel"] != "same" and row["interface"] not in absent
    ]
    if lost:
        remedy = f"calicoctl show routes --node {host}; on it: ip monitor route"
        yield critical(host, f"{len(lost)} route(s) to instances are wrong: {_some(lost)}", remedy)


def _endpoints(found: HostAnswers) -> Iterator[Finding]:
    for row in found.rows("down"):
        if row["status"] != "down":
            continue
        instance = row["endpoint"].rpartition("/")[2]
        yield warning(
            found.host,
            f"the port of {row['interface']}, with {row['addresses']}, is down: {row['why']}",
            "openstack server list --long --all-projects: does the instance run on "
            f"{found.host}? If not, its port's binding is stale (endpoint {instance})",
        )


def _bgp(found: HostAnswers) -> Iterator[Finding]:
    host = found.host
    peers = found.answers.get("peers", Answer())
    if peers.error:
        remedy = f"on {host}: systemctl status calico-bgp-agent"
        yield critical(host, f"no routes are announced: {peers.error}", remedy)
        return
    for row in peers.rows:
        if row["state"] not in ("Established", "disabled"):
            error = f", last error: {row['last error']}" if row["last error"] else ""
            yield critical(
                host,
                f"BGP session to {row['peer']} ({row['because of']}) is {row['state']}{error}",
                f"on {host}: ping {row['peer']}; is TCP port 179 open, and is the other side "
                f"configured for AS and address of {host}?",
            )
    for row in found.rows("bgp problems"):
        yield warning(host, f"BGP: {row['what']}: {row['why']}", "calicoctl get bgppeers -o yaml")


def _dhcp(found: HostAnswers) -> Iterator[Finding]:
    host = found.host
    processes = found.answers.get("processes", Answer())
    if processes.error:
        remedy = f"on {host}: systemctl status calico-dhcp-agent"
        yield critical(host, f"instances get no addresses: {processes.error}", remedy)
        return
    for row in processes.rows:
        if not row["process"].isdigit():
            remedy = f"on {host}: journalctl -u calico-dhcp-agent"
            text = f"dnsmasq ({row['role']}) of network {row['network']} does not run"
            yield critical(host, text, remedy)
    for row in found.rows("dhcp problems"):
        remedy = f"on {host}: journalctl -u calico-dhcp-agent; then correct it in Neutron"
        yield warning(host, f"DHCP: {row['problem']}", remedy)


def _some(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _number(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default
