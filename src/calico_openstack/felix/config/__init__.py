"""Felix's configuration: from file, environment and datastore to typed settings. Pure.

``settings`` is the table of parameters, ``kinds`` reads their values, ``resources`` converts what
the datastore holds, ``resolution`` puts the layers on top of each other:

default < FelixConfiguration ``default`` < one chosen by its selector < ``node.<host>`` < file <
environment < override.
"""

from calico_openstack.felix.config.kinds import FailsafePort, Rate
from calico_openstack.felix.config.resolution import (
    Finding,
    Resolution,
    Sources,
    absorbed,
    resolve,
    restart_needed,
)
from calico_openstack.felix.config.settings import PARAMETERS, FelixSettings

__all__ = [
    "PARAMETERS",
    "FailsafePort",
    "FelixSettings",
    "Finding",
    "Rate",
    "Resolution",
    "Sources",
    "absorbed",
    "resolve",
    "restart_needed",
]
