"""Kernel parameters: those of workload interfaces and the host's own, written below /proc/sys.

The files below /proc/sys/net belong to the network namespace of the thread that opens them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from msgspec import Struct

from calico_openstack.felix.render.dataplane import InterfaceSettings

PROC_SYS = Path("/proc/sys")
_LONGEST_VALUE = 256
_DEFAULT_RP_FILTER = "net/ipv4/conf/default/rp_filter"


class OnFailure(Enum):
    """What it means when a parameter cannot be set (specification section 3.12)."""

    IGNORE_MISSING = "ignored where the kernel has no such parameter"
    WARN = "reported only"
    FAIL = "the interface is not configured"


class Setting(Struct, frozen=True):
    """A parameter's path below /proc/sys and its value."""

    path: str
    value: str
    on_failure: OnFailure


class SettingFailure(Struct, frozen=True):
    """A parameter that could not be set; *fatal* when the interface cannot work without it."""

    path: str
    reason: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def interface_settings(name: str, wanted: InterfaceSettings, rp_filter: str) -> Iterator[Setting]:
    """Yield the parameters of the workload interface *name*, in the order of the specification."""
    yield Setting(f"net/ipv6/conf/{name}/accept_ra", "0", OnFailure.IGNORE_MISSING)
    if wanted.ipv4:
        ipv4 = f"net/ipv4/conf/{name}"
        # Lets metadata requests be translated to the host's loopback.
        yield Setting(f"{ipv4}/route_localnet", "1", OnFailure.FAIL)
        # Answer for every address at once: the workload's gateway is wherever we are.
        yield Setting(f"net/ipv4/neigh/{name}/proxy_delay", "0", OnFailure.WARN)
        yield Setting(f"{ipv4}/proxy_arp", "1", OnFailure.FAIL)
        yield Setting(f"{ipv4}/forwarding", "1", OnFailure.FAIL)
        yield Setting(f"{ipv4}/rp_filter", rp_filter, OnFailure.FAIL)
    if wanted.ipv6:
        ipv6 = f"net/ipv6/conf/{name}"
        yield Setting(f"{ipv6}/proxy_ndp", "1", OnFailure.FAIL)
        yield Setting(f"{ipv6}/forwarding", "1", OnFailure.FAIL)


class SysctlDriver:
    """Sets parameters that differ. ``writes`` counts the values written."""

    def __init__(self, root: Path = PROC_SYS) -> None:
        self.writes = 0
        self._root = root

    def set_interface(self, name: str, wanted: InterfaceSettings) -> list[SettingFailure]:
        """Set the parameters of the workload interface *name*; return what could not be set."""
        if "/" in name or name in ("", ".", ".."):
            return [SettingFailure(name, "not an interface name", fatal=True)]
        settings = interface_settings(name, wanted, self.rp_filter(wanted))
        return [failure for setting in settings if (failure := self._set(setting))]

    def set_global(self, path: str, value: str) -> SettingFailure | None:
        """Set the parameter *path*, below /proc/sys, of the host; return why it could not be."""
        return self._set(Setting(path, value, OnFailure.FAIL))

    def rp_filter(self, wanted: InterfaceSettings) -> str:
        """Return the reverse path filter for an interface: the host's default, off if spoofing."""
        return "0" if wanted.spoofing else self._default_rp_filter()

    def _default_rp_filter(self) -> str:
        # Asked for every endpoint, as are the files below: plain system calls.
        try:
            descriptor = os.open(f"{self._root}/{_DEFAULT_RP_FILTER}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return "1"
        try:
            return os.read(descriptor, _LONGEST_VALUE).decode().strip()
        except OSError:
            return "1"
        finally:
            os.close(descriptor)

    def _set(self, setting: Setting) -> SettingFailure | None:
        try:
            self._write_if_different(setting)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            if missing and setting.on_failure is OnFailure.IGNORE_MISSING:
                return None
            reason = error.strerror or str(error)
            return SettingFailure(setting.path, reason, setting.on_failure is OnFailure.FAIL)
        return None

    def _write_if_different(self, setting: Setting) -> None:
        descriptor = os.open(f"{self._root}/{setting.path}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.read(descriptor, _LONGEST_VALUE).split() != setting.value.encode().split():
                # The kernel takes a value at the beginning of the file only.
                os.pwrite(descriptor, setting.value.encode(), 0)
                self.writes += 1
        finally:
            os.close(descriptor)
