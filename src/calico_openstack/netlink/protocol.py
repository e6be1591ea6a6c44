"""The netlink wire format and a socket that speaks it (netlink(7), linux/netlink.h).

A message is a 16-byte header and a body; bodies hold fixed structures followed by attributes. An
attribute is a 4-byte header (length, kind) and a payload padded to four bytes. Lengths and kinds
are in host byte order, payloads as the protocol says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from calico_openstack.netlink import bpf

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300
# In error messages: the request's body is left out (NETLINK_CAP_ACK); attributes follow.
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_DROP_MEMBERSHIP = 2
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

_NLMSGERR_ATTR_MSG = 1
_NLMSGERR_ATTR_OFFS = 2

_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF
ATTRIBUTE_HEADER = struct.Struct("=HH")
MESSAGE_HEADER = struct.Struct("=IHHII")
_BE32 = struct.Struct(">I")
_ATTRIBUTE_BE32 = struct.Struct("=HH4s")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_PORT_OFFSET = 12

# The largest payload of one attribute: its length field has 16 bits and counts the header.
MAXIMUM_ATTRIBUTE = 0xFFFF - ATTRIBUTE_HEADER.size
_DUMP_ATTEMPTS = 10
_RECEIVE_SIZE = 1 << 18


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute; raise ValueError when *payload* does not fit its 16-bit length."""
    length = len(payload)
    if length > MAXIMUM_ATTRIBUTE:
        raise ValueError(f"netlink attribute {kind} of {length} bytes is too long")
    return ATTRIBUTE_HEADER.pack(length + 4, kind) + payload + _PADDING[length & 3]


def attribute_be32(kind: int, value: int) -> bytes:
    """Return an attribute holding a 32-bit number in network byte order."""
    return _ATTRIBUTE_BE32.pack(8, kind, _BE32.pack(value))


def attribute_string(kind: int, text: str) -> bytes:
    """Return an attribute holding *text* with its terminating zero."""
    return attribute(kind, text.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """Return an attribute whose payload is the attributes *parts*."""
    return attribute(kind | _NLA_F_NESTED, b"".join(parts))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return one request; *body* must be padded to four bytes, as attributes are."""
    return MESSAGE_HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST, sequence, 0) + body


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes of *data* from *start* on, by kind; the last of a kind wins.

    Malformed lengths end the parse: what the kernel sends is well formed, and what is not must not
    raise in the middle of a dump.
    """
    found: dict[int, bytes] = {}
    end = len(data)
    unpack = ATTRIBUTE_HEADER.unpack_from
    # The same loop as in iterate_attributes, written out: it is where dumps spend their time.
    while start + 4 <= end:
        length, kind = unpack(data, start)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def iterate_attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, payload) of the attributes of *data* from *start* on."""
    end = len(data)
    unpack = ATTRIBUTE_HEADER.unpack_from
    while start + 4 <= end:
        length, kind = unpack(data, start)
        if length < 4:
            return
        yield kind & _NLA_TYPE_MASK, data[start + 4 : start + length]
        start += (length + 3) & ~3


def string(payload: bytes) -> str:
    """Return the text of a string attribute, without its terminating zero."""
    return payload.split(b"\0", 1)[0].decode(errors="surrogateescape")


def be32(payload: bytes) -> int:
    """Return the number of a 32-bit attribute in network byte order."""
    return int.from_bytes(payload, "big")


class Message(NamedTuple):
    """A received message."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


