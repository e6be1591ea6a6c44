"""The key-value, transaction and lease operations of etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import grpc

from calico_openstack.etcd import forks
from calico_openstack.etcd.config import EtcdConfig
from calico_openstack.etcd.connection import (
    COMPACT,
    DELETE_RANGE,
    LEASE_GRANT,
    LEASE_KEEP_ALIVE,
    LEASE_REVOKE,
    PUT,
    RANGE,
    STATUS,
    TXN,
    Call,
    Metadata,
)
from calico_openstack.etcd.errors import EtcdError, EtcdUnavailable
from calico_openstack.etcd.pages import First, StoredPage, Walk
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.etcd.records import (
    Compare,
    Delete,
    KeyValue,
    Operation,
    Put,
    Snapshot,
    Status,
    TxnResult,
    key_value,
    operation_result,
    range_end,
    to_bytes,
    to_text,
    unchanged,
)
from calico_openstack.etcd.session import Attempt, Session

# Each page costs etcd a look at all keys of the part that it is asked for; larger ones cost memory.
PAGE_SIZE: Final = 2500


class EtcdClient:
    """A client of one cluster.

    Connects when first used, may be shared by threads, and may be created before a fork: every
    process makes its own connection. All methods raise `EtcdError` or a subclass.
    """

    def __init__(self, config: EtcdConfig) -> None:
        self.config = config
        self.session = Session(config)

    def __enter__(self) -> EtcdClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    # --- reading ------------------------------------------------------------------------------

    def get(self, key: str) -> KeyValue | None:
        """Return the key as the cluster has it now (a linearizable read), None if absent."""
        request = pb.RangeRequest(key=to_bytes(key))
        response = self.session.call(RANGE, request, repeatable=True)
        return key_value(response.kvs[0]) if response.kvs else None

    def get_prefix(
        self,
        prefix: str,
        *,
        revision: int = 0,
        page_size: int = PAGE_SIZE,
        keys_only: bool = False,
    ) -> Snapshot:
        """Return all keys that begin with *prefix*, as of one revision (0: the newest)."""
        pages = self.iterate_prefix(
            prefix, revision=revision, page_size=page_size, keys_only=keys_only
        )
        whole = next(pages)
        for page in pages:
            whole.kvs.extend(page.kvs)
        return whole

    def iterate_prefix(
        self,
        prefix: str,
        *,
        revision: int = 0,
        page_size: int = PAGE_SIZE,
        keys_only: bool = False,
    ) -> Iterator[Snapshot]:
        """Yield the keys that begin with *prefix* in pages, all as of one revision.

        At least one page is yielded. Raises EtcdCompacted when the revision vanishes in the middle.
        """
        for response in self.responses(
            prefix, revision=revision, page_size=page_size, keys_only=keys_only
        ):
            revision = revision or response.header.revision
            yield Snapshot(revision, [key_value(kv) for kv in response.kvs])

    def responses(
        self, prefix: str, *, revision: int, page_size: int = PAGE_SIZE, keys_only: bool = False
    ) -> Iterator[pb.RangeResponse]:
        """Yield what `iterate_prefix` does as it comes from etcd.

        The next page is requested before the current one is yielded, so that etcd works while the
        caller does.
        """
        request = pb.RangeRequest(
            key=to_bytes(prefix) or b"\0",
            range_end=range_end(prefix),
            limit=page_size,
            revision=revision,
            keys_only=keys_only,
        )
        for response, _ in self._pages(request):
            yield response

    def first(self, prefix: str) -> First:
        """Return the first key that begins with *prefix*, and how many there are."""
        request = pb.RangeRequest(
            key=to_bytes(prefix), range_end=range_end(prefix), limit=1, keys_only=True
        )
        response = self.session.call(RANGE, request, repeatable=True)
        key = to_text(response.kvs[0].key) if response.kvs else ""
        return First(key, response.count, response.header.revision)

    def stored_pages(
        self, start: bytes, end: bytes, *, revision: int, page_size: int
    ) -> Iterator[StoredPage]:
        """Yield the keys from *start* to before *end* as etcd sends them; see `responses`."""
        request = pb.RangeRequest(key=start, range_end=end, limit=page_size, revision=revision)
        for _, data in self._pages(request, unparsed=True):
            yield StoredPage(data)

    def _pages(
        self, request: pb.RangeRequest, *, unparsed: bool = False
    ) -> Iterator[tuple[pb.RangeResponse, bytes]]:
        """Yield the pages of a range, *unparsed* with the bytes that they came as."""
        walk = Walk(request.key, request.range_end)
        pending = _Ahead(self.session, request, unparsed=unparsed)
        while True:
            data = pending.unparsed() if unparsed else b""
            response = pb.RangeResponse.FromString(data) if unparsed else pending.result()
            goes_on = walk.follow(response)
            if goes_on:
                following = pb.RangeRequest()
                following.CopyFrom(request)
                following.key, following.range_end = walk.start, walk.end
                following.revision = request.revision or response.header.revision
                request = following
                pending = _Ahead(self.session, request, unparsed=unparsed)
            yield response, data
            if not goes_on:
                return

    # --- writing ------------------------------------------------------------------------------

    def put(self, key: str, value: bytes, lease: int = 0) -> int:
        """Write a key unconditionally; return the revision."""
        request = pb.PutRequest(key=to_bytes(key), value=value, lease=lease)
        return self.session.call(PUT, request, repeatable=False).header.revision

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it existed."""
        request = pb.DeleteRangeRequest(key=to_bytes(key))
        return self.session.call(DELETE_RANGE, request, repeatable=False).deleted > 0

    def delete_prefix(self, prefix: str) -> int:
        """Remove all keys that begin with *prefix*; return how many there were."""
        key = to_bytes(prefix) or b"\0"
        request = pb.DeleteRangeRequest(key=key, range_end=range_end(prefix))
        return self.session.call(DELETE_RANGE, request, repeatable=False).deleted

    def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResult:
        """Do *success* if all *compares* hold, else *failure*, atomically."""
        request = pb.TxnRequest(
            compare=[compare.message() for compare in compares],
            success=[operation.message() for operation in success],
            failure=[operation.message() for operation in failure],
        )
        response = self.session.call(TXN, request, repeatable=False)
        return TxnResult(
            response.succeeded,
            response.header.revision,
            tuple(operation_result(item) for item in response.responses),
        )

    def put_if_unchanged(
        self, key: str, value: bytes, mod_revision: int, lease: int = 0
    ) -> int | None:
        """Write a key if it still has *mod_revision* (0: if it does not exist).

        Returns the new revision, or None when somebody else was faster.
        """
        result = self.txn([unchanged(key, mod_revision)], [Put(key, value, lease)])
        return result.revision if result.succeeded else None

    def delete_if_unchanged(self, key: str, mod_revision: int) -> bool:
        """Remove a key if it still has *mod_revision*; return whether that was so."""
        return self.txn([unchanged(key, mod_revision)], [Delete(key)]).succeeded

    # --- leases -------------------------------------------------------------------------------

    def lease_grant(self, ttl: int) -> int:
        """Create a lease of *ttl* seconds; return its number."""
        response = self.session.call(
            LEASE_GRANT, pb.LeaseGrantRequest(TTL=ttl), repeatable=True
        )  # a lease that was granted twice expires by itself
        if response.error:
            raise EtcdError(response.error)
        return response.ID

    def lease_revoke(self, lease: int) -> None:
        """End a lease and remove its keys; a lease that is gone raises EtcdError."""
        self.session.call(LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease), repeatable=False)

    def lease_keep_alive(self, lease: int) -> int:
        """Renew a lease once; return its time to live in seconds, 0 when it is gone."""
        deadline = time.monotonic() + self.config.timeout
        attempt = Attempt(self.session, deadline, repeatable=True)
        request = pb.LeaseKeepAliveRequest(ID=lease)
        while True:
            with attempt.connection() as connection:
                metadata: Metadata = ()
                try:
                    with forks.gate:
                        left = attempt.timeout()
                        metadata = self.session.metadata(connection, left)
                        stream = connection.stream(
                            LEASE_KEEP_ALIVE,
                            iter([request]),
                            pb.LeaseKeepAliveResponse,
                            timeout=left,
                            metadata=metadata,
                        )
                        return next(iter(stream)).TTL
                except grpc.RpcError as error:
                    attempt.failed(error, connection, metadata)

    # --- the cluster --------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what the member that we are connected to says about itself."""
        response = self.session.call(STATUS, pb.StatusRequest(), repeatable=True)
        return Status(
            cluster_id=response.header.cluster_id,
            member_id=response.header.member_id,
            version=response.version,
            db_size=response.db_size,
            leader=response.leader,
            revision=response.header.revision,
            raft_term=response.raft_term,
            raft_applied_index=response.raft_applied_index,
            errors=tuple(response.errors),
            db_size_in_use=response.db_size_in_use,
            db_size_quota=response.db_size_quota,
        )

    def compact(self, revision: int) -> None:
        """Forget the history before *revision*."""
        self.session.call(COMPACT, pb.CompactionRequest(revision=revision), repeatable=False)


