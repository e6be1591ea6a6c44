"""What to try first in a lab with Nova: commands, each with what it is for. Pure."""

from calico_openstack.lab.nova.stock import FLAVOR, IMAGE

NETWORK, CIDR, GROUP, SERVER = "private", "10.65.0.0/24", "open", "vm1"


def first_steps(command: str, host: str) -> list[tuple[str, tuple[str, ...]]]:
    """Purposes and commands, given how to call `calico-lab`, and a host to migrate to."""
    client = f"{command} openstack"
    return [
        (
            "A network, and a security group that lets in pings and SSH",
            (
                f"{client} network create {NETWORK}",
                f"{client} subnet create --network {NETWORK} --subnet-range {CIDR} {NETWORK}",
                f"{client} security group create {GROUP}",
                f"{client} security group rule create --protocol icmp {GROUP}",
                f"{client} security group rule create --protocol tcp --dst-port 22 {GROUP}",
            ),
        ),
        (
            "A server; its console, with a line GUEST-METADATA once it has started",
            (
                f"{client} server create --image {IMAGE} --flavor {FLAVOR} --network {NETWORK} "
                f"--security-group {GROUP} --wait {SERVER}",
                f"{client} console log show {SERVER}",
            ),
        ),
        (
            "Its address, and a ping from the client outside of the cloud",
            (f"{command} status", f"{command} ping client ADDRESS"),
        ),
        (
            "A live migration, during which the pings go on",
            (f"{client} server migrate --live-migration --host {host} --wait {SERVER}",),
        ),
        (
            "The usual client by itself: a shell on the controller with the credentials",
            (
                f"{command} shell controller",
                f'eval "$({command} openrc)"',
                "openstack server list",
            ),
        ),
    ]
