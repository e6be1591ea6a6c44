"""Classic BPF programs that filter what a socket receives (linux/filter.h, bpf(4))."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

LOAD_WORD: Final = 0x20
LOAD_HALF: Final = 0x28
LOAD_BYTE: Final = 0x30
JUMP_IF_EQUAL: Final = 0x15
RETURN: Final = 0x06

# A load from here is not from the packet but of what the kernel knows about it.
ANCILLARY: Final = 0xFFFFF000
ANCILLARY_PACKET_TYPE: Final = ANCILLARY + 4

PASS: Final = 0xFFFFFFFF
DROP: Final = 0

_SO_ATTACH_FILTER: Final = 26
_INSTRUCTION: Final = struct.Struct("=HBBI")


class Instruction(NamedTuple):
    """One instruction; the jumps count from the instruction behind it."""

    code: int
    jump_if_true: int
    jump_if_false: int
    operand: int


def attach(receiver: socket.socket, program: Sequence[Instruction]) -> None:
    """Let *receiver* receive only what *program* passes."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    pointer = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
