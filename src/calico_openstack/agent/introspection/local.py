"""Asking the agents of this host, by their sockets."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

import msgspec

from calico_openstack.agent.introspection.protocol import Answer, Question, decoded_answer

TIMEOUT: Final = 5.0
PROGRAMS: Final = ("calico-felix", "calico-bgp-agent", "calico-dhcp-agent")
_CREDENTIALS: Final = struct.Struct("=iii")  # struct ucred of unix(7): process, user, group


def socket_name(program: str) -> bytes:
    """Return the abstract name of a program's socket."""
    return b"\0calico-openstack/" + program.encode()


def is_trusted(peer: socket.socket) -> bool:
    """Tell whether the other end belongs to root or to the user of this process."""
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user = _CREDENTIALS.unpack(data)[1]
    return user in (0, os.geteuid())


def ask_here(question: Question, timeout: float = TIMEOUT) -> Answer:
    """Ask a program of this host; that there is none, or no answer, is an answer too."""
    program = question.program
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(socket_name(program))
            if not is_trusted(connection):
                return Answer(error=f"somebody other than root answers as {program}: not asked")
            connection.sendall(msgspec.json.encode(question))
            connection.shutdown(socket.SHUT_WR)
            return decoded_answer(received(connection))
        except ConnectionRefusedError:
            return Answer(error=f"{program} does not run on this host")
        except TimeoutError:
            return Answer(error=f"{program} runs, but does not answer within {timeout:g} s")
        except OSError as error:
            return Answer(error=f"{program} cannot be asked: {error.strerror or error}")


def received(connection: socket.socket, most: int = 64 << 20) -> bytes:
    """Return all that comes until the other end has said all; raises OSError."""
    parts = []
    size = 0
    while size < most and (part := connection.recv(1 << 16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
