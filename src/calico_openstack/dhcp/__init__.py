"""The DHCP agent: addresses, names and routes for the workloads of one host, by real dnsmasq.

The agent needs etcd and its own kernel, nothing else. Data goes one way::

    etcd: WorkloadEndpoints of this host, DHCP subnets  ┐
    kernel: TAP interfaces and their MTU                ┴─▶ inventory ─▶ desired (pure)
        ─▶ devices, dnsmasq's files and processes ─▶ differences, written

Map: `model` (terms), `reading` (etcd's values → terms; `port_options`, `option_codes` and
`option_values` for extra DHCP options, `names`), `inventory` (what is known, by network),
`desired` with `dhcp4`, `dhcp6` and `dns` (what one network needs), `dnsmasq` (its files' syntax);
these are pure. `rtnetlink` and `devices` (kernel), `renewals` (one nftables rule), `instances`
(files and processes), `agent` and `main` (wiring) are not.

How networks are served, and why
--------------------------------
*One device per network*, ``ns-`` and 11 characters of the network's id: an empty bridge (the kind
that every kernel offers) with the subnets' gateway addresses, which are the same on every host.
They are set without prefix route: workloads are reached by Felix's host routes only. dnsmasq
chooses subnets by the addresses of the interface on which it is asked; ``bridge-interface`` makes
a TAP count as the network's device. Subnets without a usable gateway are served too, through
``shared-network`` (IPv4) and the subnet-router anycast address (IPv6).

*dnsmasq processes per network and task*, so that networks are independent of each other: a crash,
a name or a change in one is not seen in another.

``dhcp4``  DHCPv4.
``dhcp6``  router advertisements and DHCPv6, where the network has IPv6 subnets.
``dns``    a name server on the gateway addresses, only where a subnet tells clients to use it.

One process for all networks would need fewer, but would have to put all prefixes into everybody's
router advertisements or list all TAPs of all networks anyway, could not tell two ports with one
MAC address apart, and would show each tenant the names of all others. One process per network
for both families fails on leases: see next.

*Leases are no source of truth.* The files that dnsmasq reads say which MAC address has which IP
address; the leases that it remembers may contradict them, and then dnsmasq believes its memory: it
refuses an address that moved to another MAC, or a DHCPv6 client that comes back with another DUID
(a rebuilt machine), and goes on renewing what was taken away. So ``dhcp6`` runs with room for no
lease at all (a RENEW is answered NoBinding, and the client asks anew, RFC 8415 section 18.4.1),
with the same server DUID on every host, and ``dhcp4``, which cannot work without, is replaced when
an assignment changes. No lease file is read or written; ``dhcp-authoritative`` confirms what the
files say to clients that dnsmasq never saw: after a restart, or a migration from another host.

*Make before break.* What dnsmasq cannot take up while it runs (interfaces, ranges) is in its
configuration, named by a hash of its content: a *generation*. When another generation is wanted it
is started first, and the old one ended when the new one is ready; sockets of both can coexist. Not
so with ``dns``, which listens on TCP too: there the old one ends first.
Names, gateways, routes and name servers are in files that dnsmasq reads again on SIGHUP.

*Renewals* are sent by unicast to UDP port 67, where the kernel hands each to one socket of many:
to a process that serves another network, more often than not. One nftables rule turns those
that come from TAPs into broadcasts, which all get, and all but the right one ignore.
(Measured: with two networks no renewal was answered before rebinding time; with the rule all.)

*dnsmasq outlives the agent.* Processes are detached, recorded in process-id files, adopted by the
next agent, restarted when they die, ended when their network has no port on this host. One that no
file remembers is known by its command, and ended by the next agent.

Router advertisements never claim a prefix to be on link: neighbours are reached through the host.
A subnet whose IPv6 modes are not set is served as DHCPv6 stateful, as nobody else would advertise
the router. Subnets shorter than /64 cannot be served by dnsmasq and are reported.
"""
