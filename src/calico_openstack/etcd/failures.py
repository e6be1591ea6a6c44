"""What a failed call means: pure judgement of gRPC's status and etcd's text.

The texts are those of etcd's rpctypes package; they are part of its public interface, since the
status code alone does not tell the cases apart.
"""

from __future__ import annotations

from enum import Enum, auto

import grpc

from calico_openstack.etcd.errors import (
    EtcdAuthError,
    EtcdCompacted,
    EtcdError,
    EtcdUnavailable,
)


class Failure(Enum):
    """What to do about a failed call."""

    TOKEN = auto()  # not executed: the token is missing, expired or outdated
    NOT_EXECUTED = auto()  # certainly not executed: safe to repeat elsewhere
    UNAVAILABLE = auto()  # may have been executed: only reads are safe to repeat
    REFUSED = auto()  # repeating is useless


_TOKEN_TEXTS = (
    "invalid auth token",
    "user name is empty",
    "revision of auth store is old",
)
_NOT_EXECUTED_TEXTS = (
    "etcdserver: no leader",
    "etcdserver: not capable",
    "etcdserver: too many requests",
    "failed to connect to all addresses",
)
_UNAVAILABLE_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_AUTH_CODES = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_AUTH_TEXTS = ("invalid user ID or password", "user name is empty", "permission denied")


def classify(code: grpc.StatusCode, details: str) -> Failure:
    """Judge a failed call."""
    if any(text in details for text in _TOKEN_TEXTS):
        return Failure.TOKEN
    if any(text in details for text in _NOT_EXECUTED_TEXTS):
        return Failure.NOT_EXECUTED
    if code in _UNAVAILABLE_CODES:
        return Failure.UNAVAILABLE
    return Failure.REFUSED


def to_error(code: grpc.StatusCode, details: str, where: str) -> EtcdError:
    """Return the exception for a failed call that is not repeated."""
    text = f"{where}: {details or code.name}"
    if code in _AUTH_CODES or any(known in details for known in _AUTH_TEXTS):
        return EtcdAuthError(text)
    if code is grpc.StatusCode.OUT_OF_RANGE and "compacted" in details:
        return EtcdCompacted(text)
    if classify(code, details) in (Failure.UNAVAILABLE, Failure.NOT_EXECUTED):
        return EtcdUnavailable(text)
    return EtcdError(text)


def code_and_details(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return what a call that raised says about itself."""
    if isinstance(error, grpc.Call):
        return error.code() or grpc.StatusCode.UNKNOWN, error.details() or ""
    return grpc.StatusCode.UNKNOWN, str(error)
