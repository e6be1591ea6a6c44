"""The listing of endpoints that another process makes, as the watch of etcd takes it up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from sys import intern
from typing import BinaryIO, Final

import msgspec

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.remote import LabelTexts, RemoteEndpoint
from calico_openstack.etcd import ListedPage, to_text
from calico_openstack.felix.listing_frames import Frame, read_frame
from calico_openstack.felix.listing_process import ListingProcess


class FirstListing:
    """Reads what a `ListingProcess` tells. Used by one thread.

    A listing from before the revision *oldest* is not used: at that one the settings were read, and
    older ones must not come after them.
    """

    prefix: Final = prefix_of(WorkloadEndpoint.KIND)

    def __init__(self, process: ListingProcess, oldest: int) -> None:
        self._process = process
        self._oldest = oldest
        self._file: BinaryIO = os.fdopen(process.descriptor, "rb")
        self._labels: list[LabelTexts] = []

    def begin(self, cluster: int) -> int:
        """Return the revision at which all is listed; 0 if it is not, or not in this cluster."""
        frame = self._next()
        if frame is None or frame.cluster != cluster or frame.revision < self._oldest:
            return 0
        return frame.revision

    def pages(self) -> Iterator[ListedPage]:
        """Yield what was listed. It is everything if the last page says so."""
        while (frame := self._next()) is not None:
            yield self._page(frame)
            if frame.last:
                return

    def close(self) -> None:
        """End the process."""
        self._file.close()
        self._process.end()

    def _next(self) -> Frame | None:
        try:
            return read_frame(self._file)
        except (OSError, msgspec.MsgspecError):
            return None

    def _page(self, frame: Frame) -> ListedPage:
        known = self._labels
        known += [tuple(map(intern, texts)) for texts in frame.labels]
        return ListedPage(
            [
                RemoteEndpoint(each.path, known[each.labels], each.profiles, each.addresses)
                for each in frame.endpoints
            ],
            [(each.path, each.revision) for each in frame.endpoints],
            [(to_text(key), value, revision) for key, value, revision in frame.others],
            frame.last,
        )
