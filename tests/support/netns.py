"""Network namespaces for tests: made, entered, swept.

A namespace is named ``t<pid>-<label>``, after the process that made it, so that what a killed test
run left behind is recognised and removed by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: creates network namespaces and programs the kernel"
)

NETNS_DIRECTORY = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_OWN_NAME = re.compile(r"t(\d+)-")
_counter = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int) -> None:
    """setns(2) for the calling thread; Python has it from 3.12 on only."""
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


@contextlib.contextmanager
def entered(path: Path | str) -> Iterator[None]:
    """Move the calling thread into the network namespace at *path* for the ``with`` block.

    Sockets opened inside stay in that namespace for ever. ``/proc/sys/net`` is the one of the
    thread that opens a file below it; ``/proc/net`` is the one of the process's first thread, so
    read ``/proc/thread-self/net`` instead.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


class NetworkNamespace:
    """A named network namespace with its loopback up; a context manager that removes it."""

    def __init__(self, label: str = "ns") -> None:
        self.name = f"t{os.getpid()}-{label}-{next(_counter)}"
        self.path = NETNS_DIRECTORY / self.name
        _ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def __enter__(self) -> NetworkNamespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()

    def delete(self) -> None:
        """Remove the namespace's name; it vanishes when nothing uses it any more."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Move the calling thread into this namespace for the ``with`` block."""
        return entered(self.path)

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` with *arguments* inside; return its output, raise with its error text."""
        return _ip("-n", self.name, *arguments)

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* inside and wait for it; with *check* a failure raises with its output."""
        result = subprocess.run(
            self.command(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"{command} in {self.name}: exit {result.returncode}\n"
                f"{result.stdout}{result.stderr}"
            )
        return result

    def popen(
        self, *command: str, stdout: int | IO[Any] = subprocess.DEVNULL, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start *command* inside and return at once; the caller ends it."""
        return subprocess.Popen(self.command(command), stdout=stdout, **options)

    def command(self, command: Sequence[str]) -> list[str]:
        """Return *command* prefixed so that it runs inside (the process id stays the same)."""
        return ["ip", "netns", "exec", self.name, *command]

    def write_sysctl(self, name: str, value: str) -> None:
        """Write *value* to the sysctl *name*, path form (``net/ipv4/ip_forward``)."""
        with self.entered():
            (Path("/proc/sys") / name).write_text(value)

    def read_sysctl(self, name: str) -> str:
        """Return the sysctl *name*, path form, without its line end."""
        with self.entered():
            return (Path("/proc/sys") / name).read_text().strip()


def veth(
    left: NetworkNamespace,
    left_name: str,
    right: NetworkNamespace,
    right_name: str,
    *,
    left_mac: str | None = None,
    right_mac: str | None = None,
    up: bool = True,
) -> None:
    """Connect two namespaces by a veth pair, optionally with fixed MACs, both ends up."""
    # Addresses are given at creation: set later, IPv6 link-local ones would keep the old MAC.
    left_address = ["address", left_mac] if left_mac else []
    right_address = ["address", right_mac] if right_mac else []
    # fmt: off
    left.ip(
        "link", "add", left_name, *left_address, "type", "veth",
        "peer", "name", right_name, *right_address, "netns", right.name,
    )
    # fmt: on
    if up:
        left.ip("link", "set", left_name, "up")
        right.ip("link", "set", right_name, "up")


def sweep_stale() -> list[str]:
    """Remove namespaces of test processes that no longer live; return their names."""
    removed = []
    if NETNS_DIRECTORY.is_dir():
        for entry in NETNS_DIRECTORY.iterdir():
            match = _OWN_NAME.match(entry.name)
            if match and not Path(f"/proc/{match[1]}").exists():
                subprocess.run(["ip", "netns", "del", entry.name], check=False, capture_output=True)
                removed.append(entry.name)
    return removed


def _ip(*arguments: str) -> str:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout
