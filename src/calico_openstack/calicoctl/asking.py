"""Asking agents: those of this host by their sockets, those of others through etcd."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
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
from calico_openstack.etcd import EtcdClient

PATIENCE: Final = 3.0
_POLL: Final = 0.03
# The lease outlives the wait a little, so that nothing is left behind whatever happens.
_LEASE: Final = 15  # seconds

__all__ = ["PATIENCE", "ask_here", "ask_hosts"]


def ask_hosts(
    client: EtcdClient, questions: Mapping[str, Question], patience: float = PATIENCE
) -> dict[str, Answer]:
    """Ask several hosts at once, by name; who does not answer within *patience* seconds has an
    answer that says so. Raises `EtcdError`."""
    if not questions:
        return {}
    batch = uuid.uuid4().hex
    lease = client.lease_grant(_LEASE)
    try:
        waiting = {answer_key(f"{batch}.{host}"): host for host in questions}
        for host, question in questions.items():
            value = msgspec.json.encode(question)
            client.put(request_key(host, f"{batch}.{host}"), value, lease)
        found: dict[str, Answer] = {}
        deadline = time.monotonic() + patience
        while waiting and time.monotonic() < deadline:
            for kv in client.get_prefix(answer_key(f"{batch}.")).kvs:
                if (host := waiting.pop(kv.key, "")) != "":
                    found[host] = decoded_answer(kv.value)
            if waiting:
                time.sleep(_POLL)
    finally:
        client.lease_revoke(lease)
    silent = Answer(error=f"no answer within {patience:g} s: is calico-felix running there?")
    return {host: found.get(host, silent) for host in questions}
