"""What is read from etcd and what a transaction consists of.

Keys are text. etcd's keys are bytes; those that are not UTF-8 survive both ways as surrogate
escapes (PEP 383), so that garbage can be seen, reported and deleted.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from calico_openstack.etcd.proto import etcd_pb2 as pb


def to_bytes(key: str) -> bytes:
    """Return the key as etcd stores it."""
    return key.encode("utf-8", "surrogateescape")


def to_text(key: bytes) -> str:
    """Return the key as text."""
    return key.decode("utf-8", "surrogateescape")


EVERYTHING: Final = b"\0"
"""etcd's spelling of "to the end of all keys"."""


def range_end(prefix: str) -> bytes:
    """Return the end of the range of keys that begin with *prefix* (not included in the range)."""
    return end_of(to_bytes(prefix))


def end_of(prefix: bytes) -> bytes:
    """Do what `range_end` does, given bytes."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else EVERYTHING


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """A key as stored; *lease* is 0 when the key belongs to none."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int = 0
    lease: int = 0


def key_value(message: pb.KeyValue) -> KeyValue:
    """Convert from the wire."""
    return KeyValue(
        to_text(message.key),
        message.value,
        message.mod_revision,
        message.create_revision,
        message.lease,
    )


class Snapshot(Struct, frozen=True):
    """Keys as they were at *revision*: a whole prefix or one page of it, in key order."""

    revision: int
    kvs: list[KeyValue]


class Compare(Struct, frozen=True):
    """A condition of a transaction on one key.

    *target* "value" takes bytes, all others integers. A missing key has the mod and create
    revision, version and lease 0; comparing its value is never true.
    """

    key: str
    target: Literal["mod", "create", "version", "value", "lease"]
    operator: Literal["=", "!=", "<", ">"]
    operand: int | bytes

    def message(self) -> pb.Compare:
        """Convert for the wire; raise ValueError when operand and target do not fit."""
        result = {
            "=": pb.Compare.EQUAL,
            "!=": pb.Compare.NOT_EQUAL,
            "<": pb.Compare.LESS,
            ">": pb.Compare.GREATER,
        }[self.operator]
        key = to_bytes(self.key)
        if self.target == "value":
            if not isinstance(self.operand, bytes):
                raise ValueError("a value is compared with bytes")
            return pb.Compare(result=result, target=pb.Compare.VALUE, key=key, value=self.operand)
        if not isinstance(self.operand, int):
            raise ValueError(f"{self.target} is compared with an integer")
        number = self.operand
        match self.target:
            case "mod":
                target = pb.Compare.MOD
                return pb.Compare(result=result, target=target, key=key, mod_revision=number)
            case "create":
                target = pb.Compare.CREATE
                return pb.Compare(result=result, target=target, key=key, create_revision=number)
            case "version":
                target = pb.Compare.VERSION
                return pb.Compare(result=result, target=target, key=key, version=number)
            case "lease":
                return pb.Compare(result=result, target=pb.Compare.LEASE, key=key, lease=number)


def unchanged(key: str, mod_revision: int) -> Compare:
    """Return the condition that *key* still has *mod_revision*; 0 means that it does not exist."""
    return Compare(key, "mod", "=", mod_revision)


class Get(Struct, frozen=True):
    """Operation: read a key. Its response is a tuple of zero or one `KeyValue`."""

    key: str

    def message(self) -> pb.RequestOp:
        """Convert for the wire."""
        return pb.RequestOp(request_range=pb.RangeRequest(key=to_bytes(self.key)))


class Put(Struct, frozen=True):
    """Operation: write a key. Its response is the transaction's revision."""

    key: str
    value: bytes
    lease: int = 0

    def message(self) -> pb.RequestOp:
        """Convert for the wire."""
        request = pb.PutRequest(key=to_bytes(self.key), value=self.value, lease=self.lease)
        return pb.RequestOp(request_put=request)


class Delete(Struct, frozen=True):
    """Operation: remove a key. Its response is the number of keys removed."""

    key: str

    def message(self) -> pb.RequestOp:
        """Convert for the wire."""
        return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=to_bytes(self.key)))


Operation = Get | Put | Delete
OperationResult = tuple[KeyValue, ...] | int


class TxnResult(Struct, frozen=True):
    """Whether all conditions held, and the results of the operations of the branch taken."""

    succeeded: bool
    revision: int
    responses: tuple[OperationResult, ...]


def operation_result(message: pb.ResponseOp) -> OperationResult:
    """Convert from the wire."""
    match message.WhichOneof("response"):
        case "response_range":
            return tuple(key_value(kv) for kv in message.response_range.kvs)
        case "response_put":
            return message.response_put.header.revision
        case _:
            return message.response_delete_range.deleted


class Status(msgspec.Struct, frozen=True):
    """A member's answer about itself.

    *errors* are what ails it, alarms among them (``alarm:NOSPACE``). Sizes are in bytes;
    *db_size_quota* is told since etcd 3.6, 0 before.
    """

    cluster_id: int
    member_id: int
    version: str
    db_size: int
    leader: int
    revision: int
    raft_term: int
    raft_applied_index: int
    errors: tuple[str, ...] = ()
    db_size_in_use: int = 0
    db_size_quota: int = 0
