"""Which account of this machine is at the other end of a connection.

A cookie is sent to every port of an address. Another account can therefore take a reviewer's from
their browser, with a server on a port of its own; the system knows whose connection it is then.
"""

import errno
import os
import socket
import struct
import sys

Address = tuple[str, int]

NETLINK_SOCK_DIAG = 4  # the protocol of sock_diag(7)
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
ESTABLISHED = 1
ANY_STATE = 0xFFFFFFFF
# struct nlmsghdr, struct inet_diag_req_v2, and of the answer struct inet_diag_msg up to the owner.
HEADER = "=IHHII"
REQUEST = "=BBBBI"
OWNER_OFFSET = struct.calcsize(HEADER) + 4 + 48 + 12


def may_connect(client: Address, server: Address) -> bool:
    """Whether the program at `client`, connected to us at `server`, may act for this account.

    That is a program of this account, of root (which `sshd` may forward as), or of the account that
    called `sudo`. True where the system does not show whose a connection is: outside of Linux.
    """
    owner = find_owner(client, server)
    caller = os.environ.get("SUDO_UID", "")
    allowed = {0, os.geteuid(), *([int(caller)] if caller.isdigit() else [])}
    return owner is None or owner in allowed


def find_owner(client: Address, server: Address) -> int | None:
    """The user id of the open TCP connection's other end; -1 if it is closed, None if unknown."""
    if not sys.platform.startswith("linux"):
        return None
    request = struct.pack(REQUEST, socket.AF_INET, socket.IPPROTO_TCP, 0, 0, ANY_STATE)
    request += struct.pack("!HH", client[1], server[1])
    request += b"".join(socket.inet_aton(host).ljust(16, b"\0") for host, _ in (client, server))
    request += struct.pack("=I", 0) + b"\xff" * 8  # any interface, no cookie
    size = struct.calcsize(HEADER) + len(request)
    message = struct.pack(HEADER, size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + request
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as link:
            link.settimeout(1)
            link.sendto(message, (0, 0))
            return _read_owner(link.recv(4096))
    except OSError:
        return None  # forbidden here, as in some containers


def _read_owner(answer: bytes) -> int | None:
    size = struct.calcsize(HEADER)
    if struct.unpack_from(HEADER, answer)[1] == NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, size)[0]
        return -1 if code == errno.ENOENT else None
    # Once its program has closed it, a connection is nobody's and is shown as that of root.
    if answer[size + 1] != ESTABLISHED:
        return -1
    return int(struct.unpack_from("=I", answer, OWNER_OFFSET)[0])
