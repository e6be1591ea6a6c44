"""Asking agents: those of this host by their sockets, those of others through etcd."""

from __future__ import annotations

import difflib
import time
import uuid
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from calico_openstack.agent.introspection.local import ask_here
from calico_openstack.agent.introspection.protocol import (
    Answer,
    Question,
    answer_key,
    decoded_answer,
    request_key,
)
from calico_openstack.datamodel import FelixStatusKey, parse_key
from calico_openstack.datamodel.keys import FELIX_STATUS_PREFIX
from calico_openstack.etcd import EtcdClient, Put

PATIENCE: Final = 3.0
_POLL: Final = 0.03
# The lease outlives the wait a little, so that nothing is left behind whatever happens.
_LEASE: Final = 15  # seconds
# etcd takes 128 operations in a transaction.
_AT_ONCE: Final = 100

_NEAR: Final = 3

__all__ = ["PATIENCE", "ask_here", "ask_hosts", "living_hosts", "near_hosts"]


def ask_hosts(
    client: EtcdClient, questions: Sequence[tuple[str, Question]], patience: float = PATIENCE
) -> list[Answer]:
    """Ask hosts all *questions* at once; return the answers in their order.

    A question that is not answered within *patience* seconds has an answer that says so. Raises
    `EtcdError`.
    """
    if not questions:
        return []
    batch = uuid.uuid4().hex
    lease = client.lease_grant(_LEASE)
    found: dict[str, Answer] = {}
    try:
        waiting = {answer_key(f"{batch}.{number}") for number in range(len(questions))}
        asked = [
            Put(request_key(host, f"{batch}.{number}"), msgspec.json.encode(question), lease)
            for number, (host, question) in enumerate(questions)
        ]
        for start in range(0, len(asked), _AT_ONCE):
            client.txn([], asked[start : start + _AT_ONCE])
        deadline = time.monotonic() + patience
        while waiting and time.monotonic() < deadline:
            # Answers can be large: each is read once.
            there = client.get_prefix(answer_key(f"{batch}."), keys_only=True).kvs
            for kv in map(client.get, [each.key for each in there if each.key in waiting]):
                if kv is not None:
                    waiting.discard(kv.key)
                    found[kv.key] = decoded_answer(kv.value)
            if waiting:
                time.sleep(_POLL)
    finally:
        client.lease_revoke(lease)
    living = living_hosts(client) if waiting else []
    names = (answer_key(f"{batch}.{number}") for number in range(len(questions)))
    return [
        found.get(name) or Answer(error=_silence(host, living, patience))
        for name, (host, _) in zip(names, questions, strict=True)
    ]


def _silence(host: str, living: Collection[str], patience: float) -> str:
    """Return what to say of a host that did not answer."""
    if host in living:
        return (
            f"no answer within {patience:g} s, though its Felix gives signs of life: see "
            f"calicoctl doctor --node {host}, and on {host}: journalctl -u calico-felix"
        )
    near = near_hosts(host, living)
    meant = f" Did you mean {near}?" if near else ""
    return (
        f"no answer within {patience:g} s: is that the host's name, and is calico-felix running "
        f"there? See calicoctl doctor.{meant}"
    )


def near_hosts(name: str, known: Collection[str]) -> str:
    """Return the known hosts whose names are nearest to one that is not known, "" for none."""
    return " or ".join(difflib.get_close_matches(name, sorted(known), n=_NEAR))


def living_hosts(client: EtcdClient) -> list[str]:
    """Return the hosts whose Felix gives signs of life; raises `EtcdError`."""
    found = set()
    for page in client.iterate_prefix(FELIX_STATUS_PREFIX, keys_only=True):
        keys = (parse_key(kv.key) for kv in page.kvs)
        found |= {key.host for key in keys if isinstance(key, FelixStatusKey)}
    return sorted(found)
