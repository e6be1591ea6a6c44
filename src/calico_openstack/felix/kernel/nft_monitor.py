"""Notices when somebody else changes nftables."""

from __future__ import annotations

from collections.abc import Iterable

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.render.nft import Table
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NetlinkSocket,
    attributes,
    string,
)

_TABLE_NAME = 1


class NftMonitor:
    """Tells which of *tables* somebody other than the socket *own_port* changed."""

    def __init__(self, tables: Iterable[Table], own_port: int) -> None:
        self._tables = frozenset(tables)
        self._socket = NetlinkSocket(NETLINK_NETFILTER)
        self._socket.ignore(own_port)
        # Joined after the filter is in place, so that nothing of ours slips through.
        self.resume()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when somebody changed something."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def pause(self) -> None:
        """Hear nothing for a while.

        The kernel makes a notification of every object as long as anybody listens, which makes a
        large transaction several times slower; filtering them comes too late to help.
        """
        self._socket.leave(nft.NFNLGRP_NFTABLES)

    def resume(self) -> None:
        """Hear everything again."""
        self._socket.join(nft.NFNLGRP_NFTABLES)

    def read(self) -> frozenset[Table]:
        """Return the tables that were touched since the last call; all after an overrun."""
        touched: set[Table] = set()
        for received in self._socket.notifications():
            if received is None:
                touched.update(self._tables)
            elif received.kind >> 8 == nft.NFNL_SUBSYS_NFTABLES:
                touched.update(_table(received.kind & 0xFF, received.body))
        return self._tables & touched


def _table(kind: int, body: bytes) -> Iterable[Table]:
    """Yield the table that a notification is about; in all kinds it is the first attribute."""
    family = nft.FAMILY_BY_NUMBER.get(body[0])
    if kind != nft.NftMessage.NEWGEN and family is not None:
        name = attributes(body, nft.NFGENMSG.size).get(_TABLE_NAME, b"")
        yield Table(family, string(name))
