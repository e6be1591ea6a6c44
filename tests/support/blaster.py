"""Sends packets without pause and says afterwards which of them arrived.

Run as a program, in the namespaces of the two ends: ``send`` makes UDP datagrams on a raw socket,
each from another source port, so that each is the first packet of a flow and judged by policy;
``receive`` notes which arrived. Sender and test share the number of the current round in a file, by
which the test says when something happened. Each round sends one datagram of every stream.
"""

from __future__ import annotations

import json
import mmap
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

_ROUND = struct.Struct("=Q")
_PAYLOAD = struct.Struct("=BQ")
_UDP = struct.Struct(">HHHH")
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
# Several hundred rounds a second: what is open for a few milliseconds is seen.
_PAUSE = 0.001
_FIRST_PORT, _PORTS = 1024, 60000
# The kernel fills in the checksum of IPv6 datagrams, which must have one.
_CHECKSUM_OFFSET = 6


@dataclass(frozen=True)
class Stream:
    """Datagrams to one address and port."""

    address: str
    port: int


def main(arguments: Sequence[str]) -> None:
    role, file = arguments[0], Path(arguments[1])
    streams = [Stream(**each) for each in json.loads(arguments[2])]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if role == "send":
        _send(file, streams)
    else:
        _receive(file, streams)


def _send(file: Path, streams: list[Stream]) -> None:
    raw = {
        family: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    raw[socket.AF_INET6].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _CHECKSUM_OFFSET)
    targets = []
    for number, stream in enumerate(streams):
        six = ":" in stream.address
        sender = raw[socket.AF_INET6 if six else socket.AF_INET]
        targets.append((number, sender, stream.port, (stream.address, 0)))
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), _ROUND.size)
    size = _UDP.size + _PAYLOAD.size
    round_ = 0
    print("ready", flush=True)
    while True:
        round_ += 1
        _ROUND.pack_into(shared, 0, round_)
        source = _FIRST_PORT + round_ % _PORTS
        for number, sender, port, address in targets:
            sender.sendto(_UDP.pack(source, port, size, 0) + _PAYLOAD.pack(number, round_), address)
        time.sleep(_PAUSE)


def _receive(file: Path, streams: list[Stream]) -> None:
    arrived: list[list[int]] = [[] for _ in streams]
    selector = selectors.DefaultSelector()
    for port in {stream.port for stream in streams}:
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        one.bind(("::", port))
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ)
    print("ready", flush=True)
    try:
        while True:
            _take(selector, arrived, None)
    except KeyboardInterrupt:
        # The sender has ended before; what is there has arrived.
        while _take(selector, arrived, 0.2):
            pass
    file.write_text(json.dumps([list(_runs(sorted(set(rounds)))) for rounds in arrived]))


def _take(
    selector: selectors.DefaultSelector, arrived: list[list[int]], timeout: float | None
) -> bool:
    ready = selector.select(timeout)
    for key, _ in ready:
        receiver: Any = key.fileobj
        for _ in range(256):
            try:
                number, round_ = _PAYLOAD.unpack(receiver.recv(64))
            except BlockingIOError:
                break
            arrived[number].append(round_)
    return bool(ready)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of consecutive *numbers*."""
    if not numbers:
        return
    first = numbers[0]
    for one, following in pairwise(numbers):
        if following != one + 1:
            yield first, one
            first = following
    yield first, numbers[-1]


@dataclass(frozen=True)
class Arrivals:
    """The rounds of which a stream's datagram arrived, as runs of first and last."""

    runs: tuple[tuple[int, int], ...]

    def any_between(self, first: int, last: int) -> bool:
        """Return whether any of the rounds *first* to *last* arrived."""
        return any(start <= last and end >= first for start, end in self.runs)

    def missing_between(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the runs of rounds from *first* to *last* that did not arrive."""
        missing = []
        expected = first
        for start, end in self.runs:
            if start > last:
                break
            if start > expected:
                missing.append((expected, start - 1))
            expected = max(expected, end + 1)
        if expected <= last:
            missing.append((expected, last))
        return missing


def arguments(role: str, file: Path, streams: Iterable[Stream]) -> list[str]:
    """Return the command that runs one end."""
    described = json.dumps([asdict(stream) for stream in streams])
    return [sys.executable, __file__, role, str(file), described]


def current_round(file: Path) -> int:
    """Return the round that the sender is in."""
    return int(_ROUND.unpack(file.read_bytes())[0])


def new_counter(file: Path) -> None:
    """Make the file that sender and test share."""
    file.write_bytes(bytes(_ROUND.size))


def read_arrivals(file: Path) -> list[Arrivals]:
    """Return what the receiver has written, by stream."""
    return [Arrivals(tuple(map(tuple, runs))) for runs in json.loads(file.read_text())]


if __name__ == "__main__":
    main(sys.argv[1:])
