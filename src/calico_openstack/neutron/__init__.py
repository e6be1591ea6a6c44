"""The Neutron side: the ML2 mechanism driver ``calico``, its service plugin and workers.

Data flow::

    API request ─ in its transaction ─▶ journal: what has changed
        ─ after the commit ─▶ changes, sync: read etcd, read the database, translate, compare and
                              swap ─▶ etcd
    etcd: Felix's status ─ watch ─▶ status_service: compare with the database ─▶ agents, ports
    journal_service: what requests have left ─▶ sync
    resync: compare everything, hand what differs to sync

======================  ====================================================================
``driver``              ML2's hooks: which objects have changed
``groups``              callbacks for security groups and address groups
``floating_ips``        callbacks for floating IPs; ``router_plugin`` offers them
``qos_driver``          callbacks for QoS policies, and which rules are supported
``log_driver``          callbacks for network logs
``refusals``            what other service plugins offer and routed ports cannot have
``telling``             what stays closed, for operators, in ports' bindings
``inactive_bindings``   bindings on hosts that a port may migrate to
``journal``             what has changed, in a table of ``models`` (created by ``migration``)
``changes``             which objects a change concerns; ``records`` are the table's rows
``transaction``         acts after the commit, whoever opened the transaction
``binding``             whether and how a port is plugged into a host (pure)
``translate``           Neutron's objects as resources of the data model (pure)
``reading``             the facts for it, from the database (and ``reading_ports``,
                        ``reading_parts``, ``reading_qos``, ``reading_logs``, ``queries``)
``sync``                makes keys in etcd equal to the translation
``failures``            what happens while etcd does not work
``resync``              compares everything or a part (``resync_report``); ``resync_service`` and
                        ``resync_command`` decide when
``status``              what reports mean for ports (pure)
``status_service``      the threads; ``status_database`` reads and writes Neutron's tables;
                        ``status_metrics`` tells how it goes
``provisioning``        how a port becomes ACTIVE, and what Nova hears
``segments``            tells Neutron that every host reaches every segment
``projects``            names of projects, from Keystone
``compaction``          lets etcd forget old revisions
``markers``             the driver's own keys in etcd
``background``          a thread that works from a worker's start to its end
``workers``             the processes of ``neutron-periodic-workers``
``options``             the ``[calico]`` section; ``upgrade_checks`` looks at it
======================  ====================================================================

What holds everywhere:

* An event only says which object to look at. What is written follows from the database as it
  is after the event, so that events may come twice, late, out of order, or not at all until the
  next resynchronisation.
* That an object must be looked at is committed together with its change.
* A key is only written if it has not changed since it was read, and it was read before the
  database: of two writers, the one that has read older data does not win.
* What waits is written together, from one snapshot of the database: see `sync`.
* The database is read with an administrator's rights in a session of its own.
* Nothing is written that is stored already.
* No module starts a thread or opens a connection when it is imported, and the API processes
  never do anything beside requests.
"""
