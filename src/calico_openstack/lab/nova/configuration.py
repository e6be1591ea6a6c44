"""The configuration of Keystone, Placement, Glance and Nova, as texts. Pure.

Everything here is a function from `NovaCloud` to text; nothing is read or written. What an
installation guide says is not repeated; choices that are not obvious:

* Every service has one process, since the lab is small.
* Nova's disks lie in a folder of each host, which all see under one name, as Nova wants it: live
  migration copies disks and memory, as libvirt does not move to a disk that is the same by a
  local file system.
* Nova's metadata service runs on each compute host, where Felix sends what workloads ask
  169.254.169.254. It knows an instance by the address from which it is asked.
* `nova-compute` runs as root, hence no rootwrap, and privsep's helper without sudo.
"""

from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab.ini import sections
from calico_openstack.lab.keystone_access import KeystoneAccess
from calico_openstack.lab.mariadb import database_url

DATABASES = ("keystone", "placement", "glance", "nova_api", "nova", "nova_cell0")

_PRIVSEP_SECTIONS = (
    "privsep",
    "nova_sys_admin",
    "privsep_osbrick",
    "vif_plug_linux_bridge_privileged",
    "vif_plug_ovs_privileged",
)
Sections = dict[str, dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class NovaCloud:
    """What the services of one cloud have in common.

    `folder` is the controller's; `instances` is where each compute host sees its own folder of
    disks; `prefix` is the Python environment; `virtual_type` is libvirt's ("qemu" or "kvm").
    """

    prefix: Path
    folder: Path
    instances: Path
    database_socket: Path
    keystone: KeystoneAccess
    message_bus: str
    virtual_type: str = "qemu"

    def configuration_folder(self, service: str) -> Path:
        """Where the configuration of a service of the controller is."""
        return self.folder / service

    def database(self, name: str) -> str:
        """SQLAlchemy's address of a database."""
        return database_url(self.database_socket, name)


@dataclass(frozen=True, kw_only=True)
class ComputeNode:
    """A compute host: its name, its address, its folder, and libvirt's socket on it."""

    name: str
    address: str
    folder: Path
    libvirt_socket: Path


def keystone_conf(cloud: NovaCloud) -> str:
    """The text of `keystone.conf`. Passwords are hashed as cheaply as bcrypt allows."""
    folder = cloud.configuration_folder("keystone")
    return sections(
        {
            "DEFAULT": {"use_stderr": True},
            "database": {"connection": cloud.database("keystone")},
            "token": {"provider": "fernet", "expiration": 86400},
            "fernet_tokens": {"key_repository": folder / "fernet-keys"},
            "fernet_receipts": {"key_repository": folder / "fernet-keys"},
            "credential": {"key_repository": folder / "credential-keys"},
            "identity": {"password_hash_rounds": 4},
            "oslo_concurrency": {"lock_path": folder / "lock"},
        }
    )


def placement_conf(cloud: NovaCloud) -> str:
    """The text of `placement.conf`."""
    return sections(
        {
            "DEFAULT": {"use_stderr": True},
            "api": {"auth_strategy": "keystone"},
            "placement_database": {"connection": cloud.database("placement")},
            "keystone_authtoken": cloud.keystone.validation("placement"),
        }
    )


def glance_conf(cloud: NovaCloud) -> str:
    """The text of `glance-api.conf`."""
    folder = cloud.configuration_folder("glance")
    stores = {
        "fs": "images",
        "os_glance_staging_store": "staging",
        "os_glance_tasks_store": "tasks",
    }
    content: Sections = {
        "DEFAULT": {"use_stderr": True, "enabled_backends": "fs:file", "workers": 1},
        "database": {"connection": cloud.database("glance")},
        "glance_store": {"default_backend": "fs"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": cloud.prefix / "etc/glance/glance-api-paste.ini",
        },
        "oslo_concurrency": {"lock_path": folder / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "keystone_authtoken": cloud.keystone.validation("glance"),
    }
    for name, store in stores.items():
        content[name] = {"filesystem_store_datadir": folder / store}
    return sections(content)


def nova_conf(cloud: NovaCloud) -> str:
    """The text of `nova.conf` for the API, the conductor, the scheduler and `nova-manage`."""
    folder = cloud.configuration_folder("nova")
    return sections(
        {
            **_common(cloud, folder, "controller"),
            **_databases(cloud),
            "conductor": {"workers": 1},
            "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2},
            "wsgi": {"api_paste_config": cloud.prefix / "etc/nova/api-paste.ini"},
            "filter_scheduler": {"track_instance_changes": False},
        }
    )


def metadata_conf(cloud: NovaCloud, node: ComputeNode) -> str:
    """The text of `nova.conf` for the metadata service of a compute host."""
    return sections({**_common(cloud, node.folder, node.name), **_databases(cloud)})


def compute_conf(cloud: NovaCloud, node: ComputeNode) -> str:
    """The text of `nova.conf` for `nova-compute`, which reaches no database."""
    common = _common(cloud, node.folder, node.name)
    common["DEFAULT"].update(
        {
            "my_ip": node.address,
            "compute_driver": "libvirt.LibvirtDriver",
            "instances_path": cloud.instances,
            # The port is ACTIVE when the kernel is programmed: the guest waits for that.
            "vif_plugging_is_fatal": True,
            "vif_plugging_timeout": 300,
            "reserved_host_memory_mb": 0,
            "ram_allocation_ratio": 16.0,
            "cpu_allocation_ratio": 32.0,
        }
    )
    helper = f"{cloud.prefix}/bin/privsep-helper --config-file {node.folder / 'nova.conf'}"
    return sections(
        {
            **common,
            "libvirt": {
                "virt_type": cloud.virtual_type,
                "cpu_mode": "none" if cloud.virtual_type == "qemu" else "host-model",
                "hw_machine_type": "x86_64=q35",
                "num_pcie_ports": 12,
                "connection_uri": f"qemu+unix:///system?socket={node.libvirt_socket}",
                "live_migration_scheme": "tcp",
                "live_migration_inbound_addr": node.address,
                **({"tb_cache_size": 32} if cloud.virtual_type == "qemu" else {}),
            },
            # A kernel begins like a disk with a boot sector. On a migration's target Nova compares
            # that with the image's format, and refuses what it took when the server was created.
            "workarounds": {"disable_deep_image_inspection": True},
            **{name: {"helper_command": helper} for name in _PRIVSEP_SECTIONS},
        }
    )


def _common(cloud: NovaCloud, folder: Path, host: str) -> Sections:
    return {
        "DEFAULT": {
            "host": host,
            "use_stderr": True,
            "state_path": folder,
            "transport_url": cloud.message_bus,
            # A loaded machine is slow, not wrong.
            "rpc_response_timeout": 180,
            "use_rootwrap_daemon": False,
        },
        "api": {"auth_strategy": "keystone"},
        "glance": cloud.keystone.client("nova"),
        "neutron": {**cloud.keystone.client("nova"), "service_metadata_proxy": False},
        "placement": cloud.keystone.client("placement"),
        "service_user": {**cloud.keystone.credentials("nova"), "send_service_user_token": True},
        "keystone_authtoken": cloud.keystone.validation("nova"),
        "oslo_concurrency": {"lock_path": folder / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "vnc": {"enabled": False},
    }


def _databases(cloud: NovaCloud) -> Sections:
    return {
        "api_database": {"connection": cloud.database("nova_api")},
        "database": {"connection": cloud.database("nova")},
    }
