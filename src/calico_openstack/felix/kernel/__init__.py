"""Drivers for the kernel: netlink sockets, batches, notifications."""
