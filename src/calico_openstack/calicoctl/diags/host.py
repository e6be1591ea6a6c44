"""What this host's programs and files say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from calico_openstack.calicoctl.diags.archive import Archive

_TIMEOUT: Final = 20.0  # seconds for each program
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST: Final = 16 << 20
_SETTINGS: Final = (".cfg", ".conf", ".ini", ".d", ".json", ".yaml", ".yml", ".service")
_UNITS: Final = (
    "calico-felix",
    "calico-bgp-agent",
    "calico-dhcp-agent",
    "neutron-server",
    "nova-compute",
)


class Inquiry(NamedTuple):
    """A program whose output goes into the file *name*."""

    name: str
    words: tuple[str, ...]


def inquiries(bird_socket: str, since: float) -> Iterator[Inquiry]:
    """Yield what to ask this host's programs; names as upstream has them where it has some.

    The journal is asked for the last *since* seconds.
    """
    for name, line in (
        ("date", "date --utc --iso-8601=seconds"),
        ("hostname", "hostname"),
        ("kernel", "uname -a"),
        ("ipv4_route", "ip -4 route show table all"),
        ("ipv6_route", "ip -6 route show table all"),
        ("ipv4_rules", "ip -4 rule"),
        ("ipv6_rules", "ip -6 rule"),
        ("ipv4_addr", "ip -4 addr"),
        ("ipv6_addr", "ip -6 addr"),
        ("links", "ip -d -s link"),
        ("neighbours", "ip neigh"),
        ("queueing", "tc -s qdisc"),
        ("nft_ruleset", "nft list ruleset"),
        ("ipv4_tables", "iptables-save"),
        ("ipv6_tables", "ip6tables-save"),
        ("ipsets", "ipset list"),
        ("sockets", "ss -tunap"),
        ("sysctl", r"sysctl -a --pattern ^net\.(ipv[46]\.(ip_forward|conf|neigh)|netfilter)"),
        ("conntrack_count", "conntrack -C"),
        ("conntrack_statistics", "conntrack -S"),
        ("modules", "lsmod"),
        ("processes", "ps -eo pid,ppid,user,lstart,pcpu,rss,comm"),
        ("clock", "chronyc tracking"),
        ("version_nft", "nft --version"),
        ("version_ip", "ip -V"),
        ("version_bird", "bird --version"),
        ("version_dnsmasq", "dnsmasq --version"),
        ("bird_status", f"birdc -s {bird_socket} show status"),
        ("bird_protocols", f"birdc -s {bird_socket} show protocols all"),
        ("bird_routes", f"birdc -s {bird_socket} show route all"),
    ):
        yield Inquiry(name, tuple(line.split(" ")))
    units = (word for unit in _UNITS for word in ("-u", unit))
    yield Inquiry(
        "journal", ("journalctl", "--no-pager", f"--since=-{since:.0f}s", "-n", "20000", *units)
    )


def collect_output(archive: Archive, asked: Iterator[Inquiry]) -> None:
    """Add what programs say; of one that fails, why."""
    for inquiry in asked:
        archive.report(f"asking {' '.join(inquiry.words[:4])}")
        archive.add(f"diagnostics/{inquiry.name}", output_of(inquiry.words))


def output_of(words: Sequence[str]) -> str:
    """Return what a program says, or why it says nothing."""
    command = " ".join(words)
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    except FileNotFoundError:
        return f"# {command}\n# {words[0]} is not installed\n"
    except subprocess.TimeoutExpired:
        return f"# {command}\n# no end within {_TIMEOUT:g} s\n"
    except OSError as error:
        return f"# {command}\n# {error.strerror}\n"
    text = done.stdout.decode(errors="replace")
    status = f"# exit status {done.returncode}\n" if done.returncode else ""
    return f"# {command}\n{status}{text}"


def collect_files(archive: Archive, places: Sequence[Path], folder: str, *, any_name: bool) -> None:
    """Add files, and those in directories; unless *any_name*, only what is named as settings are.

    A directory of secrets therefore stays out. Symbolic links are followed to files only.
    """
    for place in places:
        for file in _files(place):
            if not any_name and file.suffix not in _SETTINGS:
                continue
            archive.report(f"reading {file}")
            archive.add(f"{folder}/{str(file).lstrip('/')}", _end_of(file))


def recent_files(place: Path, since: float, most: int) -> list[Path]:
    """Return the files below *place* that were written to since a time, the newest *most*.

    Times are in seconds since 1970.
    """
    found = []
    for file in _files(place):
        try:
            found.append((file.stat().st_mtime, file))
        except OSError:
            continue
    recent = sorted(((time, file) for time, file in found if time >= since), reverse=True)
    return [file for _, file in recent[:most]]


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        for folder, _, names in os.walk(place):
            if "secret" not in folder:
                yield from (
                    file for name in sorted(names) if (file := Path(folder, name)).is_file()
                )


def _end_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _LARGEST))
            return stream.read(_LARGEST).decode(errors="replace")
    except OSError as error:
        return f"# cannot be read: {error.strerror}\n"
