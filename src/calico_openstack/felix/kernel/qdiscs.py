"""Limits the bandwidth of workload interfaces, in both directions.

What a workload receives leaves the host through its interface: a token bucket filter is the root
discipline there. What it sends arrives at the interface, where nothing can be queued: it is sent
through an IFB device of the interface's own, whose root discipline is a token bucket filter.

What is ours: token bucket filters of handle 1:0 at the root of workload interfaces, the ingress
discipline of workload interfaces unless it has filters of others, and IFB devices by the beginning
of their names, which are upstream's. Everything is read before it is written, and no memory of it
is kept, so that a second apply, or one after a restart, writes differences only.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from calico_openstack.felix.kernel import traffic_control as tc
from calico_openstack.felix.kernel.interfaces import InterfaceMonitor
from calico_openstack.felix.kernel.traffic_control import TcMessage
from calico_openstack.felix.render.qos import Shaping, TokenBucket
from calico_openstack.netlink.batch import BatchWriter
from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    NetlinkError,
    NetlinkSocket,
)
from calico_openstack.netlink.rtnetlink import IFF_UP, Link, RtMessage, parse_link

IFB_PREFIX: Final = "bwcali"
_IFB_HASH_LENGTH: Final = 9
# What an Ethernet header adds to the MTU.
_FRAME_HEADER: Final = 14
_GONE = frozenset({errno.ENODEV, errno.ENXIO})
_ABSENT = _GONE | {errno.ENOENT, errno.EINVAL}
_ALL: Final = "traffic control"


def egress_device(interface: str) -> str:
    """Return the name of the IFB device through which a workload interface's packets go."""
    digest = hashlib.sha256(interface.encode()).hexdigest()
    return IFB_PREFIX + digest[:_IFB_HASH_LENGTH]


class _Ingress(Struct, frozen=True):
    """The discipline of received packets, and its filters."""

    present: bool
    filters: tuple[tc.Redirection, ...] = ()


