"""Drivers that make the kernel what `felix.render` wants, over netlink sockets of our own.

`dataplane` is the front: it takes a `DesiredDataplane` with what changed in it and calls the
drivers in the right order. Every driver works on what it knows of the kernel and writes
differences only; notifications and a slow audit keep that knowledge true. Sockets belong to the
network namespace of the thread that makes the `Dataplane`.

How the parts fit:

- `netlink`: the wire format and the socket. `batch`: many rtnetlink requests at once.
- nftables: `nft_driver` holds an image of each table and runs transactions. `nft_plan` compares
  wanted and present, `nft_transaction` orders the requests and finds who is meant by a refusal,
  `nft_closed` says what replaces a refused chain, `affected` which interfaces suffer from it.
  `nft_expressions` (with `nft_bytecode`, `nft_fields` and `nft_nat`), `nft_sets` and
  `nft_messages` encode, `nft_dump` reads back, `nft_monitor` hears of foreign changes,
  `nft_constants` has the kernel's numbers.
- `interfaces` knows the host's interfaces; `routes` and `neighbours` write what belongs on them, in
  the form of `rtnetlink`; `sysctls` sets kernel parameters.
- `qdiscs` limits the bandwidth of interfaces, in the form of `traffic_control`.
- `announcements` hears that a workload has arrived, through a filter in the form of `bpf`.
- `conntrack` lists and ends flows, searching as `conntrack_filter` says; `departures` remembers
  which addresses left or lead elsewhere.
- `leftovers` removes what upstream's iptables mode has left.

What holds, whatever happens: everything of ours is recognised after a restart (by table, by hash in
a rule's comment, by protocol and interface of a route); a second apply writes nothing; what the
kernel refuses costs only itself, closed, and is reported; nothing that is not ours is touched.
"""
