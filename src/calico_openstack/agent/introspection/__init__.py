"""Questions about the inside of a running agent, and the answers.

``protocol`` says what is asked and answered (pure). ``server`` answers on a socket of the host, in
the agent's own loop, so that a table is always one moment's. ``local`` asks there. ``relay`` runs
in one agent of each host and brings questions of other hosts, which come through etcd, to the
sockets.

The sockets are abstract (unix(7)): each network namespace, and so each host, has its own, and none
is left behind. They have no permissions; both sides look at the other's user instead.
"""
