"""Netlink, for every agent that asks or programs the kernel.

``protocol`` has the wire format and the socket, ``rtnetlink`` links, addresses, routes and
neighbours, ``batch`` many requests at once, ``bpf`` the filters of what sockets receive. Nothing
here knows what the agents want of the kernel.
"""
