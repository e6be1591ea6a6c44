"""The Neutron side: the ML2 mechanism driver ``calico`` and its workers.

Data flow::

    API request ─ commit ─ driver, groups ─▶ sync: read etcd, read database, translate, compare
                                             and swap ─▶ etcd
    etcd: Felix's status ─ watch ─▶ status_service: compare with the database ─▶ agents, ports
    resync: compare everything, hand what differs to sync

=====================  =====================================================================
``driver``             ML2's hooks: which objects to synchronise
``groups``             callbacks for security groups and address groups
``transaction``        acts after the commit, whoever opened the transaction
``binding``            whether and how a port is plugged into a host (pure)
``translate``          Neutron's objects as resources of the data model (pure)
``reading``            the facts for it, from the database
``sync``               makes keys in etcd equal to the translation
``failures``           what happens while etcd does not work
``resync``             compares everything; ``resync_service`` decides when
``status``             what reports mean for ports (pure)
``status_service``     the threads; ``status_database`` reads and writes Neutron's tables
``provisioning``       how a port becomes ACTIVE
``workers``            the processes of ``neutron-periodic-workers``
``options``            the ``[calico]`` section
=====================  =====================================================================

What holds everywhere:

* An event only says which object to look at. What is written follows from the database as it
  is after the event, so that events may come twice, late, out of order, or not at all until the
  next resynchronisation.
* A key is only written if it has not changed since it was read, and it was read before the
  database: of two writers, the one that has read older data does not win.
* The database is read with an administrator's rights in a session of its own.
* Nothing is written that is stored already.
* No module starts a thread or opens a connection when it is imported, and the API processes
  never do anything beside requests.
"""