class QdiscDriver:
    """Makes the disciplines of workload interfaces what they should be.

    ``writes`` counts requests that the kernel carried out. ``failures`` has, by interface, what it
    refused, for want of a feature for instance; that is tried again when the interface or the wish
    changes, and by `mark_stale`.
    """

    def __init__(
        self, writer: BatchWriter, monitor: InterfaceMonitor, is_workload: Callable[[str], bool]
    ) -> None:
        self.writes = 0
        self.failures: dict[str, str] = {}
        # Of this socket's requests no notifications are suppressed: the monitor has to hear of
        # devices that come and go.
        self._links = NetlinkSocket(NETLINK_ROUTE)
        self._socket = writer.socket
        self._monitor = monitor
        self._is_workload = is_workload
        self._wanted: dict[str, Shaping] = {}
        self._owners: dict[str, str] = {}
        self._dirty: set[str] = set()
        self._stale = True

    def close(self) -> None:
        """Close the driver's own socket."""
        self._links.close()

    # --- what is to be looked at ------------------------------------------------------------------

    def set_wanted(self, name: str, shaping: Shaping | None) -> None:
        """Want the interface *name* to be limited so, None for not at all."""
        if shaping is None:
            if self._wanted.pop(name, None) is None:
                return
        else:
            self._wanted[name] = shaping
            self._owners[egress_device(name)] = name
        self._dirty.add(name)

    def interfaces_changed(self, names: Iterable[str]) -> None:
        """Take in that interfaces came, went or changed."""
        for name in names:
            if name in self._wanted:
                self._dirty.add(name)
            elif name.startswith(IFB_PREFIX) and name in self._owners:
                self._dirty.add(self._owners[name])

    def notified(self, received: Message) -> None:
        """Take in that somebody else changed a discipline or a filter."""
        name = self._monitor.name_of(tc.interface_of(received.body))
        if name is not None:
            self.interfaces_changed((name,))

    def mark_stale(self) -> None:
        """Distrust everything; the next `apply` looks at all interfaces."""
        self._stale = True

    @property
    def needs_apply(self) -> bool:
        """Whether something is to be looked at."""
        return self._stale or bool(self._dirty)

    # --- applying ---------------------------------------------------------------------------------

    def apply(self) -> None:
        """Make what is to be looked at as it should be; nothing is raised."""
        self.failures.pop(_ALL, None)
        if self._stale:
            self._stale = False
            self._dirty.update(self._wanted)
            try:
                self._dirty.update(self._leftovers())
            except OSError as error:
                self.failures[_ALL] = error.strerror or str(error)
        dirty, self._dirty = self._dirty, set()
        for name in sorted(dirty):
            self._reconcile(name)

    def _leftovers(self) -> set[str]:
        """Return the interfaces with something of ours on them; remove devices of nobody."""
        found = set()
        for received in self._socket.dump(TcMessage.GETQDISC, tc.all_qdiscs_request()):
            qdisc = tc.parse_qdisc(received.body)
            name = self._monitor.name_of(qdisc.interface)
            if name and self._is_workload(name) and (_is_ours(qdisc) or qdisc.kind == tc.INGRESS):
                found.add(name)
        owned = {egress_device(name) for name in self._wanted.keys() | found}
        for name in list(self._monitor.interfaces):
            if name.startswith(IFB_PREFIX) and name not in owned:
                self._remove_device(name)
        return found

    def _reconcile(self, name: str) -> None:
        """Bring one interface up to date, as far as the kernel can."""
        problems: list[str] = []
        interface = self._monitor.interfaces.get(name)
        shaping = self._wanted.get(name) or Shaping()
        device = egress_device(name)
        if interface is None:
            self._attempt(problems, name, lambda: self._remove_device(device))
        else:
            index, mtu = interface.index, interface.mtu
            self._attempt(problems, name, lambda: self._shape(index, shaping.ingress, mtu))
            egress = shaping.egress
            if egress is not None:
                self._attempt(problems, name, lambda: self._divert(index, device, egress, mtu))
            else:
                self._attempt(problems, name, lambda: self._restore(index, device))
        self.failures.pop(name, None)
        if problems:
            self.failures[name] = "; ".join(problems)
        if name not in self._wanted:
            self._owners.pop(device, None)

    def _attempt(self, problems: list[str], name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except NetlinkError as error:
            # An interface that vanished meanwhile is looked at again when the monitor tells.
            if error.errno not in _GONE:
                problems.append(str(error.refusal))
        except OSError as error:
            problems.append(error.strerror or str(error))
            self._dirty.add(name)

    def _shape(self, index: int, bucket: TokenBucket | None, mtu: int) -> None:
        """Have this token bucket, or none, at the root of an interface."""
        root = self._root(index)
        if bucket is None:
            if root is not None and _is_ours(root):
                self._write(TcMessage.DELQDISC, tc.qdisc_request(index, tc.TC_H_ROOT))
            return
        wanted = tc.bucket_filter(
            bucket.rate, bucket.burst, bucket.peak_rate, bucket.peak_burst, mtu + _FRAME_HEADER
        )
        if root is not None and root.handle == tc.ROOT_HANDLE:
            if root.bucket is not None and root.bucket.same_as(wanted.shown()):
                return
            if root.bucket is None:
                # One of another kind under the same handle is not replaced.
                self._write(TcMessage.DELQDISC, tc.qdisc_request(index, tc.TC_H_ROOT))
        self._write(
            TcMessage.NEWQDISC, tc.encode_bucket(index, wanted), NLM_F_CREATE | NLM_F_REPLACE
        )

    def _divert(self, index: int, device: str, bucket: TokenBucket, mtu: int) -> None:
        """Send what an interface receives through a limited device."""
        target = self._device(device, mtu)
        self._shape(target, bucket, mtu)
        ingress = self._ingress(index)
        if not ingress.present:
            self._write(TcMessage.NEWQDISC, tc.encode_ingress(index), NLM_F_CREATE)
        if [each.target for each in ingress.filters] == [target]:
            return
        for each in ingress.filters:
            if each.target is not None:
                self._write(TcMessage.DELTFILTER, tc.filter_removal(index, each.priority))
        self._write(TcMessage.NEWTFILTER, tc.encode_redirection(index, target), NLM_F_CREATE)

    def _restore(self, index: int, device: str) -> None:
        """Let what an interface receives go its way."""
        ingress = self._ingress(index)
        if ingress.present and all(self._redirects_to_us(each) for each in ingress.filters):
            self._write(TcMessage.DELQDISC, tc.qdisc_request(index, tc.TC_H_INGRESS))
        self._remove_device(device)

    def _redirects_to_us(self, found: tc.Redirection) -> bool:
        if found.target is None:
            return False
        name = self._monitor.name_of(found.target)
        return name is None or name.startswith(IFB_PREFIX)

    # --- reading and writing ----------------------------------------------------------------------

    def _write(self, kind: int, body: bytes, flags: int = 0) -> None:
        self._socket.request(kind, body, flags)
        self.writes += 1

    def _root(self, index: int) -> tc.Qdisc | None:
        return self._qdisc(index, tc.TC_H_ROOT)

    def _qdisc(self, index: int, parent: int) -> tc.Qdisc | None:
        body = tc.qdisc_request(index, parent)
        try:
            # Unlike others this request is answered to the group of listeners, unless echoed.
            answers = self._socket.request(TcMessage.GETQDISC, body, tc.NLM_F_ECHO)
        except NetlinkError as error:
            if error.errno in _ABSENT - _GONE:
                return None
            raise
        found = [tc.parse_qdisc(each.body) for each in answers if each.kind == TcMessage.NEWQDISC]
        return found[0] if found else None

    def _ingress(self, index: int) -> _Ingress:
        qdisc = self._qdisc(index, tc.TC_H_INGRESS)
        if qdisc is None or qdisc.kind != tc.INGRESS:
            return _Ingress(present=False)
        filters = (
            tc.parse_filter(each.body)
            for each in self._socket.dump(TcMessage.GETTFILTER, tc.filters_request(index))
        )
        return _Ingress(True, tuple(each for each in filters if each is not None))

    def _device(self, name: str, mtu: int) -> int:
        """Return the index of the device *name*, which is made, or brought up, if need be."""
        link = self._link(name)
        if link is None or not link.flags & IFF_UP or link.mtu != mtu:
            self._links.request(RtMessage.NEWLINK, tc.encode_ifb(name, mtu), NLM_F_CREATE)
            self.writes += 1
            link = self._link(name)
        if link is None:
            raise OSError(errno.ENODEV, f"{name} vanished as soon as it was made")
        return link.index

    def _remove_device(self, name: str) -> None:
        link = self._link(name)
        if link is not None:
            self._links.request(RtMessage.DELLINK, tc.link_removal(link.index))
            self.writes += 1

    def _link(self, name: str) -> Link | None:
        """Return the device *name* as the kernel has it, None when there is none."""
        try:
            answers = self._links.request(RtMessage.GETLINK, tc.link_request(name))
        except NetlinkError as error:
            if error.errno in _GONE:
                return None
            raise
        for each in answers:
            if tc.link_kind(each.body) != tc.IFB:
                raise OSError(errno.EEXIST, f"{name} is not an IFB device")
            return parse_link(each.body)
        return None


def _is_ours(root: tc.Qdisc) -> bool:
    return root.kind == tc.TBF and root.handle == tc.ROOT_HANDLE and root.parent == tc.TC_H_ROOT
