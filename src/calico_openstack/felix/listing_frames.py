"""What the process that lists endpoints tells: frames of MessagePack, each behind its length."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import msgspec

from calico_openstack.datamodel.remote import LabelTexts

_LENGTH: Final = 4


class ListedEndpoint(msgspec.Struct, array_like=True, gc=False):
    """A valid endpoint of another host; ``labels`` are the number of theirs, counted from 0."""

    path: str
    revision: int
    labels: int
    profiles: tuple[str, ...]
    addresses: tuple[bytes, ...]


class Frame(msgspec.Struct, array_like=True, gc=False):
    """A page of the listing at ``revision``, of the cluster with this id.

    ``labels`` are those that no frame had before. ``others`` have key, value and revision as
    stored: endpoints of this host, and what has to be looked at more closely. The first frame is
    empty, and so is the ``last``: only with that one the listing is complete.
    """

    revision: int
    cluster: int = 0
    labels: list[LabelTexts] = []
    endpoints: list[ListedEndpoint] = []
    others: list[tuple[bytes, bytes, int]] = []
    last: bool = False


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Frame)


def write_frame(file: Any, frame: Frame) -> None:
    """Write a frame to an unbuffered binary file; raises OSError."""
    buffer = bytearray(_LENGTH)
    _ENCODER.encode_into(frame, buffer, _LENGTH)
    buffer[:_LENGTH] = (len(buffer) - _LENGTH).to_bytes(_LENGTH, "big")
    view = memoryview(buffer)
    while view:
        view = view[file.write(view) :]


def read_frame(file: BinaryIO) -> Frame | None:
    """Read the next frame; None when there is none, or only a part of one."""
    length = int.from_bytes(file.read(_LENGTH), "big")
    body = file.read(length)
    return _DECODER.decode(body) if length and len(body) == length else None
