"""Neutron's objects as resources of the data model. Pure.

`facts`     what is known about Neutron's objects
`labels`    labels and annotations of endpoints
`endpoint`  a port becomes workload endpoints
`policy`    a security group becomes a network policy
`protocol`  Neutron's protocol names
`subnet`    a subnet becomes a DHCP subnet
`logs`      network logs become Log rules
`cluster`   what the driver provides once for the cluster

The results depend on nothing but the facts and come in a defined order, so that writing them
again changes nothing. What cannot be honoured stays closed and is returned as a `Problem`.
"""
