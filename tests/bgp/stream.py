"""A steady stream of UDP packets to a workload that moves, and what became of each of them.

The sender numbers its packets; whoever receives one notes it and sends it back from the address it
came to. All clocks are the machine's monotonic one, so times of different processes compare.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.netns import NetworkNamespace
from tests.support.processes import Process

PORT = 7777

_ECHO = """
import json, signal, socket, sys, time
family, path = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, socket.SOCK_DGRAM)
if family == "6":
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
s.setsockopt(socket.SOL_SOCKET, 33, 2**22)  # SO_RCVBUFFORCE: a busy machine loses nothing here
s.bind(("::" if family == "6" else "0.0.0.0", PORT))
seen = []
signal.signal(signal.SIGTERM, lambda *_: (open(path, "w").write(json.dumps(seen)), sys.exit()))
open(path + ".ready", "w").close()
while True:
    data, peer = s.recvfrom(100)
    seen.append((int(data), time.monotonic()))
    s.sendto(data, peer)
""".replace("PORT", str(PORT))

_SEND = """
import json, select, signal, socket, sys, time
address, interval, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.setblocking(False)
s.setsockopt(socket.SOL_SOCKET, 33, 2**22)
sent, echoed, running = [], [], [True]
signal.signal(signal.SIGTERM, lambda *_: running.clear())
due, end = time.monotonic(), None
while end is None or time.monotonic() < end:
    if not running and end is None:
        end = time.monotonic() + 3
    if end is not None and len(echoed) == len(sent):
        break
    now = time.monotonic()
    if end is None and now >= due:
        sent.append(now)
        try:
            s.sendto(str(len(sent) - 1).encode(), (address, PORT))
        except OSError:
            pass
        due += interval
    if select.select([s], [], [], max(0, min(due - time.monotonic(), 0.01)))[0]:
        try:
            echoed.append((int(s.recv(100)), time.monotonic()))
        except OSError:
            pass
open(path, "w").write(json.dumps([sent, echoed]))
""".replace("PORT", str(PORT))


@dataclass(frozen=True, slots=True)
class Outcome:
    """When packets were sent, and by number when each receiver got them and the sender its echo."""

    sent: list[float]
    received: list[dict[int, float]]
    echoed: dict[int, float]

    @property
    def lost(self) -> int:
        """Packets that no receiver got."""
        return len(set(range(len(self.sent))).difference(*self.received))

    def moments_of_loss(self, moves: list[float]) -> list[list[float]]:
        """Return, for each packet that nobody got, how long after each of *moves* it was sent."""
        got = set().union(*self.received)
        return [
            [round(sent - moved, 4) for moved in moves]
            for number, sent in enumerate(self.sent)
            if number not in got
        ]

    @property
    def unanswered(self) -> int:
        """Packets whose echo did not come back, of those that were received."""
        return len(set().union(*self.received) - self.echoed.keys())

    def first_after(self, receiver: int, moment: float) -> float:
        """Return how many seconds after *moment* a receiver got its first packet."""
        times = [t for t in self.received[receiver].values() if t >= moment]
        return min(times, default=float("inf")) - moment


class Stream:
    """Sends to *address* every *interval* seconds; the receivers are namespaces that have it."""

    def __init__(
        self,
        sender: NetworkNamespace,
        address: str,
        receivers: list[NetworkNamespace],
        directory: Path,
        interval: float = 0.002,
    ) -> None:
        family = "6" if ":" in address else "4"
        self._directory = directory
        self._files = [directory / f"echo{family}-{i}.json" for i in range(len(receivers))]
        for file in self._files:
            Path(f"{file}.ready").unlink(missing_ok=True)
        self._echoes = [
            Process(
                [sys.executable, "-c", _ECHO, family, file],
                log=file.with_suffix(".log"),
                prefix=namespace.command([]),
            )
            for namespace, file in zip(receivers, self._files, strict=True)
        ]
        for process, file in zip(self._echoes, self._files, strict=True):
            process.wait_until(Path(f"{file}.ready").exists, "receiver")
        self._sent = directory / f"sent{family}.json"
        self._sender = Process(
            [sys.executable, "-c", _SEND, address, str(interval), self._sent],
            log=directory / f"sent{family}.log",
            prefix=sender.command([]),
        )

    def finish(self) -> Outcome:
        """End the stream and return what became of it."""
        for process in (self._sender, *self._echoes):
            process.signal(signal.SIGTERM)
            process.wait(20)
        sent, echoed = json.loads(self._sent.read_text())
        received = [
            {int(number): moment for number, moment in json.loads(file.read_text())}
            for file in self._files
        ]
        return Outcome(sent, received, {int(number): moment for number, moment in echoed})
