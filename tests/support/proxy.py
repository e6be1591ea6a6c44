"""A TCP proxy that misbehaves on command: cuts, delays, black-holes, one way or both."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import Flag, auto


class Direction(Flag):
    """Which way bytes flow."""

    TO_SERVER = auto()
    TO_CLIENT = auto()
    BOTH = TO_SERVER | TO_CLIENT


class Proxy:
    """Forwards connections on an ephemeral loopback port to *server_port*.

    The listener lives in the network namespace of the thread that creates the proxy, connections
    to the server are made from that of the thread that calls `start`: a bridge between the two.
    """

    def __init__(self, server_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server_port = server_port
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._condition = threading.Condition()
        self._held = Direction(0)
        self._refusing = False
        self._delay = 0.0
        self._closed = False
        self.connections = 0
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> Proxy:
        """Begin to accept, connecting to the server from the calling thread's namespace."""
        self._acceptor.start()
        return self

    @property
    def endpoint(self) -> str:
        """The URL for etcd clients."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all connections."""
        with self._condition:
            sockets = list(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Break all connections, and new ones at once."""
        self._refusing = True
        self.cut()

    def black_hole(self, direction: Direction = Direction.BOTH) -> None:
        """Hold back bytes in the given direction; connections stay open and new ones are taken."""
        with self._condition:
            self._held = direction

    def delay(self, seconds: float) -> None:
        """Delay each piece of data, in both directions."""
        self._delay = seconds

    def heal(self) -> None:
        """Behave again; what was held back is delivered."""
        with self._condition:
            self._held = Direction(0)
            self._delay = 0.0
            self._refusing = False
            self._condition.notify_all()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._condition:
                self._sockets |= {client, server}
            for source, target, direction in (
                (client, server, Direction.TO_SERVER),
                (server, client, Direction.TO_CLIENT),
            ):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=self._pump, args=(source, target, direction), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self._delay:
                    time.sleep(self._delay)
                with self._condition:
                    while direction in self._held:
                        self._condition.wait()
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._condition:
            self._sockets -= {source, target}
        source.close()
