"""Reaching the cluster: endpoints with failover, tokens, forks.

A `Session` answers one question: over which connection, and with which metadata, is the next call
made. Every operation of the client and every watch goes through it.
"""

from __future__ import annotations

import atexit
import ctypes
import random
import threading
import time
import weakref
from typing import Final

import grpc

from calico_openstack.etcd import forks
from calico_openstack.etcd.config import EtcdConfig
from calico_openstack.etcd.connection import (
    AUTHENTICATE,
    CONNECT_TIMEOUT,
    Connection,
    Metadata,
    Method,
    Request,
    Response,
)
from calico_openstack.etcd.errors import EtcdUnavailable
from calico_openstack.etcd.failures import Failure, classify, code_and_details, to_error
from calico_openstack.etcd.proto import etcd_pb2 as pb

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

# Sessions with a connection to close before the interpreter goes: a channel that is collected
# during its last steps waits for threads that have ended already, for ever.
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _close_all() -> None:
    for session in list(_sessions):
        session.close()


atexit.register(_close_all)


def _abandon(connection: Connection | None) -> None:
    """Make a connection of the parent process immortal in this one.

    It must not be used, closed or even collected here, not at the interpreter's end either: the
    sockets are shared with the parent, and the library's threads do not exist in a child.
    """
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


class Session:
    """Connected lazily; thread-safe; a forked child starts afresh with its own connection."""

    def __init__(self, config: EtcdConfig) -> None:
        self.config = config
        self._targets = config.targets()
        self._next = 0
        self._connection: Connection | None = None
        self._token = ""
        # The cluster demands no user, although we have one: until it says otherwise.
        self._anonymous = False
        self._lock = threading.Lock()
        self.closed = False
        _sessions.add(self)
        forks.tell(self)

    def after_fork(self) -> None:
        """Leave the parent's connection alone; its lock may have been held by another thread."""
        _abandon(self._connection)
        self._connection = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; running calls end first. Later calls raise EtcdUnavailable."""
        with self._lock:
            self.closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.retire()

    def retire(self, connection: Connection) -> None:
        """Report that *connection* failed: the next call tries the next endpoint."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
                self._next = (self._next + 1) % len(self._targets)
        connection.retire()

    def connection(self, deadline: float) -> Connection:
        """Return the current connection, made if need be before *deadline* (monotonic seconds).

        The caller is counted as its user until it leaves the connection's ``with`` statement.
        Raises EtcdUnavailable when no endpoint can be reached.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise EtcdUnavailable(f"{self._names()}: still connecting")
        try:
            if self.closed:
                raise EtcdUnavailable("the client is closed")
            if self._connection is None:
                self._connection = self._connect(deadline)
            self._connection.admit()
            return self._connection
        finally:
            self._lock.release()

    def _connect(self, deadline: float) -> Connection:
        """Try every endpoint once, beginning with the one after the last that failed."""
        reasons = []
        for _ in self._targets:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            endpoint = self._targets[self._next]
            try:
                connection = Connection(self.config, endpoint)
            except OSError as error:
                reasons.append(f"{endpoint.target}: {error}")
            else:
                if connection.wait_ready(min(left, CONNECT_TIMEOUT)):
                    return connection
                connection.retire()
                reasons.append(f"{endpoint.target}: cannot connect")
            self._next = (self._next + 1) % len(self._targets)
        raise EtcdUnavailable("; ".join(reasons) or f"{self._names()}: no time left to connect")

    def _names(self) -> str:
        return ", ".join(target.target for target in self._targets)

    def metadata(self, connection: Connection, timeout: float) -> Metadata:
        """Return the token to send along, fetched if need be; raises grpc.RpcError."""
        if not self.config.username or self._anonymous:
            return ()
        token = self._token
        if not token:
            request = pb.AuthenticateRequest(
                name=self.config.username, password=self.config.password
            )
            try:
                response = connection.call(AUTHENTICATE, request, timeout=timeout, metadata=())
            except grpc.RpcError as error:
                if "authentication is not enabled" in code_and_details(error)[1]:
                    self._anonymous = True
                    return ()
                raise
            token = self._token = response.token
        return (("token", token),)

    def forget_token(self, metadata: Metadata) -> None:
        """Report that the token in *metadata*, or its absence, was refused."""
        self._anonymous = False
        if (("token", self._token),) == metadata:
            self._token = ""

    def call(
        self, method: Method[Request, Response], request: Request, *, repeatable: bool
    ) -> Response:
        """Make a call within the configured time limit.

        A call that certainly was not executed is repeated, over the next endpoint where the
        connection failed; one that may have been executed only if *repeatable*. Raises EtcdError.
        """
        deadline = time.monotonic() + self.config.timeout
        attempt = Attempt(self, deadline, repeatable=repeatable)
        while True:
            with attempt.connection() as connection:
                metadata: Metadata = ()
                try:
                    with forks.gate:
                        left = attempt.timeout()
                        metadata = self.metadata(connection, left)
                        return connection.call(method, request, timeout=left, metadata=metadata)
                except grpc.RpcError as error:
                    attempt.failed(error, connection, metadata)


class Attempt:
    """The repetitions of one call: counts, pauses, decides whether another is allowed."""

    def __init__(self, session: Session, deadline: float, *, repeatable: bool) -> None:
        self._session = session
        self._deadline = deadline
        self._repeatable = repeatable
        self._pause = _FIRST_PAUSE
        self._token_refused = 0

    def connection(self) -> Connection:
        """Return a connection to use in a ``with`` statement; raise EtcdUnavailable in the end."""
        while True:
            try:
                with forks.gate:
                    return self._session.connection(self._deadline)
            except EtcdUnavailable:
                if self._session.closed or not self.pause():
                    raise

    def timeout(self) -> float:
        """Return the time limit of the next try, in seconds.

        A read leaves time for another endpoint, in case that this one does not answer.
        """
        left = max(0.001, self._deadline - time.monotonic())
        if self._repeatable and len(self._session.config.endpoints) > 1:
            return min(left, max(2.0, self._session.config.timeout / 3))
        return left

    def failed(self, error: grpc.RpcError, connection: Connection, metadata: Metadata) -> None:
        """Return when the call may be repeated, else raise EtcdError."""
        code, details = code_and_details(error)
        final = to_error(code, details, connection.endpoint.target)
        match classify(code, details):
            case Failure.TOKEN:
                self._session.forget_token(metadata)
                self._token_refused += 1
                if self._token_refused > 2 or not self._session.config.username:
                    raise final from error
            case Failure.NOT_EXECUTED:
                self._session.retire(connection)
                if not self.pause():
                    raise final from error
            case Failure.UNAVAILABLE:
                self._session.retire(connection)
                if not self._repeatable or not self.pause():
                    raise final from error
            case Failure.REFUSED:
                raise final from error

    def pause(self) -> bool:
        """Wait a little, longer each time; return whether there is time for another try."""
        if time.monotonic() + self._pause >= self._deadline:
            return False
        time.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True
