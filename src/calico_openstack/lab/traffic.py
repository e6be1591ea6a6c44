"""Traffic that runs while something else happens, and what became of it.

Inside of a workload: `python -m calico_openstack.lab.traffic serve PORT...` answers TCP, and
`... watch REPORT FLOWS` keeps flows going and writes a report after every change, until it is
ended. Each flow is one of

* stream: one connection that must not break, with an echo every 50 ms;
* connect: a new connection with an echo every 100 ms;
* forbidden: a connection attempt every 100 ms that nothing may ever answer.
"""

import contextlib
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

STREAM_INTERVAL = 0.05
CONNECT_INTERVAL = 0.1
# Longer than TCP needs to send a lost packet again, twice.
PATIENCE = 8.0
FORBIDDEN_PATIENCE = 0.5


class FlowKind(StrEnum):
    """What a flow does."""

    STREAM = "stream"
    CONNECT = "connect"
    FORBIDDEN = "forbidden"


class Flow(msgspec.Struct, frozen=True):
    """A flow to keep going."""

    kind: FlowKind
    address: str
    port: int


class FlowReport(msgspec.Struct, kw_only=True):
    """What became of a flow so far. `longest_gap`: seconds between two answers at most."""

    flow: Flow
    attempts: int = 0
    answered: int = 0
    failures: list[str] = []
    longest_gap: float = 0.0


class Report:
    """The reports of all flows, in a file that is replaced at once."""

    def __init__(self, path: Path, flows: list[Flow]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.reports = [FlowReport(flow=flow) for flow in flows]

    def change(self, action: Callable[[], None]) -> None:
        """Change the reports and write them."""
        with self._lock:
            action()
            temporary = self._path.with_suffix(".new")
            temporary.write_bytes(msgspec.json.encode(self.reports))
            temporary.rename(self._path)


def read_report(path: Path) -> list[FlowReport]:
    """The reports in a file; none before the first."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[FlowReport])
    except FileNotFoundError:
        return []


def watch(path: Path, flows: list[Flow]) -> None:
    """Keep the flows going for ever."""
    report = Report(path, flows)
    threads = [
        threading.Thread(target=_keep_going, args=(entry, report)) for entry in report.reports
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _keep_going(entry: FlowReport, report: Report) -> None:
    flow = entry.flow
    last = time.monotonic()
    connection: socket.socket | None = None
    while True:
        begin = time.monotonic()
        reason = ""
        try:
            if flow.kind is FlowKind.STREAM:
                connection = connection or _connect(flow, PATIENCE)
                _echo(connection)
            elif flow.kind is FlowKind.CONNECT:
                with _connect(flow, PATIENCE) as fresh:
                    _echo(fresh)
            else:
                _connect(flow, FORBIDDEN_PATIENCE).close()
        except OSError as error:
            reason = f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}"
            if connection is not None:
                connection.close()
                connection = None
        now = time.monotonic()

        def note(reason: str = reason, gap: float = now - last) -> None:
            entry.attempts += 1
            # A refusal is an answer: whoever refused has seen the packet.
            if not reason or "Refused" in reason:
                entry.answered += 1
            if reason:
                entry.failures = [*entry.failures, reason][-20:]
            else:
                entry.longest_gap = max(entry.longest_gap, gap)

        report.change(note)
        if not reason:
            last = now
        interval = STREAM_INTERVAL if flow.kind is FlowKind.STREAM else CONNECT_INTERVAL
        time.sleep(max(0.0, begin + interval - time.monotonic()))


def _connect(flow: Flow, patience: float) -> socket.socket:
    return socket.create_connection((flow.address, flow.port), timeout=patience)


def _echo(connection: socket.socket) -> None:
    connection.sendall(b"calico")
    received = b""
    while len(received) < 6:
        data = connection.recv(6 - len(received))
        if not data:
            raise ConnectionError("the connection was closed")
        received += data


def serve(ports: list[int]) -> None:
    """Echo on TCP ports, IPv4 and IPv6, for ever."""
    selector = selectors.DefaultSelector()
    for port in ports:
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
        )
        selector.register(listener, selectors.EVENT_READ, True)
    while True:
        for key, _ in selector.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if key.data:
                accepted, _ = connection.accept()
                selector.register(accepted, selectors.EVENT_READ, False)
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = connection.recv(4096)
                connection.sendall(data)
            if not data:
                selector.unregister(connection)
                connection.close()


def main() -> None:
    """Entry point."""
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        watch(Path(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=list[Flow]))


if __name__ == "__main__":
    main()
