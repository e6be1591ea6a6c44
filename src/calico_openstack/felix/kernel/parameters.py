"""Keeps the kernel's parameters (sysctls) as wanted: the host's and the workload interfaces'.

The kernel tells of a change of forwarding, the reverse path filter and proxying of neighbours,
whoever made it, also ourselves (a write to a file below /proc/sys has no sender). A notification
therefore counts only if it says a value that is not wanted. Of the other parameters the kernel says
nothing; those the audit finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calico_openstack.felix.kernel.interfaces import InterfaceMonitor
from calico_openstack.felix.kernel.sysctls import SettingFailure, SysctlDriver
from calico_openstack.felix.render.dataplane import InterfaceSettings
from calico_openstack.netlink.protocol import Message
from calico_openstack.netlink.rtnetlink import (
    AF_INET,
    AF_INET6,
    NETCONF_ALL,
    Netconf,
    NetconfValue,
    parse_netconf,
)

_GLOBAL_FORWARDING = {AF_INET: "net/ipv4/ip_forward", AF_INET6: "net/ipv6/conf/all/forwarding"}


class ParameterDriver:
    """Sets what differs; ``failures`` has what could not be set, by interface and by path."""

    def __init__(self, monitor: InterfaceMonitor) -> None:
        self.interfaces: dict[str, InterfaceSettings] = {}
        self.interface_failures: dict[str, list[SettingFailure]] = {}
        self._monitor = monitor
        self._sysctls = SysctlDriver()
        self._unconfigured: set[str] = set()
        self._globals: dict[str, str] = {}
        self._unset_globals: set[str] = set()
        self._global_failures: dict[str, SettingFailure] = {}

    @property
    def writes(self) -> int:
        """How many values were written."""
        return self._sysctls.writes

    @property
    def needs_apply(self) -> bool:
        """Whether something must be looked at."""
        return bool(self._unconfigured or self._unset_globals)

    @property
    def failures(self) -> tuple[SettingFailure, ...]:
        """All that could not be set."""
        of_interfaces = (one for failed in self.interface_failures.values() for one in failed)
        return (*of_interfaces, *self._global_failures.values())

    def set_wanted(self, name: str, settings: InterfaceSettings | None) -> None:
        """Want *settings* on the interface *name*; None: it is no longer ours."""
        if settings is None:
            self.interfaces.pop(name, None)
            self.interface_failures.pop(name, None)
            self._unconfigured.discard(name)
        else:
            self.interfaces[name] = settings
            self._unconfigured.add(name)

    def set_wanted_globals(self, paths: Iterable[str], values: Mapping[str, str]) -> None:
        """Want the *values* of the host's parameters *paths*; one without a value is left alone."""
        for path in paths:
            if path in values:
                self._globals[path] = values[path]
                self._unset_globals.add(path)
            else:
                self._globals.pop(path, None)
                self._unset_globals.discard(path)

    def mark_stale(self) -> None:
        """Distrust all that was set; the next `apply` looks at it."""
        self._unconfigured.update(self.interfaces)
        self._unset_globals.update(self._globals)

    def interfaces_changed(self, names: set[str]) -> set[str]:
        """Look again at those of *names* that are ours, and return them."""
        known = names & self.interfaces.keys()
        self._unconfigured |= known
        return known

    def notified(self, received: Message) -> None:
        """Take in a notification of changed parameters."""
        found = parse_netconf(received.body)
        if found is None:
            return
        if found.index == NETCONF_ALL:
            path = _GLOBAL_FORWARDING[found.family]
            forwarding = found.values.get(NetconfValue.FORWARDING)
            if path in self._globals and forwarding not in (None, int(self._globals[path])):
                self._unset_globals.add(path)
            return
        name = self._monitor.name_of(found.index)
        wanted = self.interfaces.get(name) if name is not None else None
        if name is None or wanted is None:
            return
        if self._differs(found, wanted):
            self._unconfigured.add(name)

    def _differs(self, found: Netconf, wanted: InterfaceSettings) -> bool:
        if not (wanted.ipv4 if found.family == AF_INET else wanted.ipv6):
            return False
        expected = {NetconfValue.FORWARDING: 1, NetconfValue.PROXY_NEIGHBOUR: 1}
        if found.family == AF_INET and NetconfValue.RP_FILTER in found.values:
            expected[NetconfValue.RP_FILTER] = int(self._sysctls.rp_filter(wanted))
        return any(found.values.get(kind, value) != value for kind, value in expected.items())

    def apply(self) -> set[str]:
        """Set what differs; return the interfaces that were looked at."""
        for path in self._unset_globals:
            failure = self._sysctls.set_global(path, self._globals[path])
            if failure:
                self._global_failures[path] = failure
            else:
                self._global_failures.pop(path, None)
        self._unset_globals.clear()
        present = self._unconfigured & self._monitor.interfaces.keys()
        for name in self._unconfigured:
            self.interface_failures.pop(name, None)
        self._unconfigured.clear()
        for name in present:
            failed = self._sysctls.set_interface(name, self.interfaces[name])
            if failed:
                self.interface_failures[name] = failed
            if any(failure.fatal for failure in failed):
                self._unconfigured.add(name)
        return present
