"""The driver's own table in Neutron's database.

``neutron-db-manage --subproject calico-openstack upgrade heads`` creates it.
"""
