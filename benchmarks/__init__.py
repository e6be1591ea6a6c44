"""Benchmarks: what the product costs, beside what etcd and the kernel cost alone."""
