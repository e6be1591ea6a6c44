"""The lab's etcd: how it is started, asked and filled."""

from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.namespaces import inside, inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

PORT = 2379


def endpoint(topology: Topology) -> str:
    """Where agents and Neutron find etcd."""
    return f"http://{topology.controller.ipv4}:{PORT}"


def process(lab: Lab, topology: Topology) -> ProcessSpec:
    """etcd on the controller. Its data need not survive the machine, hence no fsync."""
    url = endpoint(topology)
    folder = lab.host_folder("controller") / "etcd"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [
        "etcd",
        "--name=lab",
        f"--data-dir={folder}",
        f"--listen-client-urls={url},http://127.0.0.1:{PORT}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=lab=http://127.0.0.1:2380",
        # etcd 3.4 ends in silence with other log settings than this pair.
        "--logger=zap",
        "--log-outputs=stderr",
        "--unsafe-no-fsync",
    ]
    return ProcessSpec(
        name="etcd",
        host="controller",
        argv=tuple(inside_host(lab.namespace("controller"), "controller", command)),
        log=str(lab.log_file("etcd")),
    )


def etcdctl(lab: Lab, *arguments: str, stdin: str | None = None) -> str:
    """Run etcdctl against the lab's etcd. Raises CommandError."""
    command = ["env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=5s", *arguments]
    return run(inside(lab.namespace("controller"), command), stdin=stdin, timeout=20.0)


def is_healthy(lab: Lab) -> bool:
    """Whether etcd answers reads and writes."""
    try:
        etcdctl(lab, "endpoint", "health")
    except CommandError:
        return False
    return True


def put(lab: Lab, key: str, value: bytes) -> None:
    """Store one value. Raises CommandError."""
    etcdctl(lab, "put", key, stdin=value.decode())


def get(lab: Lab, key: str) -> bytes:
    """Read one value, empty if there is none. Raises CommandError."""
    return etcdctl(lab, "get", key, "--print-value-only").encode()


def delete(lab: Lab, key: str) -> None:
    """Remove one value. Raises CommandError."""
    etcdctl(lab, "del", key)


def keys(lab: Lab, prefix: str) -> list[str]:
    """All keys below a prefix. Raises CommandError."""
    return etcdctl(lab, "get", prefix, "--prefix", "--keys-only").split()
