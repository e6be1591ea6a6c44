"""``doctor``: what is wrong with a cloud, and what to do about it.

``findings`` is the form in which everything is told. ``datastore``, ``objects`` and ``hosts`` judge
plain data: etcd itself, what is stored in it, and what the agents of a host answer. ``examination``
collects the data, and ``command`` is the command.
"""
