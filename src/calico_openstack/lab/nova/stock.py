"""What the cloud begins with: the image of the lab's guest, and a flavor for it."""

from calico_openstack.lab.nova import catalogue, guest
from calico_openstack.lab.nova.catalogue import GLANCE, NOVA
from calico_openstack.lab.rest import Resource, RestApi
from calico_openstack.lab.settings import Lab

IMAGE = "guest"
FLAVOR = "small"
MEMORY_MIB = 160
# A memory disk is all that the guest uses; Nova wants a disk to start from.
_DISK = bytes(1 << 20)
_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off tsc=reliable no_timer_check"
)


def create(lab: Lab, token: str) -> None:
    """Make the image and the flavor, unless they are there. Raises RestError or CommandError."""
    images, compute = (
        RestApi(name, catalogue.socket(lab, service), {"X-Auth-Token": token})
        for name, service in (("Glance", GLANCE), ("Nova", NOVA))
    )
    if not images.request("GET", f"/v2/images?name={IMAGE}")["images"]:
        _create_images(lab, images)
    flavors = compute.request("GET", "/v2.1/flavors")["flavors"]
    if FLAVOR not in {flavor["name"] for flavor in flavors}:
        size = {"name": FLAVOR, "ram": MEMORY_MIB, "vcpus": 1, "disk": 1}
        compute.request("POST", "/v2.1/flavors", {"flavor": size})


def _create_images(lab: Lab, images: RestApi) -> None:
    kernel, memory_disk = guest.kernel_and_memory_disk(lab.cache)
    parts = {
        "kernel_id": _upload(images, "guest-kernel", "aki", kernel),
        "ramdisk_id": _upload(images, "guest-ramdisk", "ari", memory_disk),
    }
    # The guest has nothing to write back, so there is nothing to wait for when it is stopped.
    properties = {**parts, "os_command_line": _COMMAND_LINE, "os_shutdown_timeout": "0"}
    _upload(images, IMAGE, "ami", _DISK, **properties)


def _upload(images: RestApi, name: str, kind: str, data: bytes, **properties: str) -> str:
    """Store an image of a kind that is disk format and container format; return its id."""
    formats = {"disk_format": kind, "container_format": kind, "visibility": "public"}
    made: Resource = images.request("POST", "/v2/images", {"name": name, **formats, **properties})
    images.request("PUT", f"/v2/images/{made['id']}/file", data)
    return str(made["id"])
