"""Configuration that is kept in the datastore: Felix's parameters and facts of the cluster."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from calico_openstack.datamodel.resource import JsonObject, Resource

FELIX_CONFIG_ANNOTATION_PREFIX: Final = "config.projectcalico.org/"
GLOBAL_CONFIGURATION_NAME: Final = "default"
NODE_CONFIGURATION_PREFIX: Final = "node."


class FelixConfiguration(Resource, frozen=True, kw_only=True):
    """Felix's parameters for the cluster, for one host or for hosts that a selector chooses.

    ``spec`` stays a map from JSON member to JSON value: a bad value costs its parameter only, and
    a read-modify-write keeps members that this version does not know. Its values are judged
    where the parameters are defined.
    """

    KIND: ClassVar[str] = "FelixConfiguration"
    PLURAL: ClassVar[str] = "felixconfigurations"

    kind: str = KIND
    spec: dict[str, Any] = msgspec.field(default_factory=dict)


class ClusterInformationSpec(JsonObject, frozen=True, kw_only=True):
    """Facts of the cluster. ``cluster_type`` is a comma list; ``datastore_ready`` None is unset."""

    cluster_guid: str = msgspec.field(default="", name="clusterGUID")
    cluster_type: str = ""
    calico_version: str = ""
    datastore_ready: bool | None = None
    variant: str = ""


class ClusterInformation(Resource, frozen=True, kw_only=True):
    """Facts of the cluster; there is one, named ``default``."""

    KIND: ClassVar[str] = "ClusterInformation"
    PLURAL: ClassVar[str] = "clusterinformations"

    kind: str = KIND
    spec: ClusterInformationSpec = ClusterInformationSpec()