class _Ahead:
    """A read that is sent at once and waited for later; falls back to an ordinary, repeated call.

    It stays a user of the connection until the response is there. *unparsed*: the response stays
    as it comes.
    """

    def __init__(
        self, session: Session, request: pb.RangeRequest, *, unparsed: bool = False
    ) -> None:
        self._session = session
        self._request = request
        self._call: Call[pb.RangeResponse | bytes] | None = None
        timeout = session.config.timeout
        try:
            self._connection = session.connection(time.monotonic() + timeout)
        except EtcdUnavailable:
            return
        try:
            metadata = session.metadata(self._connection, timeout)
            start = self._connection.start_unparsed if unparsed else self._connection.start
            self._call = start(RANGE, request, timeout=timeout, metadata=metadata)
        except grpc.RpcError:
            self._connection.__exit__()

    def result(self) -> pb.RangeResponse:
        """Wait for the response; raises EtcdError."""
        found = self._answer()
        return pb.RangeResponse.FromString(found) if isinstance(found, bytes) else found

    def unparsed(self) -> bytes:
        """Wait for the response as bytes; raises EtcdError."""
        found = self._answer()
        return found if isinstance(found, bytes) else found.SerializeToString()

    def _answer(self) -> pb.RangeResponse | bytes:
        if self._call is not None:
            try:
                return self._call.result()
            except (grpc.RpcError, grpc.FutureCancelledError):
                pass  # judged, and repeated where that helps, by the ordinary call below
            finally:
                self._connection.__exit__()
        return self._session.call(RANGE, self._request, repeatable=True)
