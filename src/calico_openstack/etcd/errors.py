"""What can go wrong when talking to etcd."""

from __future__ import annotations


class EtcdError(Exception):
    """etcd refused a request; the text is etcd's own."""


class EtcdUnavailable(EtcdError):  # noqa: N818  (the name says the condition, as TimeoutError does)
    """No endpoint answered in time, or the cluster had no leader.

    A write that ends like this may or may not have happened: read again before repeating it.
    """


class EtcdAuthError(EtcdError):
    """Wrong user or password, or no permission for the key."""


class EtcdCompacted(EtcdError):  # noqa: N818
    """The requested revision is no longer kept."""
