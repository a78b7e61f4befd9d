"""What the service refuses before it looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import Problem, problem_response

#: Bytes; a mix of all emotions with a seed of 256 characters takes less than 4 KiB.
MAX_BODY: Final = 64 * 1024


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, whether it is announced or streamed.

    ``limit`` is bytes; ``others`` are the limits of addresses that take more. FastAPI's own ``max_body_size`` answers
    an announced length in plain text, past all error handlers.
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY, others: Mapping[str, int] = MappingProxyType({})) -> None:
        self._app = app
        self._limit = limit
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body while the application reads it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._others.get(scope["path"], self._limit)
        problem = Problem(413, f"The body may have at most {limit} bytes.")
        length = Headers(scope=scope).get("content-length", "")
        # A length that is no number has been refused by the HTTP parser, and a long one is over any limit.
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            await problem_response(problem)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise problem
            return message

        await self._app(scope, counted, send)
