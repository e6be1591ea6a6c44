"""Sends many rtnetlink requests at once.

Unlike a transaction of nf_tables a batch is not atomic: each request succeeds or fails by itself.
"""

from __future__ import annotations

from calico_openstack.netlink.protocol import NETLINK_ROUTE, NetlinkSocket

# Requests in one buffer; refusals of all of them must fit the receive buffer.
_BATCH = 4096


class BatchWriter:
    """The socket through which routes and neighbours are read and written."""

    def __init__(self) -> None:
        self.socket = NetlinkSocket(NETLINK_ROUTE, send_buffer=8 << 20, receive_buffer=32 << 20)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def send(
        self, requests: list[bytes], tolerated: tuple[int, ...] = ()
    ) -> tuple[int, dict[int, str]]:
        """Send *requests*, whose sequence numbers are their places in the list.

        Returns how many the kernel carried out, and the refused ones by place with the reason,
        without those whose errno is *tolerated*. Raises OSError when the batch cannot be sent.
        """
        refusals = [
            refusal
            for start in range(0, len(requests), _BATCH)
            for refusal in self.socket.exchange([b"".join(requests[start : start + _BATCH])])
        ]
        refused = {
            refusal.sequence: str(refusal) for refusal in refusals if refusal.code not in tolerated
        }
        return len(requests) - len(refusals), refused
