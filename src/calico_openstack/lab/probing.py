"""Trying what reaches whom with real packets, from inside a sender's network namespace.

`python -m calico_openstack.lab.probing` reads a JSON list of Attempt from its standard input,
makes them all at once and writes a JSON list of outcomes. A closed port that says so counts as
reached: the packet got to the receiver's system, and the answer came back.
"""

import errno
import os
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from calico_openstack.checksum import internet_checksum
from calico_openstack.lab.security_groups import ICMP, TCP

RETRY = 0.4


class Outcome(StrEnum):
    """What became of an attempt."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"
    UNREACHABLE = "unreachable"

    @property
    def reached(self) -> bool:
        """Whether the receiver's system got the packet and could answer."""
        return self in {Outcome.ANSWERED, Outcome.REFUSED}


class Attempt(msgspec.Struct, frozen=True):
    """A packet to send: protocol as in IP, port (0 for ICMP), patience in seconds."""

    address: str
    protocol: int
    port: int
    patience: float


@dataclass
class _Pending:
    attempt: Attempt
    connection: socket.socket
    deadline: float
    resend: float
    payload: bytes = b""
    outcome: Outcome | None = field(default=None)


def attempt_all(attempts: list[Attempt]) -> list[Outcome]:
    """Make all attempts at once and wait for their outcomes."""
    now = time.monotonic()
    pending = [_begin(attempt, number, now) for number, attempt in enumerate(attempts)]
    selector = selectors.DefaultSelector()
    for entry in pending:
        if entry.outcome is None:
            mask = selectors.EVENT_READ
            if entry.attempt.protocol == TCP:
                mask = selectors.EVENT_WRITE
            selector.register(entry.connection, mask, entry)
    while open_entries := [entry for entry in pending if entry.outcome is None]:
        for key, _ in selector.select(0.05):
            key.data.outcome = _finish(key.data)
        now = time.monotonic()
        for entry in open_entries:
            if entry.outcome is None and now > entry.deadline:
                entry.outcome = Outcome.SILENT
            if entry.outcome is not None:
                selector.unregister(entry.connection)
            elif entry.payload and now > entry.resend:
                entry.resend = now + RETRY
                _send(entry)
    for entry in pending:
        entry.connection.close()
    return [entry.outcome or Outcome.SILENT for entry in pending]


def _begin(attempt: Attempt, number: int, now: float) -> _Pending:
    family = socket.AF_INET6 if ":" in attempt.address else socket.AF_INET
    if attempt.protocol == TCP:
        connection = socket.socket(family, socket.SOCK_STREAM)
        payload = b""
    elif attempt.protocol == ICMP:
        kind = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        connection = socket.socket(family, socket.SOCK_RAW, kind)
        payload = echo_request(family == socket.AF_INET6, number)
    else:
        connection = socket.socket(family, socket.SOCK_DGRAM)
        payload = b"?"
    connection.setblocking(False)
    entry = _Pending(attempt, connection, now + attempt.patience, now + RETRY, payload)
    code = connection.connect_ex((attempt.address, attempt.port))
    if code not in {0, errno.EINPROGRESS}:
        entry.outcome = _outcome_of(code)
    elif payload:
        _send(entry)
    return entry


def _send(entry: _Pending) -> None:
    try:
        entry.connection.send(entry.payload)
    except OSError as error:
        if entry.attempt.protocol == ICMP or error.errno != errno.EAGAIN:
            entry.outcome = _outcome_of(error.errno or 0)


def _finish(entry: _Pending) -> Outcome | None:
    if entry.attempt.protocol == TCP:
        return _outcome_of(entry.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    try:
        data = entry.connection.recv(2048)
    except OSError as error:
        return _outcome_of(error.errno or 0)
    if entry.attempt.protocol != ICMP:
        return Outcome.ANSWERED
    return Outcome.ANSWERED if is_echo_reply(data, entry.payload) else None


def _outcome_of(code: int) -> Outcome:
    if code == 0:
        return Outcome.ANSWERED
    if code == errno.ECONNREFUSED:
        return Outcome.REFUSED
    return Outcome.UNREACHABLE


def echo_request(ipv6: bool, number: int) -> bytes:
    """An ICMP echo request (RFC 792, RFC 4443); the kernel sums up the one for IPv6."""
    kind, identifier = (128 if ipv6 else 8), os.getpid() & 0xFFFF
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, number & 0xFFFF) + b"calico-lab"
    if ipv6:
        return body
    return body[:2] + internet_checksum(body) + body[4:]


def is_echo_reply(data: bytes, request: bytes) -> bool:
    """Whether a received packet answers the request. IPv4 packets come with their header."""
    if request[0] == 8:
        data = data[(data[0] & 0x0F) * 4 :]
    reply = 0 if request[0] == 8 else 129
    return len(data) >= 8 and data[0] == reply and data[4:] == request[4:]


def main() -> None:
    """Entry point: attempts in, outcomes out."""
    attempts = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Attempt])
    sys.stdout.buffer.write(msgspec.json.encode(attempt_all(attempts)))


if __name__ == "__main__":
    main()
