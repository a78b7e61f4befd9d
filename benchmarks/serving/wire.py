"""As little HTTP as the load generator needs: a request for a face, and a kept connection that reads whole answers."""

from __future__ import annotations

import re
import socket
from typing import Final

#: Known to every set of weights; asked for in turn.
EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
PNG: Final = b"\x89PNG\r\n\x1a\n"

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_PNG_END: Final = b"IEND\xaeB`\x82"


def face_request(seed: int) -> bytes:
    """Return a whole HTTP request for a face."""
    body = b'{"emotion":"%b","seed":%d}' % (EMOTIONS[seed % len(EMOTIONS)].encode(), seed)
    head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Connection:
    """A kept connection with at most one request on it."""

    __slots__ = ("begun", "buffer", "end", "inside", "sock")

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self.sock = socket.create_connection(address, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.begun: float | None = None  # when its request ought to have begun; None: it has none
        self.inside = False  # whether that is in the window
        self.buffer = bytearray()
        self.end = 0  # bytes of the whole answer, once its head is there

    def read(self) -> str | None:
        """Read what is there. Return None while the answer is not whole, then "" for a good one, else what is wrong."""
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return None
        except OSError:
            return "closed"
        if not data:
            return "closed"
        self.buffer += data
        if not self.end:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return None
            length = _LENGTH.search(self.buffer, 0, head + 2)
            if length is None:
                return "no Content-Length"
            self.end = head + 4 + int(length[1])
        if len(self.buffer) < self.end:
            return None
        status = self.buffer[9:12].decode("latin-1")
        if status != "200":
            return status
        whole = self.buffer.find(PNG, 0, self.end) > 0 and self.buffer.endswith(_PNG_END)
        return "" if whole else "no whole PNG"