def split(data: bytes) -> Iterator[Message]:
    """Yield the messages of one received buffer."""
    offset, end = 0, len(data)
    unpack = MESSAGE_HEADER.unpack_from
    while offset + 16 <= end:
        length, kind, flags, sequence, port = unpack(data, offset)
        if length < 16:
            return
        yield Message(kind, flags, sequence, port, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3


class Refusal(Struct, frozen=True):
    """The kernel's answer that it did not carry out the request with this *sequence* number.

    *code* is the errno; *text* the kernel's own explanation and *offset* the byte in the request
    that it complains about, when it gives them.
    """

    sequence: int
    code: int
    text: str = ""
    offset: int | None = None

    def __str__(self) -> str:
        name = errno.errorcode.get(self.code, str(self.code))
        return f"{name}: {self.text}" if self.text else f"{name}: {os.strerror(self.code)}"


def parse_acknowledgement(received: Message) -> Refusal:
    """Return what an NLMSG_ERROR message says; code 0 is an acknowledgement."""
    (code,) = struct.unpack_from("=i", received.body)
    request_length = MESSAGE_HEADER.unpack_from(received.body, 4)[0]
    text, offset = "", None
    if received.flags & NLM_F_ACK_TLVS:
        request = 16 if received.flags & NLM_F_CAPPED else (request_length + 3) & ~3
        found = attributes(received.body, 4 + request)
        text = string(found.get(_NLMSGERR_ATTR_MSG, b""))
        if _NLMSGERR_ATTR_OFFS in found:
            (offset,) = struct.unpack("=I", found[_NLMSGERR_ATTR_OFFS])
    return Refusal(received.sequence, -code, text, offset)


class NetlinkError(OSError):
    """A request that the kernel refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code, str(refusal))
        self.refusal = refusal


class NetlinkSocket:
    """A netlink socket in the network namespace that the calling thread is in when it is made.

    Buffers are forced to the wanted size, which needs CAP_NET_ADMIN; without it they are as large
    as the system allows.
    """

    def __init__(
        self,
        protocol: int,
        *,
        groups: Iterable[int] = (),
        send_buffer: int = 1 << 20,
        receive_buffer: int = 8 << 20,
    ) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        try:
            self._force_buffer(SO_SNDBUFFORCE, socket.SO_SNDBUF, send_buffer)
            self._force_buffer(SO_RCVBUFFORCE, socket.SO_RCVBUF, receive_buffer)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            self._socket.bind((0, 0))
            for group in groups:
                self.join(group)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0

    def _force_buffer(self, forced: int, plain: int, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, plain, size)

    def fileno(self) -> int:
        """Return the descriptor, for select and the like."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def join(self, group: int) -> None:
        """Receive the notifications of *group* from now on."""
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        """Receive the notifications of *group* no longer."""
        self._socket.setsockopt(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group)

    def filter_dumps(self) -> None:
        """Let the kernel heed what is in the requests of dumps, where it can (since Linux 4.20)."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)

    def ignore(self, port: int) -> None:
        """Let the kernel drop notifications of what the socket *port* caused.

        A socket filter looks at the port in the header of a buffer's first message; one buffer
        holds messages of one cause only.
        """
        # A load takes network byte order, the header has the host's.
        operand = int.from_bytes(struct.pack("=I", port), "big")
        program = (
            bpf.Instruction(bpf.LOAD_WORD, 0, 0, _PORT_OFFSET),
            bpf.Instruction(bpf.JUMP_IF_EQUAL, 0, 1, operand),
            bpf.Instruction(bpf.RETURN, 0, 0, bpf.DROP),
            bpf.Instruction(bpf.RETURN, 0, 0, bpf.PASS),
        )
        bpf.attach(self._socket, program)

    def send(self, parts: Sequence[bytes]) -> None:
        """Send *parts* as one buffer, without looking at the answer."""
        self._socket.sendmsg(parts)

    def exchange(self, parts: Sequence[bytes]) -> list[Refusal]:
        """Send *parts* as one buffer and return what the kernel refused of it.

        The kernel works a buffer off before sendmsg(2) returns, so that all its answers are there
        by then and none has to be waited for. Requests must not ask for acknowledgements or dumps.
        """
        self._socket.sendmsg(parts)
        refusals: list[Refusal] = []
        while True:
            data = self.receive()
            if data is None:
                return refusals
            for received in split(data):
                if received.kind == NLMSG_ERROR:
                    refusal = parse_acknowledgement(received)
                    if refusal.code:
                        refusals.append(refusal)

    def receive(self) -> bytes | None:
        """Return the next buffer that waits, None when none does; OSError ENOBUFS on overrun."""
        try:
            return self._socket.recv(_RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def notifications(self) -> Iterator[Message | None]:
        """Yield the messages that wait; None where more came than the kernel could keep."""
        while True:
            try:
                data = self.receive()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None
                continue
            if data is None:
                return
            yield from split(data)

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[Message]:
        """Send one request with acknowledgement; return the answers; raise NetlinkError."""
        self._sequence += 1
        self._socket.send(message(kind, flags | NLM_F_ACK, self._sequence, body))
        answers = []
        while True:
            for received in split(self._socket.recv(_RECEIVE_SIZE)):
                if received.sequence != self._sequence:
                    continue
                if received.kind != NLMSG_ERROR:
                    answers.append(received)
                    continue
                refusal = parse_acknowledgement(received)
                if refusal.code:
                    raise NetlinkError(refusal)
                return answers

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Return all messages of a dump that is consistent, repeating it when it was disturbed.

        Raises NetlinkError when the kernel refuses and OSError EINTR when the objects change so
        fast that no attempt is consistent.
        """
        for _ in range(_DUMP_ATTEMPTS):
            try:
                # Read to the end in any case: a socket can have one dump under way only.
                found = list(self.stream(kind, body))
                if not any(received.flags & NLM_F_DUMP_INTR for received in found):
                    return found
            except OSError as error:
                if error.errno not in (errno.EINTR, errno.ENOBUFS, errno.EAGAIN):
                    raise
        raise InterruptedError(errno.EINTR, "netlink dump was disturbed again and again")

    def stream(self, kind: int, body: bytes) -> Iterator[Message]:
        """Yield the messages of one dump as they come; it may be inconsistent, see `dump`.

        Read it to its end: a socket can have one dump under way only.
        """
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(message(kind, NLM_F_DUMP, sequence, body))
        while True:
            for received in split(self._socket.recv(_RECEIVE_SIZE)):
                if received.sequence != sequence:
                    continue
                if received.kind == NLMSG_DONE:
                    _raise_dump_error(received)
                    if received.flags & NLM_F_DUMP_INTR:
                        raise InterruptedError(errno.EINTR, "netlink dump was disturbed")
                    return
                if received.kind == NLMSG_ERROR:
                    raise NetlinkError(parse_acknowledgement(received))
                yield received


def _raise_dump_error(done: Message) -> None:
    """Raise for the error code, 0 or a negative errno, that ends a dump."""
    if len(done.body) >= 4:
        (code,) = struct.unpack_from("=i", done.body)
        if code < 0:
            raise NetlinkError(Refusal(done.sequence, -code))
