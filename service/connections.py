"""What uvicorn leaves open of its connections: how long a slow client may hold one, and how it ends.

uvicorn bounds only the silence between two requests, and any byte ends that bound (Kludex/uvicorn issue 157). Without
what is here, a client that sends its request a byte at a time ("Slowloris", CVE-2007-6750), or never reads its answer,
keeps its connection and a whole answer's memory for as long as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
from typing import Final, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.errors import Problem, problem_response

#: Bytes a second at which a client has to read its answer, about; 64 kbit/s. It holds for each time that the buffer is
#: full, not on the average; so does the 240 of Kestrel, ASP.NET's server (MinResponseDataRate).
SLOWEST: Final = 8 * 1024
#: Where the ASGI scope says that all of a request has come, as it mostly has when the application is called.
_WHOLE: Final = "emoface.whole"


def _late(what: str, seconds: float) -> Problem:
    # Closed: what still comes of this request must not be taken for the next one (RFC 9110, section 15.5.9).
    headers = {"Connection": "close"}
    return Problem(408, f"The {what} did not arrive within {seconds:g} seconds; send it again.", headers=headers)


class BodyDeadline:
    """ASGI middleware: 408 for a body that is not complete ``seconds`` after its head was.

    Nobody reads the body of a GET or HEAD here; one that never comes must not hinder the answer.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch the clock while the application reads the body."""
        if scope["type"] != "http" or scope.get(_WHOLE, False) or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        end = asyncio.get_running_loop().time() + self._seconds
        complete = False

        async def in_time() -> Message:
            nonlocal complete
            if complete:  # all that can come now is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise _late("body", self._seconds) from None
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, in_time, send)


class LastWord:
    """ASGI middleware: 503 for a request that uvicorn gives up at the end of its grace, in place of a bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; it is cancelled when the server ends without it."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if not begun:  # of an answer that has begun, the connection's end says all that can be said
                problem = Problem(503, "The service has ended before this was done.", headers={"Connection": "close"})
                await problem_response(problem)(scope, receive, send)


def allow_many() -> None:
    """Let this process have as many connections as it may, and not the 1024 that most systems give it at first.

    That limit is there for programs that use select(2); nothing here does.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # it is no loss not to have them
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def timed_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol (its ``http`` setting) with an end to all that a client can keep it waiting for.

    A connection is closed when, after ``seconds``,

    - the head of its first request is not complete, counted from when it was opened: answered 408 if it was begun;
    - the head of a later request is not complete, counted from its first byte: answered 408;
    - a body is not complete that was answered without being read.

    It is dropped, with what waits to be read, when its client takes ``seconds`` longer for that than it would at
    :data:`SLOWEST`. The silence between two requests remains uvicorn's ``timeout_keep_alive``.
    """
    return type("TimedProtocol", (_Timed,), {"seconds": seconds})


class _Timed(HttpToolsProtocol):
    """One connection. The parser calls ``on_...``, the transport the rest; all on the event loop."""

    seconds: float

    _timer: asyncio.TimerHandle | None = None  # runs while the client owes something
    _stalled: asyncio.TimerHandle | None = None  # runs while the client does not read
    _begun = False  # some of a head has come
    _in_body = False  # a head has come, and its body not yet
    _unanswered = 0  # requests whose heads have come

    # ---- what comes in ----

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._begun = True  # or empty lines before it, of which the parser says nothing
        super().data_received(data)
        if self._begun and self._timer is None and not self.transport.is_closing():
            self._wait()

    def on_message_begin(self) -> None:
        self._begun = True  # in the same piece as the end of the request before
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unwait()
        self._unset_keepalive_if_required()
        self._begun, self._in_body = False, True
        self._unanswered += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        cast(dict[str, object], self.scope)[_WHOLE] = True
        super().on_message_complete()
        if not self._unanswered:  # the rest of a body that nobody wanted: from here on it is silence again
            self._unwait()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._in_body:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwait()
        self._unstall()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._too_late)

    def _unwait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._unanswered:
            self._wait()  # a second head, while the first request is answered: perhaps we have stopped reading
            return
        if self._begun:
            response = problem_response(_late("request", self.seconds))
            headers = [*self.server_state.default_headers, *response.raw_headers]
            lines = [b"HTTP/1.1 408 Request Timeout", *(name + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join([*lines, b"", response.body]))
        self.transport.close()

    # ---- what goes out: the transport says when its buffer is full, and when there is room again ----

    def pause_writing(self) -> None:
        super().pause_writing()
        # There is no room again before the client has read a part of what the kernel holds, too.
        kernel = self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        fair = (self.transport.get_write_buffer_size() + kernel) / SLOWEST
        self._stalled = self.loop.call_later(self.seconds + fair, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unstall()

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _drop(self) -> None:
        # Neither the transport nor the kernel may wait until what they hold has been read: a close that lingers for no
        # time at all throws it away, and tells the client so (socket(7), SO_LINGER).
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _socket(self) -> socket.socket:
        return cast(socket.socket, self.transport.get_extra_info("socket"))
