"""What happens to a request while etcd does not work.

What it should have written waits in the `journal`. What it should have read for the sake of a
status is read again by the status worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oslo_log import log

from calico_openstack.etcd import EtcdError

LOG = log.getLogger(__name__)


@contextmanager
def without_etcd(subject: str) -> Iterator[None]:
    """Log that ``subject`` could not be looked at instead of raising `EtcdError`."""
    try:
        yield
    except EtcdError as error:
        LOG.error("Without etcd nothing is known of %s for now: %s", subject, error)
