"""The ends of a start: waiting for a ready datastore and usable settings, and cleaning up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from calico_openstack.agent.log import fields
from calico_openstack.datamodel.codec import decode_at
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey, parse_key
from calico_openstack.datamodel.resource import Resource
from calico_openstack.etcd import EtcdClient, EtcdError
from calico_openstack.felix.config import FelixSettings, Resolution
from calico_openstack.felix.kernel.leftovers import remove_leftovers
from calico_openstack.felix.parameters import ParameterSources

_log = logging.getLogger(__name__)

PAUSE: Final = 1.0


class UnusableConfiguration(Exception):  # noqa: N818
    """Settings with errors that must not be guessed around; the text names them all."""


def load(client: EtcdClient, sources: ParameterSources) -> int:
    """Read everything that settings are made from into *sources*; raises EtcdError.

    Returns the revision of the newest that was read.
    """
    revision = 0
    for prefix in sources.prefixes():
        snapshot = client.get_prefix(prefix)
        revision = max(revision, snapshot.revision)
        for kv in snapshot.kvs:
            key = parse_key(kv.key)
            if isinstance(key, ResourceKey):
                value = decode_at(kv.key, key, kv.value)
                known = value if isinstance(value, Resource | Invalid) else None
                sources.update(key, known)
    return revision


def wait_for_settings(
    client: EtcdClient,
    make_sources: Callable[[], ParameterSources],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[ParameterSources, FelixSettings, int]:
    """Try once a second until the datastore is there and declared ready; return what it says.

    The last is the revision as of which it says that. Raises UnusableConfiguration.
    """
    said = ""
    while True:
        sources = make_sources()
        try:
            revision = load(client, sources)
        except EtcdError as error:
            reason = str(error)
        else:
            if sources.datastore_ready:
                return sources, usable(sources.resolution()), revision
            reason = "ClusterInformation does not declare the datastore ready"
        if reason != said:
            _log.warning("Waiting for the datastore: %s", reason)
            said = reason
        sleep(PAUSE)


def usable(resolution: Resolution) -> FelixSettings:
    """Return the settings of a resolution without errors; raises UnusableConfiguration."""
    for finding in resolution.notices:
        _log.info("%s", finding)
    for finding in resolution.warnings:
        _log.warning("%s", finding)
    if resolution.errors:
        raise UnusableConfiguration("; ".join(map(str, resolution.errors)))
    return resolution.settings


def clean_up() -> None:
    """Take away what upstream's rules still do, now that ours are in force."""
    removed, problems = remove_leftovers()
    for what in removed:
        _log.warning("Removed what another Felix had left", extra=fields(what=what))
    for what in problems:
        _log.error("Cannot remove what another Felix has left", extra=fields(what=what))
