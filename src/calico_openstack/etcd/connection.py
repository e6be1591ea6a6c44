"""One gRPC channel to one member of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc
import grpc._common
from google.protobuf.message import Message

from calico_openstack.etcd.config import Endpoint, EtcdConfig, read_pem
from calico_openstack.etcd.proto import etcd_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Answer_co = TypeVar("Answer_co", bound=Message | bytes, covariant=True)
Metadata = tuple[tuple[str, str], ...]

# etcd closes connections that are pinged more often than every 5 s (--grpc-keepalive-min-time).
KEEPALIVE_TIME: Final = 6.0
KEEPALIVE_TIMEOUT: Final = 3.0
CONNECT_TIMEOUT: Final = 3.0

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_TIME * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
    ("grpc.http2.max_pings_without_data", 0),
    # The shortest back-off is also the time limit of one connection attempt.
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT * 1000)),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A new channel means a new TCP connection, not one that another channel has given up.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy for the web is no way to a cluster's database.
    ("grpc.enable_http_proxy", 0),
)


# Whoever waits for the library looks ten times a second whether a signal has come, which on its own
# is most of what an idle agent does. Python handles signals during any wait of the main thread.
grpc._common.MAXIMUM_WAIT_TIMEOUT = 60.0

_SETTLED: Final = frozenset(
    {
        grpc.ChannelConnectivity.READY,
        grpc.ChannelConnectivity.TRANSIENT_FAILURE,
        grpc.ChannelConnectivity.SHUTDOWN,
    }
)


class Method(Generic[Request, Response]):
    """A unary method of the etcd API: its full name and its response's type."""

    __slots__ = ("path", "response")

    def __init__(self, path: str, request: type[Request], response: type[Response]) -> None:
        self.path = path
        self.response = response


RANGE: Final = Method("/etcdserverpb.KV/Range", pb.RangeRequest, pb.RangeResponse)
PUT: Final = Method("/etcdserverpb.KV/Put", pb.PutRequest, pb.PutResponse)
DELETE_RANGE: Final = Method(
    "/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse
)
TXN: Final = Method("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse)
COMPACT: Final = Method("/etcdserverpb.KV/Compact", pb.CompactionRequest, pb.CompactionResponse)
LEASE_GRANT: Final = Method(
    "/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse
)
LEASE_REVOKE: Final = Method(
    "/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse
)
STATUS: Final = Method("/etcdserverpb.Maintenance/Status", pb.StatusRequest, pb.StatusResponse)
AUTHENTICATE: Final = Method(
    "/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse
)
LEASE_KEEP_ALIVE: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
WATCH: Final = "/etcdserverpb.Watch/Watch"


class Call(Protocol[Answer_co]):
    """A request under way."""

    def result(self) -> Answer_co:
        """Wait for the response; raises grpc.RpcError."""

    def cancel(self) -> bool:
        """Give up."""


class Stream(Protocol[Answer_co]):
    """The answering half of a two-way stream; iteration raises grpc.RpcError at its end."""

    def __iter__(self) -> Iterator[Answer_co]: ...

    def cancel(self) -> bool:
        """End the stream."""


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


class Connection:
    """A channel that was seen ready, with a count of its users.

    A connection that failed is retired: it takes no new users and closes when the last one leaves,
    so that one thread's verdict does not cut another thread's request short.
    """

    def __init__(self, config: EtcdConfig, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel = _open_channel(config, endpoint)
        self._callables: dict[tuple[str, type], Any] = {}
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def wait_ready(self, timeout: float) -> bool:
        """Connect; return whether that worked within *timeout* seconds."""
        settled = threading.Event()
        states: list[grpc.ChannelConnectivity] = []

        def observe(state: grpc.ChannelConnectivity) -> None:
            states.append(state)
            if state in _SETTLED:
                settled.set()

        self._channel.subscribe(observe, try_to_connect=True)
        settled.wait(timeout)
        self._channel.unsubscribe(observe)
        return grpc.ChannelConnectivity.READY in states

    def admit(self) -> None:
        """Count one more user, who leaves by the end of a ``with`` statement."""
        with self._lock:
            self._users += 1

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            close = self._retired and not self._users
        if close:
            self._channel.close()

    def retire(self) -> None:
        """Close the channel as soon as nobody uses it."""
        with self._lock:
            close = not self._retired and not self._users
            self._retired = True
        if close:
            self._channel.close()

    def start(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: float,
        metadata: Metadata,
    ) -> Call[Response]:
        """Send a request and return at once."""
        unary = self._callable(method.path, method.response, "unary_unary")
        call: Call[Response] = unary.future(request, timeout=timeout, metadata=metadata)
        return call

    def start_unparsed(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: float,
        metadata: Metadata,
    ) -> Call[bytes]:
        """Send a request and return at once; the response stays as it comes."""
        unary = self._callable(method.path, bytes, "unary_unary")
        call: Call[bytes] = unary.future(request, timeout=timeout, metadata=metadata)
        return call

    def call(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: float,
        metadata: Metadata,
    ) -> Response:
        """Send a request and wait for its response; raises grpc.RpcError."""
        unary = self._callable(method.path, method.response, "unary_unary")
        response: Response = unary(request, timeout=timeout, metadata=metadata)
        return response

    def stream(
        self,
        path: str,
        requests: Iterator[Message],
        response: type[Response],
        *,
        timeout: float | None,
        metadata: Metadata,
    ) -> Stream[Response]:
        """Open a two-way stream."""
        opener = self._callable(path, response, "stream_stream")
        stream: Stream[Response] = opener(requests, timeout=timeout, metadata=metadata)
        return stream

    def _callable(self, path: str, response: type[Message | bytes], kind: str) -> Any:
        found = self._callables.get((path, response))
        if found is None:
            read = bytes if issubclass(response, bytes) else response.FromString
            found = getattr(self._channel, kind)(
                path, request_serializer=_serialize, response_deserializer=read
            )
            self._callables[path, response] = found
        return found


def _open_channel(config: EtcdConfig, endpoint: Endpoint) -> grpc.Channel:
    """Raises OSError when a certificate's file cannot be read."""
    if not endpoint.tls:
        return grpc.insecure_channel(endpoint.target, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read_pem(config.ca_file),
        private_key=read_pem(config.key_file),
        certificate_chain=read_pem(config.cert_file),
    )
    return grpc.secure_channel(endpoint.target, credentials, options=_OPTIONS)
