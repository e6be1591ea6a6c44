"""The work of the process that lists endpoints, see `listing_process`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from calico_openstack.agent.configuration import LocalSettings, etcd_config, host_name
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.remote import LabelTexts, RemoteEndpoints
from calico_openstack.etcd import EtcdClient, to_text
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.felix.listing_frames import Frame, ListedEndpoint, write_frame

PREFIX: Final = prefix_of(WorkloadEndpoint.KIND)
# Larger than usual: etcd counts the whole range for every page, and this process ends soon.
_PAGE: Final = 5000


def list_endpoints(config_file: str, descriptor: int) -> None:
    """List all endpoints there are, with Felix's settings; write frames to *descriptor*.

    Raises whatever keeps that from being done.
    """
    local = LocalSettings.load(Path(config_file), "FELIX_")
    pages = Pages(host_name(local, "FelixHostname"))
    with open(descriptor, "wb", buffering=0) as file, EtcdClient(etcd_config(local)) as client:
        for response in client.responses(PREFIX, revision=0, page_size=_PAGE):
            if pages.is_first:
                write_frame(file, pages.begin(response))
            write_frame(file, pages.frame(response))
        write_frame(file, pages.end())


class Pages:
    """Turns etcd's pages into frames, for *host*."""

    def __init__(self, host: str) -> None:
        self.is_first = True
        self._revision = 0
        self._endpoints = RemoteEndpoints(host)
        self._labels: dict[LabelTexts, int] = {}

    def begin(self, response: pb.RangeResponse) -> Frame:
        """Return the first frame, which says at which revision all is listed."""
        self.is_first = False
        self._revision = response.header.revision
        return Frame(self._revision, response.header.cluster_id)

    def frame(self, response: pb.RangeResponse) -> Frame:
        """Return the frame of a page."""
        frame = Frame(self._revision, labels=[], endpoints=[], others=[])
        read, numbers, endpoints = self._endpoints.read, self._labels, frame.endpoints
        for kv in response.kvs:
            key, value, revision = kv.key, kv.value, kv.mod_revision
            found = read(to_text(key), value)
            if found is None:
                frame.others.append((key, value, revision))
                continue
            labels = numbers.get(found.labels)
            if labels is None:
                labels = numbers[found.labels] = len(numbers)
                frame.labels.append(found.labels)
            endpoints.append(
                ListedEndpoint(found.path, revision, labels, found.profiles, found.addresses)
            )
        return frame

    def end(self) -> Frame:
        """Return the frame that says that everything was told."""
        return Frame(self._revision, last=True)
