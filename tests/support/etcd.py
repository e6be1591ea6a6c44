"""Real etcd servers for tests, on ephemeral loopback ports with their own directories."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from calico_openstack.etcd import EtcdClient, EtcdConfig
from tests.support.processes import Process, free_port


@cache
def _unsafe_no_fsync() -> tuple[str, ...]:
    """Durability is not tested and costs most of the time; older servers lack the option."""
    help_text = subprocess.run(["etcd", "--help"], capture_output=True, text=True, check=False)
    known = "unsafe-no-fsync" in help_text.stdout + help_text.stderr
    return ("--unsafe-no-fsync",) if known else ()


@dataclass
class EtcdServer:
    """One member; *options* are appended to its command line."""

    directory: Path
    name: str = "single"
    scheme: str = "http"
    options: Sequence[str] = ()
    client_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    initial_cluster: str = ""
    process: Process | None = None

    @property
    def endpoint(self) -> str:
        """The URL for clients."""
        return f"{self.scheme}://127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """The URL for other members."""
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self, *, wait: bool = True) -> EtcdServer:
        """Start the server, with the data it has; return self."""
        self.directory.mkdir(parents=True, exist_ok=True)
        cluster = self.initial_cluster or f"{self.name}={self.peer_url}"
        self.process = Process(
            [
                "etcd",
                f"--name={self.name}",
                f"--data-dir={self.directory / 'data'}",
                # Without a log file of its own, etcd 3.4 with zap logging exits silently.
                "--logger=zap",
                f"--log-outputs={self.directory / 'etcd.log'}",
                f"--listen-client-urls={self.endpoint}",
                f"--advertise-client-urls={self.endpoint}",
                f"--listen-peer-urls={self.peer_url}",
                f"--initial-advertise-peer-urls={self.peer_url}",
                f"--initial-cluster={cluster}",
                *_unsafe_no_fsync(),
                *self.options,
            ],
            log=self.directory / "output.log",
            environment={k: v for k, v in os.environ.items() if not k.startswith("ETCD_")},
        )
        if wait:
            self.process.wait_for_port(self.client_port)
        return self

    def kill(self) -> None:
        """End the server by SIGKILL."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        """End the server if it runs."""
        if self.process is not None:
            self.process.kill()

    def forget(self) -> None:
        """Remove the data of a stopped server."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def config(self, timeout: float = 10.0) -> EtcdConfig:
        """Return the parameters to reach this server."""
        return EtcdConfig(endpoints=(self.endpoint,), timeout=timeout)

    def client(self, timeout: float = 10.0) -> EtcdClient:
        """Return a client of this server; the caller closes it."""
        return EtcdClient(self.config(timeout))

    def etcdctl(self, *arguments: str) -> str:
        """Run etcd's own tool against this server; return its output."""
        result = subprocess.run(
            ["etcdctl", f"--endpoints={self.endpoint}", *arguments],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout
