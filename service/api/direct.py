"""The short way to a face: what FastAPI and middleware do around a route takes much longer than the route itself.

It is for the request that all of the load is made of. Whatever is unusual about it goes the long way, with its body, so
that there is one place that says what is wrong. FastAPI's documentation has the routes as if there were no short way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.generate import generate, router
from service.api.schemas import GenerateRequest
from service.security import MAX_BODY

_ROUTE = next(route for route in router.routes if getattr(route, "endpoint", None) is generate)
_JSON: Final = b"application/json"
_DIGITS: Final = 7  # a length that has so many is too long, whatever they are


class Direct:
    """ASGI middleware: a well-formed ``POST /generate`` that is nobody else's business is answered here.

    It is answered by the same function as on the long way. What that raises is answered by the application's own
    exception handlers; for the rest there is ``app``. ``vary`` is what further middleware, now passed by, adds to the
    header of that name.
    """

    def __init__(self, app: ASGIApp, vary: str = "") -> None:
        self._app = app
        self._vary = vary.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if (
            scope["type"] != "http"
            or scope["path"] != "/generate"
            or scope["method"] != "POST"
            or not _usual(scope["headers"])
        ):
            await self._app(scope, receive, send)
            return
        message = await receive()
        if message["type"] != "http.request" or message.get("more_body", False):
            await self._app(scope, _again(message, receive), send)
            return
        try:
            wish = GenerateRequest.model_validate_json(message["body"])
        except ValidationError:
            await self._app(scope, _again(message, receive), send)
            return
        scope["route"] = _ROUTE  # as the router would, for the figures and the log
        request, state = Request(scope, receive), scope["app"].state
        try:
            response = await generate(request, wish, state.engine, state.sampler)
        except Exception as error:
            handler = _handler(scope["app"].exception_handlers, error)
            if handler is None:
                raise
            response = await handler(request, error)
        if self._vary:
            _add(response.raw_headers, b"vary", self._vary)
        await response(scope, receive, send)


def _usual(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request's headers announce a body of JSON that is not too long, and name no other web page."""
    json = short = False
    for name, value in headers:
        if name == b"content-type":
            json = value == _JSON or value.partition(b";")[0].strip().lower() == _JSON
        elif name == b"content-length":
            short = len(value) < _DIGITS and value.isdigit() and int(value) <= MAX_BODY
        elif name == b"origin":
            return False
    return json and short


def _add(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    """Add a value to a header that may have some."""
    for place, (known, values) in enumerate(headers):
        if known == name:
            headers[place] = (name, values + b", " + value)
            return
    headers.append((name, value))


def _again(message: Message, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a message that has been received once more, and then what comes."""
    given = False

    async def first() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return message

    return first


def _handler(handlers: Any, error: Exception) -> Callable[[Request, Exception], Awaitable[Response]] | None:
    """Return the handler of an exception; None for one that only the server knows how to answer: a bug."""
    kinds = type(error).__mro__[: type(error).__mro__.index(Exception)]
    return next((handlers[kind] for kind in kinds if kind in handlers), None)
